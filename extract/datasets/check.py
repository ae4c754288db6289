"""Whether a data set is all there and what it should be, before anything is extracted from it."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...cache import Entry, SpaceClipError
from ..folder.files import check_crop, spread
from ..folder.headers import check_aligned, read_all
from ..folder.images import depth_header, image_size, read_depth
from ..splits import assign, check_disjoint
from .depth import DepthStats, depth_stats, judge, overall
from .kitti import KB_CROP, KittiData
from .labelled import LabelledSource
from .layout import Part
from .listed import locate, misplaced
from .lists import SplitList, check_controlled, list_names, official, read_list, required_list
from .nyu import NyuData
from .opening import Dataset, check_apart, check_lengths, has_test
from .report import DatasetReport, PartReport

Progress = Callable[[int, int], None]

_PROBED = 64


@dataclass
class _Survey:
    """What is known of one part before any file is read."""

    part: Part
    source: LabelledSource | None = None
    listed: SplitList | None = None
    entries: Sequence[Entry] = ()
    images: list[Path] = field(default_factory=list)
    depths: list[Path | None] = field(default_factory=list)
    missing_images: Sequence[str] = ()
    missing_depths: Sequence[str] = ()

    @property
    def maps(self) -> list[int]:
        """Indices of the samples whose depth is decoded."""
        if self.source:
            return spread(len(self.entries), _PROBED)
        there = [index for index, depth in enumerate(self.depths) if depth is not None]
        return [there[index] for index in spread(len(there), _PROBED)]


def check_dataset(settings: Dataset, progress: Progress = lambda _done, _total: None) -> DatasetReport:
    """Look for every listed file, read all headers, and decode up to 64 depth maps of each part.

    Nothing that is missing or wrong is raised; all of it is reported.

    Args:
        settings: The data set.
        progress: Called with (files read, files to read).
    """
    problems: list[str] = []
    parts: list[Part] = ["train", "test"] if has_test(settings) else ["train"]
    surveys = [found for part in parts if (found := _survey(settings, part, problems))]
    _compare(settings, surveys, problems)
    total = sum(len(survey.images) + len(survey.maps) for survey in surveys)
    lock, done = threading.Lock(), 0

    def tick() -> None:
        nonlocal done
        with lock:
            done += 1
            progress(done, total)

    reports = tuple(_read(settings, survey, problems, tick) for survey in surveys)
    return DatasetReport(settings.layout.title, settings.root, reports, tuple(problems))


def _survey(settings: Dataset, part: Part, problems: list[str]) -> _Survey | None:
    try:
        if isinstance(settings, NyuData) and settings.is_labelled(part):
            source = LabelledSource(settings, part)
            return _Survey(part, source, entries=source.entries)
        listed = read_list(required_list(settings, part), settings.layout.kind, part)
        ids, scenes = list_names(listed, settings.layout)
    except SpaceClipError as error:
        problems.append(f"{part}: {error}")
        return None
    located = locate(settings, part, listed)
    if problem := misplaced(settings, part, listed, located):
        problems.append(f"{part}: {problem}")
    there = [(image, depth) for image, depth in zip(located.images, located.depths, strict=True) if image is not None]
    return _Survey(
        part,
        listed=listed,
        entries=[Entry(name, scene, "") for name, scene in zip(ids, scenes, strict=True)],
        images=[image for image, _ in there],
        depths=[depth for _, depth in there],
        missing_images=located.missing_images,
        missing_depths=located.missing_depths,
    )


def _compare(settings: Dataset, surveys: Sequence[_Survey], problems: list[str]) -> None:
    """What lists tell of each other and of the validation split."""
    of = {survey.part: survey for survey in surveys}
    try:
        if "train" in of:
            train = of["train"]
            divided = assign(train.entries, settings.split)
            if train.listed:
                entries = {name: [train.entries[index] for index in divided[name]] for name in ("train", "val")}
                check_controlled(train.listed.released, settings.split, entries)
        if len(of) == 2:
            train, test = of["train"], of["test"]
            if train.listed and test.listed:
                check_lengths(train.listed, test.listed)
            check_apart(train.entries, test.entries)
            check_disjoint({"train": train.entries, "test": test.entries})
    except SpaceClipError as error:
        problems.append(str(error))


def _read(settings: Dataset, survey: _Survey, problems: list[str], tick: Callable[[], None]) -> PartReport:
    """The report of one part, with what its files say."""
    part, listed, source = survey.part, survey.listed, survey.source
    sizes: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    maps: list[DepthStats] = []
    try:
        if source:
            sizes.update(f"{height} x {width}" for height, width in source.depth_sizes())
            formats["float, metres"] = len(survey.entries)
        else:
            _read_headers(settings, survey, sizes, formats, tick)
        maps = _probe(settings, survey, tick)
        if not settings.allow_odd_depth:
            judge(maps, settings.layout.plausible, "depth")
    except SpaceClipError as error:
        problems.append(f"{part}: {error}")
    released = official(settings.layout.kind, part)
    frames = len(survey.entries)
    return PartReport(
        name=part,
        list=listed.path if listed else _labelled_file(settings),
        sha256=listed.sha256 if listed else None,
        released=listed.released is not None if listed else None,
        frames=frames,
        without_depth=sum(row.depth is None for row in listed.rows) if listed else 0,
        # The labelled test frames are those that the field's test list names; its training frames are others.
        official=(795, 0) if source and part == "train" else (released.lines, released.without_depth),
        scenes=len({entry.scene for entry in survey.entries}),
        images=frames - len(survey.missing_images),
        depths=frames if source else _depths_there(survey),
        missing_images=tuple(survey.missing_images),
        missing_depths=tuple(survey.missing_depths),
        image_sizes=dict(sizes.most_common()),
        depth_formats=dict(formats.most_common()),
        depth=overall(maps) if maps else None,
        probed=len(maps),
    )


def _read_headers(
    settings: Dataset, survey: _Survey, sizes: Counter[str], formats: Counter[str], tick: Callable[[], None]
) -> None:
    def headers(index: int) -> tuple[tuple[int, int], tuple[int, int] | None, str | None]:
        depth = survey.depths[index]
        try:
            size, header = image_size(survey.images[index]), depth and depth_header(depth)
        finally:
            tick()
        if depth is None or header is None:
            return size, None, None
        return size, header.size, f"{8 * header.dtype.itemsize}-bit {depth.suffix.removeprefix('.').lower()}"

    found = read_all(range(len(survey.images)), headers, "sample", lambda index: str(survey.images[index]))
    image_sizes, depth_sizes, kinds = zip(*found, strict=True) if found else ((), (), ())
    sizes.update(f"{height} x {width}" for height, width in image_sizes)
    formats.update(kind for kind in kinds if kind is not None)
    check_aligned(survey.images, image_sizes, depth_sizes)
    if isinstance(settings, KittiData) and settings.kb_crop:
        check_crop(KB_CROP, survey.images, image_sizes)


def _probe(settings: Dataset, survey: _Survey, tick: Callable[[], None]) -> list[DepthStats]:
    def stats(index: int) -> DepthStats | None:
        depth = survey.depths[index] if survey.depths else None
        try:
            if survey.source:
                return depth_stats(survey.source.load(index).depth)
            return depth and depth_stats(read_depth(depth, settings.layout.depth_scale, allow_far=True))
        finally:
            tick()

    found = read_all(
        survey.maps,
        stats,
        "probed depth map",
        lambda index: str(survey.depths[index] if survey.depths else survey.entries[index].id),
    )
    return [maps for maps in found if maps]


def _depths_there(survey: _Survey) -> int:
    listed = sum(row.depth is not None for row in survey.listed.rows) if survey.listed else 0
    return listed - len(survey.missing_depths)


def _labelled_file(settings: Dataset) -> Path:
    return settings.labelled_file if isinstance(settings, NyuData) else settings.root

"""Whether a data set is all there and what it should be, before anything is extracted from it."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from ....cache import SpaceClipError
from ..folder.depth_maps import depth_header
from ..folder.files import check_crop
from ..folder.headers import check_aligned, read_all
from ..folder.images import image_header
from ..splits import assign, check_disjoint
from .depth import DepthStats, judge, overall, probe
from .findings import DatasetReport, PartReport
from .kitti import KB_CROP, KittiData
from .layout import Part
from .listed import ListedSource
from .lists import check_controlled, official
from .opening import Dataset, PartSource, check_parts, has_test, open_part

Progress = Callable[[int, int], None]

_PROBED = 64


def check_dataset(
    settings: Dataset, progress: Progress = lambda _done, _total: None, *, full: bool = False
) -> DatasetReport:
    """Look for every listed file, read all headers, and decode up to 64 samples of each part.

    Nothing that is missing or wrong is raised; all of it is reported.

    Args:
        settings: The data set.
        progress: Called with (steps done, steps in all); a step is a sample whose headers are read, or that is decoded.
        full: Decode every sample.
    """
    problems: list[str] = []
    parts: list[Part] = ["train", "test"] if has_test(settings) else ["train"]
    sources: dict[Part, PartSource] = {part: source for part in parts if (source := _open(settings, part, problems))}
    # A wrong root or a list of another data set is one problem, not three.
    _compare(settings, {part: source for part, source in sources.items() if source.entries}, problems)
    most = {part: len(source.entries) if full else _PROBED for part, source in sources.items()}
    total = sum(len(source.files) + min(most[part], len(source.entries)) for part, source in sources.items())
    lock, done = threading.Lock(), 0

    def tick() -> None:
        nonlocal done
        with lock:
            done += 1
            progress(done, total)

    reports = tuple(_read(settings, part, source, most[part], problems, tick) for part, source in sources.items())
    notes = []
    if sources and "test" not in parts:
        usual = " or ".join(settings.layout.lists["test"])
        notes.append(f"no test list ({usual}, or give test_list): there will be no test split")
    return DatasetReport(settings.layout.title, settings.root, reports, tuple(problems), tuple(notes))


def _open(settings: Dataset, part: Part, problems: list[str]) -> PartSource | None:
    try:
        source = open_part(settings, part)
    except SpaceClipError as error:
        problems.append(f"{part}: {error}")
        return None
    if source.problem:
        problems.append(f"{part}: {source.problem}")
    return source


def _compare(settings: Dataset, sources: Mapping[Part, PartSource], problems: list[str]) -> None:
    """What the parts tell of each other and of the validation split."""
    try:
        if train := sources.get("train"):
            divided = assign(train.named, settings.split)
            if train.listed:
                parts = {name: [train.named[index] for index in divided[name]] for name in ("train", "val")}
                check_controlled(train.listed.released, settings.split, parts)
        check_parts(settings, sources)
        check_disjoint({part: source.named for part, source in sources.items()})
    except SpaceClipError as error:
        problems.append(str(error))


def _read(
    settings: Dataset, part: Part, source: PartSource, most: int, problems: list[str], tick: Callable[[], None]
) -> PartReport:
    """The report of one part, with what its files say."""
    listed, frames = source.listed, len(source.named)
    sizes: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    maps: dict[str, DepthStats] = {}
    try:
        if isinstance(source, ListedSource):
            _read_headers(settings, source, sizes, formats, tick)
        else:
            sizes.update(f"{height} x {width}" for height, width in source.depth_sizes())
            formats["float, metres"] = len(source.entries)
        maps = probe(source, most, tick)
        if not settings.allow_odd_depth:
            judge(maps, settings.layout.plausible, str(source.path))
    except SpaceClipError as error:
        problems.append(f"{part}: {error}")
    released = official(settings.layout.kind, part)
    without_depth = sum(row.depth is None for row in listed.rows) if listed else 0
    return PartReport(
        name=part,
        list=source.path,
        sha256=listed.sha256 if listed else None,
        released=listed.released is not None if listed else None,
        frames=frames,
        without_depth=without_depth,
        # The labelled test frames are those that the field's test list names; its training frames are others.
        official=(released.lines, released.without_depth) if listed or part == "test" else (795, 0),
        scenes=len({entry.scene for entry in source.named}),
        images=frames - len(source.missing_images),
        depths=frames - without_depth - len(source.missing_depths),
        missing_images=tuple(source.missing_images),
        missing_depths=tuple(source.missing_depths),
        image_sizes=dict(sizes.most_common()),
        depth_formats=dict(formats.most_common()),
        depth=overall(maps.values()) if maps else None,
        probed=len(maps),
    )


def _read_headers(
    settings: Dataset, source: ListedSource, sizes: Counter[str], formats: Counter[str], tick: Callable[[], None]
) -> None:
    images, depths = [files.image for files in source.files], [files.depth for files in source.files]

    def headers(index: int) -> tuple[tuple[int, int], tuple[int, int] | None, str | None]:
        depth = depths[index]
        try:
            size, header = image_header(images[index]).size, depth and depth_header(depth)
        finally:
            tick()
        if depth is None or header is None:
            return size, None, None
        return size, header.size, f"{8 * header.dtype.itemsize}-bit {depth.suffix.removeprefix('.').lower()}"

    found = read_all(range(len(images)), headers, "sample", lambda index: str(images[index]))
    image_sizes, depth_sizes, kinds = zip(*found, strict=True) if found else ((), (), ())
    sizes.update(f"{height} x {width}" for height, width in image_sizes)
    formats.update(kind for kind in kinds if kind is not None)
    check_aligned(images, image_sizes, depth_sizes)
    if isinstance(settings, KittiData) and settings.kb_crop:
        check_crop(KB_CROP, images, image_sizes)

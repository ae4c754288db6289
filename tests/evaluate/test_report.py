import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import (
    METRICS,
    REGIONS,
    BackboneFacts,
    Example,
    Results,
    Row,
    SavedMapsFacts,
    find_examples,
    ranked,
    run_page,
)
from spaceclip.train import Checkpoint, CheckpointInfo, DecoderSettings, TrainSettings

HISTORY = "epoch,loss,silog,ssim,skipped,val_raw,val_ema\n1,4.0,6.0,0.4,0,{0}\n2,3.0,5.0,0.3,0,{0}\n"


class Page(HTMLParser):
    """A page as a reader finds it; refuses elements that are not closed in their order.

    Attributes:
        shown: Pictures by the name of their image, of each group.
    """

    def __init__(self, text):
        super().__init__()
        self.names, self.open, self.addresses, self.tables, self.text = [], [], [], {}, ""
        self.shown: dict[str, dict[str, list[bytes]]] = {}
        self._title, self._group, self._figure, self.source = "", "", "", text
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "data-src", "href")]
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)
        if tag in ("h2", "h3"):
            self._title = ""
        elif tag == "table":
            self.tables[self._title] = []
        elif tag == "tr":
            self.tables[self._title].append([])
        elif tag in ("td", "th"):
            self.tables[self._title][-1].append("")
        elif tag == "figure":
            self._group = str(dict(attrs)["data-group"])
        elif tag == "img" and "figure" in self.open:
            self.shown[self._group][self._figure].append(content_of(dict(attrs)["data-src"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "h3"):
            self._title += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.tables[self._title][-1][-1] += data
        elif self.open[-2:] == ["figcaption", "b"]:
            self._figure = data
            self.shown.setdefault(self._group, {})[data] = []
        if not {"style", "script"} & set(self.open):
            self.text += f"{data} "


def content_of(address):
    head, _, content = address.partition(",")
    assert head in ("data:image/webp;base64", "data:image/svg+xml;base64"), head
    return base64.b64decode(content, validate=True)


@pytest.fixture
def both(make_maps, scored, protocol):
    """Scores of twelve images with flip averaging, and of other predictions without."""
    plain = protocol.model_copy(update={"flip_average": False})
    return [scored(make_maps(12)), scored(make_maps(12, seed=1), plain)]


@pytest.fixture
def results(make_maps, scored, both, facts):
    baselines = {"median map": scored(make_maps(12), constant=5)}
    return Results(rows=tuple(Row.of(found, baselines, split="test") for found in both), **facts)


@pytest.fixture
def page(make_maps):
    """Lays out results as a page, and reads it."""

    def lay_out(results, scores=(), checkpoint=None):
        maps = {found.sample_id: found for found in make_maps(12)}

        def load(names):
            for image in (image for image in scores[0].images if image.sample_id in names):
                found = maps.get(image.sample_id, maps["id_0"])
                depth, truth = found.depths["plain"].numpy(), found.truths[None]
                yield Example(image, np.full((6, 8, 3), 200, np.uint8), depth, truth)

        examples = find_examples(scores[0].images, 2, load).ranked if scores else {}
        return Page(run_page(results, examples, checkpoint))

    return lay_out


@pytest.fixture
def trained(tmp_path, decoder):
    """The weights that the results are of, beside the history of their run."""

    def leave(history):
        (tmp_path / "history.csv").write_bytes(history if isinstance(history, bytes) else history.encode())
        encoder = {"name": "tiny", "revision": "1", "weights": "ab"}
        info = CheckpointInfo(
            decoder=DecoderSettings(hidden_size=8, channels=(8, 8, 8, 4)), backbone={**encoder}, preprocessing={},
            stores=[{"fingerprint": "f", "ledger": "l", "samples": "s", "images": 3}],
            min_depth=0.001, max_depth=10, weights="ema", epoch=7, metrics={}, protocol={},
            training=TrainSettings(max_depth=10).model_dump(mode="json"), sha256="0" * 64,
        )  # fmt: skip
        return Checkpoint(decoder, info, tmp_path / "checkpoint.safetensors")

    return leave


def shown(metrics):
    return [f"{metrics[name]:.4f}" for name in METRICS]


def test_an_evaluation_gives_the_same_page_again(page, results, both, trained):
    first, again = (page(results, both, trained(HISTORY.format("0.2,0.3"))) for _ in range(2))
    assert first.source == again.source


def test_the_page_needs_nothing_from_elsewhere(page, results, both):
    found = page(results, both)
    assert found.addresses.pop(0) == "data:,"  # no icon, else a browser asks for one
    assert len(found.addresses) == 3 + 4 * 12
    for content in map(content_of, found.addresses):
        assert content.startswith(b"<?xml") or Image.open(io.BytesIO(content)).width > 1
    assert not {"iframe", "object", "form"} & set(found.names)
    assert (found.names.count("script"), found.names.count("link")) == (1, 1)
    assert "url(" not in found.source


def test_every_table_scrolls_by_itself(page, results, both):
    found = page(results, both)
    assert found.source.count("<table>") == len(found.tables) == found.source.count('<div class="wide" tabindex="0">')


def test_the_top_says_what_was_measured(page, results, both):
    text = " ".join(page(results, both).text.split())
    for part in (
        "Asked How far from the measured depth are the predictions of runs/demo/best.safetensors, EMA weights of",
        "Measured controlled protocol: no crop, 0.001 to 10 m, native size, with flip averaging, no median scaling;",
        "Data set synthetic",
        "runs/demo/best.safetensors, EMA weights of epoch 7 (best on validation)",
        f"SHA-256 {'0' * 64}",
        "Backbone tiny-clip Revision random weights, seed 0",
    ):
        assert part in text, part


@pytest.mark.parametrize("random", [True, False])
def test_random_weights_of_the_encoder_are_noticed(page, results, random):
    backbone = BackboneFacts(name="clip", revision="57c216476eef", weights="ab" * 32, random=random)
    found = page(results.model_copy(update={"backbone": backbone}))
    assert ("Random encoder weights: these numbers say nothing about SPACE-CLIP's accuracy" in found.text) is random


def test_every_protocol_has_its_table_with_all_metrics(page, results):
    first = results.rows[0]
    other = first.protocol.model_copy(update={"name": "standard", "crop": "garg"})
    metrics = dict.fromkeys(METRICS, 0.125)
    found = page(results.model_copy(
        update={"rows": (*results.rows, first.model_copy(update={"protocol": other, "metrics": metrics}))}
    ))  # fmt: skip
    table = found.tables["controlled protocol: no crop, 0.001 to 10 m, native size, no median scaling"]
    assert table[0] == ["Metric", "flip averaged", "plain view", "best baseline", "which", "improvement"]
    columns = list(zip(*table[1:], strict=True))
    assert [list(column) for column in columns[1:4]] == [
        shown(first.metrics), shown(results.rows[1].metrics), shown(first.baselines["median map"])
    ]  # fmt: skip
    table = found.tables["standard protocol: garg crop, 0.001 to 10 m, native size, no median scaling"]
    assert [line[1] for line in table[1:]] == ["0.1250"] * len(METRICS)


def test_anybodys_data_set_goes_by_its_own_name(page, results):
    for data, title in (("folder", "kitchens"), ("nyu", "NYU Depth V2"), ("synthetic", "synthetic")):
        found = page(results.model_copy(update={"data": data, "name": "kitchens"}))
        assert f"Depth evaluation: {title}" in found.text


def test_the_numbers_most_look_for_stand_at_the_top_beside_the_best_without_an_image(page, results):
    row = results.rows[0]
    text = " ".join(page(results).text.split())
    best = row.baselines["median map"]["abs_rel"]
    assert f"AbsRel ↓ {row.metrics['abs_rel']:.4f} without an image {best:.4f} (median map)" in text


def test_what_weakens_the_numbers_is_a_notice(page, results):
    row = results.rows[0].model_copy(update={"variation": {"pixels": 0.5, "images": 0.03}})
    found = page(results.model_copy(update={"rows": (row,)}))
    notice = "controlled, flip averaged: predictions are nearly constant: log depth varies over images 3.0% as much"
    assert notice in found.text


def test_a_notice_of_several_rows_stands_once(page, results):
    rows = [row.model_copy(update={"variation": {"pixels": 0.03}}) for row in results.rows]
    found = page(results.model_copy(update={"rows": tuple(rows)}))
    assert "controlled, flip averaged and controlled, plain view: predictions are nearly constant" in found.text
    assert found.text.count("nearly constant") == 1


def test_boundaries_and_interiors_say_how_many_images_have_them(page, results):
    row = results.rows[0]
    regions = {**row.regions, "boundary_0.03": row.regions["boundary_0.03"].model_copy(update={"metrics": None})}
    changed = row.model_copy(update={"regions": regions})
    table = page(results.model_copy(update={"rows": (changed,)})).tables["Boundaries and interiors"]
    present = [name for name in REGIONS if regions[name].metrics]
    assert present
    assert table[1:] == [
        [name.replace("_", " "), str(regions[name].images), *shown(regions[name].metrics)] for name in present
    ]


def test_the_worst_scenes_stand_first_and_the_rest_is_counted(page, results):
    row = results.rows[0]
    mean = next(iter(row.scenes.values()))
    numbers = np.random.default_rng(0).permutation(23) / 10
    scenes = {
        f"room {number}": mean.model_copy(update={"metrics": mean.metrics | {"abs_rel": number}}) for number in numbers
    }
    found = page(results.model_copy(update={"rows": (row.model_copy(update={"scenes": scenes}), results.rows[1])}))
    table = found.tables["Scenes, highest AbsRel first"]
    assert [line[0] for line in table[1:]] == [f"room {number / 10}" for number in range(22, 2, -1)]
    assert "3 more in per_scene.csv" in found.text


def test_the_answer_is_the_first_row_against_the_best_without_an_image(page, results):
    row = results.rows[0]
    base, found = row.baselines["median map"]["abs_rel"], row.metrics["abs_rel"]
    text = " ".join(page(results).text.split())
    better = f"{1 - found / base:.1%} better than the best prediction without an image (median map, {base:.4f})."
    assert f"by AbsRel {better}" in text
    worse = row.model_copy(update={"metrics": row.metrics | {"abs_rel": 1.5 * base}})
    found = page(results.model_copy(update={"rows": (worse,)}))
    assert "50.0% worse than the best prediction without an image" in found.text


def test_the_gallery_has_the_best_median_and_worst_images_of_the_first_row(page, results, both):
    found = page(results, both)
    ordered = sorted(both[0].images, key=lambda image: image.metrics["abs_rel"])
    groups = {"best": ordered[:4], "median": ordered[4:8], "worst": ordered[8:]}
    assert {group: list(shown) for group, shown in found.shown.items()} == {
        group: [image.sample_id for image in wanted] for group, wanted in groups.items()
    }
    for image in ordered:
        assert f"AbsRel {image.metrics['abs_rel']:.4f}" in found.text
    for shown in found.shown.values():
        for pictures in shown.values():
            photo, truth, prediction, error = (Image.open(io.BytesIO(content)) for content in pictures)
            assert photo.size == (8, 6)
            assert photo.convert("RGB").getpixel((0, 0)) == pytest.approx((200, 200, 200), abs=3)
            assert truth.size == prediction.size == error.size == (80, 60)


@pytest.mark.parametrize(
    ("count", "wanted", "sizes"), [(1, 9, (0, 0, 1)), (2, 9, (1, 0, 1)), (7, 9, (2, 2, 3)), (12, 6, (2, 2, 2))]
)
def test_no_image_is_in_two_groups(make_maps, scored, count, wanted, sizes):
    images = scored(make_maps(count)).images
    groups = ranked(images, wanted)
    assert tuple(map(len, groups.values())) == sizes
    found = [image for group in groups.values() for image in group]
    errors = [image.metrics["abs_rel"] for image in found]
    assert errors == sorted(errors)
    assert len({image.sample_id for image in found}) == len(found)
    everything = sorted(image.metrics["abs_rel"] for image in images)
    assert (errors[-1], errors[0]) == (everything[-1], everything[0] if count > 1 else everything[-1])
    if count == 12:
        assert errors[2:4] == everything[5:7]


def test_nothing_of_a_result_is_read_as_html(page, make_maps, scored):
    wicked = "<script src=x>alert('&amp;')</script>\"><img src=x>"
    scores = scored([row._replace(sample_id=wicked, scene=wicked) for row in make_maps(1)])
    model = SavedMapsFacts(path=wicked, name=wicked, depth_scale=None)
    found = page(Results(data=wicked, model=model, backbone=None, rows=(Row.of(scores, {}, split="test"),)), [scores])
    assert found.names.count("script") == 1
    assert "x" not in found.addresses
    assert list(found.shown["worst"]) == [found.tables["Scenes, highest AbsRel first"][1][0]] == [wicked]
    assert f"Depth evaluation: {wicked}" in found.text


def test_what_is_not_known_is_left_out(page, results):
    row = results.rows[0].model_copy(update={"breakdown": None})  # as of a result of an earlier version
    found = page(results.model_copy(update={"rows": (row,)}))
    assert found.addresses == ["data:,"]
    assert [title for title in ("Gallery", "Where the error lies", "Training") if title in found.text] == []


def test_saved_maps_have_neither_backbone_nor_baseline_nor_training(page, make_maps, scored, protocol):
    scores = scored(make_maps(2), protocol.model_copy(update={"flip_average": None}))
    model = SavedMapsFacts(path="maps/other", name="Other Model", depth_scale=None)
    results = Results(data="nyu", model=model, backbone=None, rows=(Row.of(scores, {}, split="test"),))
    found = page(results, [scores])
    assert "Other Model (maps/other)" in found.text
    assert not any(word in found.text for word in ("Backbone", "best baseline", "Training", "encoder"))


@pytest.mark.parametrize(("scored_too", "panels"), [("0.2,0.3", 2), (",", 1)])
def test_the_training_run_is_drawn_and_its_settings_are_listed(page, results, trained, scored_too, panels, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    save = Figure.savefig

    def watched(figure, *given, **named):
        drawn.append(figure)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", watched)
    row = results.rows[0].model_copy(update={"breakdown": None})
    bare = results.model_copy(update={"rows": (row, *results.rows[1:])})
    found = page(bare, checkpoint=trained(HISTORY.format(scored_too)))
    axes = [figure.axes[0] for figure in drawn]
    assert [ax.get_title() for ax in axes] == ["Training loss", "Validation AbsRel"][:panels]
    assert len(found.addresses) == 1 + panels
    assert axes[0].lines[0].get_xydata().tolist() == [[1, 4], [2, 3]]
    if panels == 2:
        raw, ema, _ = axes[1].lines
        assert (raw.get_ydata().tolist(), ema.get_ydata().tolist()) == ([0.2, 0.2], [0.3, 0.3])
    text = " ".join(found.text.split())
    for part in (
        "loss.silog 0.5",
        "loss.auxiliary 0.1, 0.05, 0.0",
        "batch_size 64",
        "channels 8, 8, 8, 4",
        "film True",
    ):
        assert part in text, part


@pytest.mark.parametrize("content", ["epoch,loss\n1,2\n", HISTORY.format("many,1"), b"\xff\xfe"])
def test_a_damaged_table_is_refused_in_one_line(page, results, trained, content):
    message = r"history\.csv is no table of this version .*, expected the columns epoch, loss, .*: delete it"
    with pytest.raises(SpaceClipError, match=message) as refusal:
        page(results, checkpoint=trained(content))
    assert "\n" not in str(refusal.value)

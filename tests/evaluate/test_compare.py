import csv
import io
import re

import pytest
from rich.console import Console
from spaceclip.evaluate import (
    METRICS,
    BackboneFacts,
    CheckpointFacts,
    EvaluateSettings,
    Results,
    Row,
    SavedMapsFacts,
    run_page,
)
from spaceclip.evaluate.comparison.comparable import unlike
from spaceclip.evaluate.comparison.formats import comma_separated, latex, markdown, terminal
from spaceclip.evaluate.comparison.published import published_test_sets
from spaceclip.evaluate.comparison.rows import SeedRuns, comparison
from spaceclip.evaluate.protocol import ProtocolName
from spaceclip.evaluate.results import RegionMean
from spaceclip.extract.fetch.catalogue import load_catalogue
from spaceclip.extract.sources.datasets.lists import NYU_CONTROLLED_FRAMES, RELEASED

NUMBERS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 60.0, 0.7, 0.8, 0.91234)
CLIP = BackboneFacts(
    name="openai/clip-vit-base-patch16", revision="57c216476eefef5ab752", weights="ab" * 32, random=False
)
RANDOM = BackboneFacts(name="random:openai/clip-vit-base-patch16", revision="seed 0", weights="cd" * 32, random=True)
LAST = CheckpointFacts(
    path="runs/mine/best.safetensors", sha256="a" * 64, epoch=7, weights="ema", chosen="last", storage="float16"
)
CHOSEN = LAST.model_copy(
    update={
        "chosen": "best",
        "validation_images": 2257,
        "validation": EvaluateSettings(crop="nyu_eigen", flip_average=False).protocol(
            "validation", {"data": "nyu", "split": "val"}, 0.001, 10.0
        ),
    }
)
MAPS = SavedMapsFacts(path="maps/theirs", name="theirs", depth_scale=None)
LISTS = {kind: next(found.sha256 for found in RELEASED if (found.kind, found.part) == (kind, "test"))
         for kind in ("kitti", "nyu")}  # fmt: skip
PINNED = published_test_sets()["nyu"].pixels


def row(data="nyu", name: ProtocolName = "standard", images=None, split=None, pinned=(), facts=None, **changes):
    about = {"data": data, "split": "val" if name == "validation" else "test", "split_by": "scene"}
    protocol = EvaluateSettings().protocol(name, about, min_depth=0.001, max_depth=10.0 if data == "nyu" else 80.0)
    images = images or {"kitti": 652, "nyu": 654}.get(data, 12)
    counts = {**PINNED, **dict(pinned)}
    metrics: dict[str, float] = dict(zip(METRICS, NUMBERS, strict=True))
    return Row(
        protocol=protocol.model_copy(update=changes),
        split=split or about["split"],
        images=images,
        distinct=images,
        pixels=counts.pop("valid"),
        skipped=(),
        list_sha256=LISTS.get(data),
        storage="float16",
        metrics=metrics,
        regions={name: RegionMean(images=654, pixels=count, metrics=metrics) for name, count in counts.items()},
        scenes={},
        baselines={},
        variation={},
    ).model_copy(update=facts or {})


def result(*rows, data="nyu", model: CheckpointFacts | SavedMapsFacts = LAST, backbone: BackboneFacts | None = CLIP):
    return Results(data=data, model=model, backbone=backbone, rows=rows)


def printed(section, width=120):
    console = Console(width=width)
    with console.capture() as capture:
        for part in terminal(section, width):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("data", ["kitti", "nyu"])
@pytest.mark.parametrize(("name", "beside"), [("paper", "paper"), ("standard", "reported")])
def test_a_whole_test_set_stands_beside_the_rows_of_its_protocol(data, name, beside):
    (section,) = comparison([("mine", result(row(data, name), data=data))])
    assert [(line.beside, line.unlike) for line in section.lines if line.ours] == [(beside, ())]


def test_the_official_test_images_stand_beside_the_controlled_rows():
    (section,) = comparison([("mine", result(row(name="controlled"), model=CHOSEN))])
    assert [(line.beside, line.unlike) for line in section.lines if line.ours] == [("controlled", ())]
    assert [line.method for line in section.lines if not line.ours] == [
        f"SPACE-CLIP, {arm}" for arm in ("none", "early", "middle", "late")
    ]
    assert section.lines[-1].metrics["boundary_0.05_abs_rel"] == 0.1


def seeds(*pins, model=CHOSEN):
    """Three runs of one arm whose metrics are 0, 10 and 20 % above those of `row`."""
    found = {}
    for at, pinned in enumerate((*pins, (), (), ())[:3]):
        one = row(name="controlled", pinned=pinned)
        metrics = {name: value * (1 + at / 10) for name, value in one.metrics.items()}
        found[42 + at] = result(one.model_copy(update={"metrics": metrics}), model=model)
    return SeedRuns("results/layers/late", found, "Seed 45 failed: no memory.")


def test_seeds_are_one_row_which_says_each_beside_the_five_of_the_controlled_study():
    (section,) = comparison([("layers: late", seeds())])
    (line,) = [line for line in section.lines if line.ours]
    assert (line.beside, line.unlike, line.seeds) == ("controlled", (), (42, 43, 44))
    assert line.by_seed == pytest.approx((0.1, 0.11, 0.12))
    assert line.metrics["rmse"] == pytest.approx(0.33)
    assert line.sd["rmse"] == pytest.approx(0.03)
    assert "over 3 seeds, AbsRel 0.10000 (seed 42), 0.11000 (seed 43), 0.12000 (seed 44). Beside: SPACE" in line.note
    assert line.note.endswith(" Seed 45 failed: no memory.")
    assert "| **0.1100±0.0100** |" in markdown([section])
    assert "0.1100" in latex([section])
    (told,) = [line for line in csv.DictReader(io.StringIO(comma_separated([section]))) if line["ours"] == "True"]
    assert (told["seeds"], float(told["rmse_sd"])) == ("42 43 44", pytest.approx(0.03))
    assert line.source == "this study: results/layers/late"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (seeds((), {"valid": 7}), "7 valid pixels, not 136,528,022: another depth or border"),
        (seeds(model=CHOSEN.model_copy(update={"validation_images": 96})), "weights chosen on 96 images, not 2,257"),
        (seeds(model=LAST), "final checkpoint, not chosen on held-out scenes"),
    ],
)
def test_seeds_stand_beside_published_rows_only_where_each_of_them_may(given, reason):
    (section,) = comparison([("layers: late", given)])
    (line,) = [line for line in section.lines if line.ours]
    assert (line.beside, line.unlike) == ("", (reason,))
    assert f"Not comparable: {reason}." in line.note


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (row(pinned={"valid": 7}), "7 valid pixels, not 136,528,022"),
        (row(facts={"mean_depth": 2.5}), "a mean true depth of 2.5 m, not 2.4 m"),
        (row(truth="in-painted depth"), "truth in-painted depth, not "),
        (row(facts={"samples_sha256": "b"}), "other images"),
        (row(images=600), "600 images, not 654"),
        (row(crop="none"), "no crop"),
        (row(pinned={"boundary_0.05": 3}), "other boundaries"),
    ],
)
def test_rows_of_ours_that_were_not_scored_alike_are_said_and_no_improvement(other, said):
    mine = result(row(facts={"mean_depth": 2.4, "samples_sha256": "a"}), row(flip_average=False))
    (section,) = comparison([("mine", mine), ("other", result(other)), ("again", mine)])
    (warning,) = section.warnings
    assert warning.startswith("other was not scored as mine (standard): ")
    assert said in warning
    assert "no improvement" in warning
    assert "Warning: other was not scored as mine" in "\n".join(printed(section))
    assert "**Warning: other was not scored as mine" in markdown([section])
    assert r"\textbf{Warning: other was not scored as mine" in latex([section])
    lines = list(csv.DictReader(io.StringIO(comma_separated([section]))))
    assert [line["method"] for line in lines if line["scored_otherwise"]] == ["other"]


def test_held_out_rows_stand_beside_nothing():
    found = row(name="validation", images=2257, facts={"list_sha256": None})
    reason = "validation: held-out training images, by which weights are chosen"
    assert unlike(result(found, model=CHOSEN), found) == (reason,)


OTHER_LIST = "images not by the released test list"
CUSTOM = row().protocol.model_copy(update={"name": "custom"})
CHOSEN_ELSEWHERE = "weights chosen under another setting: "


@pytest.mark.parametrize(
    ("data", "found", "reasons"),
    [
        ("nyu", row(images=26), "26 of 654 images"),
        ("nyu", row(images=700), "700 images, not 654"),
        ("kitti", row("kitti", images=651), "651 of 652 images"),
        ("nyu", row(facts={"list_sha256": "ab" * 32}), f"{OTHER_LIST} (SHA-256 abababababab)"),
        ("nyu", row(facts={"list_sha256": None}), f"{OTHER_LIST} (none)"),
        ("kitti", row("kitti", facts={"list_sha256": LISTS["nyu"]}), f"{OTHER_LIST} (SHA-256 {LISTS['nyu'][:12]})"),
        ("nyu", row(name="paper", facts={"list_sha256": None}), f"{OTHER_LIST} (none)"),
        ("nyu", row(facts={"distinct": 1}), "1 of 654 images distinct"),
        ("nyu", row(name="paper", facts={"distinct": 653}), "653 of 654 images distinct"),
        ("kitti", row("kitti", facts={"distinct": None}), "images not known to be distinct"),
        ("nyu", row(split="val"), "val split, not the test set"),
        ("nyu", row(median_scaling=True), "median scaled"),
        ("nyu", row(name="paper", flip_average=False), "no flip averaging"),
        ("nyu", row(name="paper", flip_average=None), "flip averaging not known"),
        ("nyu", row(flip_average=False), ""),
        ("nyu", row(flip_average=None), ""),
        ("kitti", row("kitti", "controlled"), "no published rows of the controlled protocol"),
        ("nyu", row(crop="none"), "no crop"),
        ("nyu", row(max_depth=50.0), "depth from 0.001 to 50 m"),
        ("kitti", row("kitti", "paper", size=None), "truth at another size"),
        ("kitti", row("kitti", kb_crop=True), "KB-cropped frames"),
        ("kitti", row("kitti", "paper", kb_crop=True), "KB-cropped frames"),
        ("nyu", row(truth="labelled, raw"), ""),
        ("nyu", row(pinned={"valid": 5}), ""),
        ("nyu", row(facts={"protocol": CUSTOM}), "other protocol: custom"),
        ("folder", row("folder", "controlled"), "no published rows of this data set"),
    ],
)  # fmt: skip
def test_what_is_not_comparable_says_why(data, found, reasons):
    assert "; ".join(unlike(result(found, data=data), found)) == reasons


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (row(name="controlled", images=26), "26 of 654 images"),
        (row(name="controlled", facts={"list_sha256": None}), f"{OTHER_LIST} (none)"),
        (row(name="controlled", crop="none"), "no crop"),
        (row(name="controlled", flip_average=False), "no flip averaging"),
        (row(name="controlled", pinned={"valid": 156018240}, truth="labelled, in-painted"),
         "156,018,240 valid pixels, not 136,528,022: in-painted depth"),
        (row(name="controlled", pinned={"valid": 136528021}, truth="labelled, raw"),
         "136,528,021 valid pixels, not 136,528,022: another depth or border"),
        *((row(name="controlled", pinned={name: count + 1}),
           f"{count + 1:,} {name.replace('_', ' ')} pixels, not {count:,}: another depth or border")
          for name, count in PINNED.items()),
        (row(name="controlled", facts={"regions": {}}),
         "an unknown number of boundary 0.03 pixels, not 7,073,140: another depth or border"),
    ],
)  # fmt: skip
def test_the_controlled_rows_are_of_pinned_images_and_pixels(found, reasons):
    assert "; ".join(unlike(result(found, model=CHOSEN), found)) == reasons


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"chosen": "last"}, "final checkpoint, not chosen on held-out scenes"),
        ({"validation": None}, "final checkpoint, not chosen on held-out scenes"),
        ({"validation": row(name="validation").protocol}, f"{CHOSEN_ELSEWHERE}no crop"),
        ({"validation_images": 26}, "weights chosen on 26 images, not 2,257"),
        ({"validation_images": None}, "weights chosen on unknown images, not 2,257"),
    ],
)
def test_the_controlled_rows_are_of_weights_chosen_as_theirs_were(changes, reasons):
    found = row(name="controlled")
    assert "; ".join(unlike(result(found, model=CHOSEN.model_copy(update=changes)), found)) == reasons


def test_the_pinned_lists_are_those_that_extraction_knows():
    assert {kind: found.lists[0] for kind, found in published_test_sets().items()} == LISTS
    assert published_test_sets()["nyu"].lists[1] == load_catalogue("nyu").parts["splits"].sha256
    listed = {found.kind: found.lines - found.without_depth for found in RELEASED if found.part == "test"}
    assert {kind: found.images for kind, found in published_test_sets().items()} == listed
    assert published_test_sets()["nyu"].chosen_on == NYU_CONTROLLED_FRAMES["val"]


def test_the_paper_s_protocol_is_of_the_final_checkpoint():
    found = row(name="paper")
    assert unlike(result(found, model=CHOSEN), found) == ("checkpoint chosen on validation, not the final one",)
    assert unlike(result(row(), model=CHOSEN), row()) == ()


def test_a_row_tells_what_weakens_it():
    metrics = dict(zip(METRICS, NUMBERS, strict=True))
    found = row(facts={"variation": {"pixels": 0.02, "images": 0.5}, "baselines": {"median map": metrics}})
    (section,) = comparison([("mine", result(found))])
    assert "Beside: the reported rows. Warning: predictions are nearly constant" in section.lines[-1].note
    assert "Warning: no better than the best prediction without an image by AbsRel, SqRel (m)" in section.lines[-1].note


def test_random_weights_are_never_comparable_and_reasons_add_up():
    found = row(name="paper", images=26, median_scaling=True, flip_average=False)
    expected = ("random encoder weights", "median scaled", "26 of 654 images", "no flip averaging")
    assert unlike(result(found, backbone=RANDOM), found) == expected


def test_the_embedded_encoder_stands_beside_no_published_row():
    found = BackboneFacts.of({"name": "embedded:clip-tiny", "revision": "comes with SpaceCLIP", "weights": "ab"})
    assert unlike(result(row(), model=CHOSEN, backbone=found), row()) == ("a small encoder trained on rendered scenes",)


def test_checkpoints_are_text_free_and_saved_maps_are_what_one_says():
    named = [
        ("mine", result(row())),
        ("theirs", result(row(flip_average=None), model=MAPS, backbone=None)),
        ("told", result(row(flip_average=None), model=MAPS, backbone=None)),
    ]
    (section,) = comparison(named, constraints={"told": "TC-BU", "mine": "TC-BU"})
    assert [line.constraint for line in section.lines if line.ours] == ["TFI-FB", "N/A", "TC-BU"]


def test_each_data_set_has_a_table_published_rows_first():
    named = [("rooms", result(row("synthetic", "controlled"), data="synthetic")), ("mine", result(row()))]
    named.append(("street", result(row("kitti"), data="kitti")))
    named.append(("again", result(row(name="controlled"))))
    kitti, nyu, study, other = comparison(named)
    assert [section.data for section in (kitti, nyu, study, other)] == ["kitti", "nyu", "nyu", "synthetic"]
    assert [line.method for line in kitti.lines if not line.ours][:1] == ["DORN"]
    assert [line.ours for line in nyu.lines] == [False] * 11 + [True]
    assert [line.protocol for line in study.lines] == ["controlled"] * 5
    assert [line.method for line in other.lines] == ["rooms"]
    assert [section.data for section in comparison(named, "nyu")] == ["nyu"] * 2
    assert comparison(named[:2], "kitti") == []


SMALL = """\
Monocular depth on synthetic (▸ ours)

                   Con-                         AbsRel   SqRel    RMSE    RMSE   log10      δ1      δ2      δ3
 Method            straint  Protocol    Beside       ↓       ↓       ↓   log ↓       ↓       ↑       ↑       ↑  Note
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 ▸ small           TFI-FB   controlled  none    0.1000  0.2000  0.3000  0.4000  0.5000  0.7000  0.8000  0.9123     1
 ▸ small (median)  TFI-FB   controlled  none    0.1000  0.2000  0.3000  0.4000  0.5000  0.7000  0.8000  0.9123     2

[1] controlled protocol: no crop, 0.001 to 80 m, native size, with flip averaging, no median scaling; mean over 12
    images of the test split, float16 features. Not comparable: no published rows of this data set.
[2] controlled protocol: no crop, 0.001 to 80 m, native size, with flip averaging, WITH median scaling; mean over 12
    images of the test split, float16 features. Not comparable: no published rows of this data set.
    small: checkpoint: runs/mine/best.safetensors, EMA weights of epoch 7 (the last), trained on float16 features,
    sha256 aaaaaaaaaaaa; backbone: random:openai/clip-vit-base-patch16 (seed 0, weights cdcdcdcdcdcd).

Constraint. TFI-FB: text-free inference, frozen backbone. N/A: not said, or no CLIP.
"""


def test_a_small_table_on_a_terminal():
    rows = [row("synthetic", "controlled", images=12, median_scaling=scaled) for scaled in (False, True)]
    (section,) = comparison([("small", result(*rows, data="synthetic", backbone=RANDOM))])
    assert printed(section) == [*SMALL.splitlines(), ""]


@pytest.fixture
def both():
    found = [("my_run", result(row(), row(name="paper", images=26)))]
    found.append(("study", result(row(name="controlled"), model=CHOSEN)))
    found.append(("a&b 50% #1", result(row("kitti", "paper"), data="kitti", backbone=RANDOM)))
    return comparison(found)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_lines_fit_the_terminal_and_no_number_is_cut(both, width):
    for section in both:
        lines = printed(section, width)
        assert max(map(len, lines)) <= width
        assert any(line.startswith(" ▸ ") for line in lines)
        for name in ("abs_rel", "rmse", "delta1") if width < 110 else section.columns:
            for line in section.lines:
                value = line.metrics[name]
                assert value is None or isinstance(value, float) or any(str(value) in text for text in lines)
        assert ("metrics: the terminal is narrow" in "\n".join(lines)) == (width < 110)


def test_markdown_is_a_table_with_the_same_cells_everywhere(both):
    text = markdown(both)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    lines = text.splitlines()
    assert "| DORN | N/A | reported |  | 0.115 | 0.509 | 0.051 | 0.828 | 0.965 | 0.992 | [1] |" in lines
    assert (
        "| SPACE-CLIP, early | TFI-FB | controlled |  | 0.1283±0.0113 | 0.4544±0.0462 | 0.3369±0.0367 | 0.1650±0.0170 "
        "| 0.8325±0.0389 | 0.9755±0.0074 | 0.9957±0.0013 | 0.1447±0.0103 | [2] |"
    ) in lines
    assert (
        "| **my\\_run** | **TFI-FB** | **standard** | **reported** | **0.1000** | **0.3000** | **0.5000** "
        "| **0.7000** | **0.8000** | **0.9123** | [4] |"
    ) in lines
    assert (
        "* [5] paper protocol: no crop, 0.001 to 10 m, native size, with flip averaging, no median scaling; mean over "
        "26 images of the test split, float16 features. Not comparable: 26 of 654 images."
    ) in lines
    assert "* my\\_run: checkpoint: runs/mine/best.safetensors, EMA weights" in text
    assert "not measured again" in text
    assert "may have chosen their checkpoint on the test split" in text


def test_latex_escapes_and_balances(both):
    text = latex(both)
    assert r"\textbf{a\&b 50\% \#1} & \textbf{TFI-FB} & \textbf{paper} & \textbf{none}" in text
    assert r"\textbf{my\_run}" in text
    assert r"SPACE-CLIP, early & TFI-FB & controlled &  & 0.1283$\pm$0.0113 & 0.4544$\pm$0.0462 &" in text
    body = text.partition("\n")[2]
    assert not re.search(r"(?<!\\)[%#_~^]", body)
    assert body.isascii()
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    for table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        lines = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(table[0])}
    assert body.count(r"\begin{table*}") == body.count(r"\end{table*}") == 3


def test_hard_names_survive_latex():
    name = "a\\b{c}~^<>$é"
    (section,) = comparison([(name, result(row("synthetic", "controlled"), data="synthetic"))])
    expected = r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\$é"
    assert rf"\textbf{{{expected}}} &" in latex([section])


def test_csv_has_every_fact_in_its_column(both):
    lines = list(csv.DictReader(io.StringIO(comma_separated(both))))
    assert len(lines) == 13 + 1 + 11 + 2 + 4 + 1
    street, mine, part, study = (line for line in lines if line["ours"] == "True")
    assert mine == {
        "data": "nyu", "method": "my_run", "ours": "True", "constraint": "TFI-FB", "protocol": "standard",
        "crop": "nyu_eigen", "size": "native", "min_depth": "0.001", "max_depth": "10.0",
        "kb_crop": "False", "truth": "", "flip_average": "True", "median_scaling": "False", "images": "654",
        "quarantined": "0", "features": "float16",
        **{name: "" for name in mine if name.endswith(("_sd", "_by_seed"))},
        "boundary_0.05_abs_rel": "0.1",
        **{name: str(v) for name, v in zip(METRICS, NUMBERS, strict=True)},
        "seeds": "", "source": "this run: runs/mine/best.safetensors",
        "origin": "checkpoint: runs/mine/best.safetensors, EMA weights of epoch 7 (the last), trained "
        "on float16 features, sha256 aaaaaaaaaaaa; backbone: openai/clip-vit-base-patch16 (57c216476eef, weights "
        "abababababab)", "beside": "reported",
        "not_comparable": "", "scored_otherwise": "",
    }  # fmt: skip
    assert (part["beside"], part["not_comparable"]) == ("", "26 of 654 images")
    assert (street["size"], street["crop"], street["max_depth"]) == ("352x704", "kitti_eigen", "80.0")
    published = {(line["data"], line["method"]): line for line in lines if line["ours"] == "False"}
    hu = published["kitti", "Hu et al."]
    assert (hu["rmse"], hu["rmse_log"], hu["crop"], hu["images"]) == ("12.290", "", "", "")
    late = published["nyu", "SPACE-CLIP, late"]
    assert (late["abs_rel"], late["abs_rel_sd"], late["seeds"]) == ("0.1230", "0.0020", "42 43 44 45 46")
    assert (late["images"], late["crop"], late["flip_average"], late["median_scaling"]) == (
        *("654", "nyu_eigen", "True", "False"),
    )
    assert (late["mae"], late["mae_sd"], late["boundary_0.05_abs_rel_sd"]) == ("0.3246", "0.0052", "0.0023")
    assert late["abs_rel_by_seed"] == "0.12100 0.12237 0.12126 0.12478 0.12548"
    assert study["beside"] == "controlled"
    paper = published["nyu", "SPACE-CLIP"]
    assert (paper["crop"], paper["flip_average"], paper["median_scaling"]) == ("none", "True", "")


@pytest.mark.parametrize(("backbone", "beside"), [(CLIP, True), (RANDOM, False)])
def test_a_page_has_published_rows_only_where_a_row_may_stand_beside_them(backbone, beside):
    results = result(row(), row(name="validation"), backbone=backbone)
    page = run_page(results, {})
    assert ("beside published rows" in page) is ("Monocular depth on NYU" in page) is ("NeWCRFs" in page) is beside
    marked = re.findall(r'<tr class="marked">(.*?)</tr>', page, re.DOTALL)
    assert len(marked) == beside
    assert all("this run" in line and "0.1000" in line for line in marked)

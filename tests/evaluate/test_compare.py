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
)
from spaceclip.evaluate.comparison.comparable import unlike
from spaceclip.evaluate.comparison.formats import comma_separated, latex, markdown, terminal
from spaceclip.evaluate.comparison.rows import comparison
from spaceclip.evaluate.protocol import ProtocolName

NUMBERS = (0.1, 0.2, 0.3, 0.4, 0.5, 60.0, 0.7, 0.8, 0.91234)
CLIP = BackboneFacts(name="openai/clip-vit-base-patch16", revision="57c216476eefef5ab752", random=False)
RANDOM = BackboneFacts(name="random:openai/clip-vit-base-patch16", revision="seed 0", random=True)
BEST = CheckpointFacts(path="runs/mine/best.safetensors", sha256="a" * 64, epoch=7, weights="ema", chosen="last")
MAPS = SavedMapsFacts(path="maps/theirs", name="theirs", depth_scale=None)


def row(data="nyu", name: ProtocolName = "standard", images=None, split=None, **changes):
    settings = EvaluateSettings(protocols=("controlled",))
    about = {"data": data, "split_by": "scene"}
    protocol = settings.protocol(name, about, min_depth=0.001, max_depth=10.0 if data == "nyu" else 80.0)
    full = 2257 if name == "controlled" else {"kitti": 652, "nyu": 654}.get(data, 12)
    return Row(
        protocol=protocol.model_copy(update=changes),
        split=split or ("val" if name == "controlled" else "test"),
        images=images or full,
        skipped=(),
        metrics=dict(zip(METRICS, NUMBERS, strict=True)),
        regions={},
        scenes={},
        baseline=None,
    )


def result(*rows, data="nyu", model: CheckpointFacts | SavedMapsFacts = BEST, backbone: BackboneFacts | None = CLIP):
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


def test_held_out_scenes_of_nyu_stand_beside_the_controlled_rows():
    (section,) = comparison([("mine", result(row(name="controlled"), row(name="controlled", flip_average=False)))])
    assert [line.beside for line in section.lines if line.ours] == ["controlled", "controlled"]


@pytest.mark.parametrize(
    ("data", "found", "reasons"),
    [
        ("nyu", row(images=26), "26 of 654 images"),
        ("nyu", row(images=700), "700 images, not 654"),
        ("kitti", row("kitti", images=651), "651 of 652 images"),
        ("nyu", row(split="val"), "val split, not the test set"),
        ("nyu", row(median_scaling=True), "median scaled"),
        ("nyu", row(name="paper", flip_average=False), "no flip averaging"),
        ("nyu", row(name="paper", flip_average=None), "flip averaging not known"),
        ("nyu", row(flip_average=False), ""),
        ("nyu", row(flip_average=None), ""),
        ("kitti", row("kitti", "controlled"), "controlled: held-out training scenes, not the test set"),
        ("nyu", row(name="controlled", images=26), "26 of 2,257 images"),
        ("nyu", row(name="controlled", crop="nyu_eigen"), "nyu_eigen crop"),
        ("nyu", row(name="controlled", max_depth=8.0), "depth from 0.001 to 8 m"),
        ("nyu", row(name="controlled", min_depth=0.5), "depth from 0.5 to 10 m"),
        ("nyu", row(crop="none"), "no crop"),
        ("nyu", row(max_depth=50.0), "depth from 0.001 to 50 m"),
        ("kitti", row("kitti", "paper", size=None), "truth at another size"),
        ("kitti", row("kitti", kb_crop=True), "KB-cropped frames"),
        ("kitti", row("kitti", "paper", kb_crop=True), "KB-cropped frames"),
        ("nyu", row(truth="labelled, raw"), ""),
        ("nyu", row(name="controlled").model_copy(update={"protocol": row().protocol.model_copy(
            update={"name": "custom"})}), "other protocol: custom"),
        ("folder", row("folder", "controlled"), "no published rows of this data set"),
    ],
)  # fmt: skip
def test_what_is_not_comparable_says_why(data, found, reasons):
    assert "; ".join(unlike(result(found, data=data), found)) == reasons


def test_the_paper_s_protocol_is_of_the_final_checkpoint():
    found = row(name="paper")
    chosen = BEST.model_copy(update={"chosen": "best"})
    assert unlike(result(found, model=chosen), found) == ("checkpoint chosen on validation, not the final one",)
    assert unlike(result(row(), model=chosen), row()) == ()


def test_random_weights_are_never_comparable_and_reasons_add_up():
    found = row(name="paper", images=26, median_scaling=True, flip_average=False)
    expected = ("random encoder weights", "median scaled", "26 of 654 images", "no flip averaging")
    assert unlike(result(found, backbone=RANDOM), found) == expected


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
    kitti, nyu, other = comparison(named)
    assert [section.data for section in (kitti, nyu, other)] == ["kitti", "nyu", "synthetic"]
    assert [line.method for line in kitti.lines if not line.ours][:1] == ["DORN"]
    assert [line.ours for line in nyu.lines] == [False] * 14 + [True]
    assert [line.method for line in other.lines] == ["rooms"]
    assert [section.data for section in comparison(named, "nyu")] == ["nyu"]
    assert comparison(named[:2], "kitti") == []


SMALL = """\
Monocular depth on synthetic (▸ ours)

                   Con-                         AbsRel   SqRel    RMSE    RMSE   log10      δ1      δ2      δ3
 Method            straint  Protocol    Beside       ↓       ↓       ↓   log ↓       ↓       ↑       ↑       ↑  Note
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 ▸ small           TFI-FB   controlled  none    0.1000  0.2000  0.3000  0.4000  0.5000  0.7000  0.8000  0.9123     1
 ▸ small (median)  TFI-FB   controlled  none    0.1000  0.2000  0.3000  0.4000  0.5000  0.7000  0.8000  0.9123     2

[1] controlled protocol: no crop, 0.001 to 80 m, native size, with flip averaging, no median scaling; mean over 12
    images of the val split. Not comparable: no published rows of this data set.
[2] controlled protocol: no crop, 0.001 to 80 m, native size, with flip averaging, WITH median scaling; mean over 12
    images of the val split. Not comparable: no published rows of this data set.
    small: checkpoint: runs/mine/best.safetensors, EMA weights of epoch 7 (the last), sha256 aaaaaaaaaaaa; backbone:
    random:openai/clip-vit-base-patch16 (seed 0).

Constraint. TFI-FB: text-free inference, frozen backbone. N/A: not said, or no CLIP.
"""


def test_a_small_table_on_a_terminal():
    rows = [row("synthetic", "controlled", images=12, median_scaling=scaled) for scaled in (False, True)]
    (section,) = comparison([("small", result(*rows, data="synthetic", backbone=RANDOM))])
    assert printed(section) == [*SMALL.splitlines(), ""]


@pytest.fixture
def both():
    found = [("my_run", result(row(), row(name="paper", images=26)))]
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
    early = "| SPACE-CLIP, early | TFI-FB | controlled |  | 0.1283±0.0113 | 0.4544 | - | - | - | - | [3] |"
    assert early in lines
    assert (
        "| **my\\_run** | **TFI-FB** | **standard** | **reported** | **0.1000** | **0.3000** | **0.5000** "
        "| **0.7000** | **0.8000** | **0.9123** | [4] |"
    ) in lines
    assert (
        "* [5] paper protocol: no crop, 0.001 to 10 m, native size, with flip averaging, no median scaling; mean over "
        "26 images of the test split. Not comparable: 26 of 654 images."
    ) in lines
    assert "* my\\_run: checkpoint: runs/mine/best.safetensors, EMA weights" in text
    assert "not measured again" in text
    assert "may have chosen their checkpoint on the test split" in text


def test_latex_escapes_and_balances(both):
    text = latex(both)
    assert r"\textbf{a\&b 50\% \#1} & \textbf{TFI-FB} & \textbf{paper} & \textbf{none}" in text
    assert r"\textbf{my\_run}" in text
    assert r"SPACE-CLIP, early & TFI-FB & controlled &  & 0.1283$\pm$0.0113 & 0.4544 & - & - & - & - & 3 \\" in text
    body = text.partition("\n")[2]
    assert not re.search(r"(?<!\\)[%#_~^]", body)
    assert body.isascii()
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    for table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        lines = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(table[0])}
    assert body.count(r"\begin{table*}") == body.count(r"\end{table*}") == 2


def test_hard_names_survive_latex():
    name = "a\\b{c}~^<>$é"
    (section,) = comparison([(name, result(row("synthetic", "controlled"), data="synthetic"))])
    expected = r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\$é"
    assert rf"\textbf{{{expected}}} &" in latex([section])


def test_csv_has_every_fact_in_its_column(both):
    lines = list(csv.DictReader(io.StringIO(comma_separated(both))))
    assert len(lines) == 13 + 1 + 14 + 2
    street, mine, part = (line for line in lines if line["ours"] == "True")
    assert mine == {
        "data": "nyu", "method": "my_run", "ours": "True", "constraint": "TFI-FB", "protocol": "standard",
        "crop": "nyu_eigen", "size": "native", "min_depth": "0.001", "max_depth": "10.0",
        "kb_crop": "False", "truth": "", "flip_average": "True", "median_scaling": "False", "images": "654",
        **{name: str(v) for name, v in zip(METRICS, NUMBERS, strict=True)},
        "abs_rel_sd": "", "seeds": "", "source": "this run: runs/mine/best.safetensors",
        "origin": "checkpoint: runs/mine/best.safetensors, EMA weights of epoch 7 (the last), sha256 "
        "aaaaaaaaaaaa; backbone: openai/clip-vit-base-patch16 (57c216476eef)", "beside": "reported",
        "not_comparable": "",
    }  # fmt: skip
    assert (part["beside"], part["not_comparable"]) == ("", "26 of 654 images")
    assert (street["size"], street["crop"], street["max_depth"]) == ("352x704", "kitti_eigen", "80.0")
    published = {(line["data"], line["method"]): line for line in lines if line["ours"] == "False"}
    hu = published["kitti", "Hu et al."]
    assert (hu["rmse"], hu["rmse_log"], hu["crop"], hu["images"]) == ("12.290", "", "", "")
    late = published["nyu", "SPACE-CLIP, late"]
    assert (late["abs_rel"], late["abs_rel_sd"], late["seeds"]) == ("0.1230", "0.0020", "42 43 44 45 46")
    assert late["images"] == "2257"
    paper = published["nyu", "SPACE-CLIP"]
    assert (paper["crop"], paper["flip_average"], paper["median_scaling"]) == ("none", "True", "")

"""`spaceclip report` of a study: its page, made of validation images alone."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from spaceclip.cache import FeatureCache, Looks
from spaceclip.evaluate import METRICS, Scorer
from spaceclip.evaluate.report import draw_runs, draw_seeds
from spaceclip.pipeline.cli import main
from spaceclip.pipeline.study.answer import answer, chance
from spaceclip.pipeline.study.arm_results import ArmResult, RunResult, Start
from spaceclip.pipeline.study.page import study_page
from spaceclip.pipeline.study.results import read_study
from spaceclip.pipeline.study.tables import seeds_table

STUDY = """
base: configs/tiny.yaml
arms:
  whole: {}
  flat: { decoder.film: false, train.epochs: 1 }
seeds: [1, 2]
"""
OUT = Path("results/arms")


@pytest.fixture(scope="module")
def studied_once(tmp_path_factory, extracted_once):
    folder = shutil.copytree(extracted_once, tmp_path_factory.mktemp("studied"), dirs_exist_ok=True)
    file = folder / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("epochs: 3", "epochs: 2"))
    (folder / "arms.yaml").write_text(STUDY)
    with contextlib.chdir(folder):
        result = CliRunner().invoke(main, ["study", "arms.yaml"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def studied(tmp_path, monkeypatch, studied_once):
    """A study of two arms and two seeds."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(studied_once, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def page(studied, spaceclip):
    """Makes the page of the study; gives its source."""

    def make(*options):
        assert spaceclip("report", OUT, *options).output == f"{OUT / 'report.html'}\n"
        return (OUT / "report.html").read_text()

    return make


def cells(source):
    rows = re.findall(r"<tr.*?>(.*?)</tr>", source, re.DOTALL)
    return [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]


def change(path, content):
    found = json.loads(path.read_text())
    content(found)
    path.write_text(json.dumps(found))


def test_the_page_needs_no_test_split_and_shows_every_arm_on_validation_images(page):
    val = FeatureCache.open("features/tiny/val.json")
    test = FeatureCache.open("features/tiny/test.json")
    for path in (Path("features/tiny/test.json"), Path(str(test.path))):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    source = page("--images", 100)
    figures = re.findall(r"<figure.*?</figure>", source, re.DOTALL)
    names = [name for one in figures for name in re.findall("<b>(.*?)</b>", one)]
    assert sorted(names) == sorted(val.sample_ids)
    study = read_study(OUT)
    whole, flat = (
        [float(found) for found in re.findall(r"AbsRel (0\.\d{4})</small>", " ".join(figures))[at::2]] for at in (0, 1)
    )
    for arm, shown in zip(study.arms, (whole, flat), strict=True):
        assert np.mean(shown) == pytest.approx(arm.runs[0].metrics["abs_rel"], abs=2e-4)
    assert whole == sorted(whole)  # best first, by the first arm
    assert f"among the best images of “whole”: AbsRel {whole[0]:.4f}" in figures[0]
    for one, name in zip(figures, names, strict=True):
        assert re.findall('alt="(.*?)"', one) == [
            f"Image of {name}", f"Ground truth of {name}",
            *(f"{kind} of {name} by {arm}" for arm in ("whole", "flat") for kind in ("Prediction", "Relative error")),
        ]  # fmt: skip


def test_its_tables_are_those_of_the_study_and_every_seed_is_a_point(page, monkeypatch):
    from matplotlib.axes import Axes

    points, plot = [], Axes.plot

    def watched(self, *given, **named):
        if len(given) == 3 and given[2] == "o":
            points.append(list(given[0]))
        return plot(self, *given, **named)

    monkeypatch.setattr(Axes, "plot", watched)
    source, (whole, flat) = page(), read_study(OUT).arms
    table = {row[0]: row[1:] for row in reversed(cells(source)) if row}  # of several tables the first
    assert table["flat"][-1] == f"{flat.parameters:,}"
    found = flat.metrics["abs_rel"]
    assert table["flat"][0] == f"{found.mean:.4f} ± {found.deviation:.4f}"
    assert points[:2] == [[run.metrics["abs_rel"] for run in arm.runs] for arm in (whole, flat)]
    for metric, drawn in zip(("abs_rel", "rmse", "delta1"), points[2:], strict=True):
        seeds = [own.metrics[metric] - other.metrics[metric] for own, other in zip(flat.runs, whole.runs, strict=True)]
        assert drawn == pytest.approx(seeds)
    text = " ".join(re.sub("<.*?>", " ", source).split())
    assert "What changes against “whole”: “flat”?" in text
    assert "For this page no test image was looked at." in text
    assert "stand beside no published row" in text
    assert "Random encoder weights" in text


@pytest.mark.parametrize("protocol", [True, False])
def test_a_page_without_numbers_of_the_test_split_says_why_and_how_often_it_was_looked_at(studied, protocol):
    results = read_study(OUT)
    assert results.test
    arms = [arm.model_copy(update={"runs": [run.model_copy(update={"test": {}}) for run in arm.runs], "test": {}})
            for arm in results.arms]  # fmt: skip
    test = results.test.model_copy(update={"looks": Looks(2, 1, 1)}) if protocol else None
    source = study_page(results.model_copy(update={"arms": arms, "test": test}), OUT, [])
    section = re.findall(r"<h2>Test split</h2>(.*?)</section>", source, re.DOTALL)
    assert len(section) == 1
    assert "<table" not in section[0]
    said = (
        "Not scored yet: that comes once all runs have ended; test split looked at 2 times by then, by 1 checkpoint and"
        if protocol
        else "There is no test split, or no protocol of the base scores it."
    )
    assert said in section[0]


def test_a_second_page_of_the_same_runs_scores_no_image_again_and_is_the_same(page, monkeypatch):
    scored, add = [], Scorer.add
    monkeypatch.setattr(Scorer, "add", lambda self, name, *given: scored.append(name) or add(self, name, *given))
    first, images = page("--images", 3), FeatureCache.open("features/tiny/val.json").sample_ids
    assert scored == [*images, *images]
    assert page("--images", 3) == first
    assert scored == [*images, *images]
    kept = OUT / "flat" / "seed1" / "validation" / "results.json"
    study = read_study(OUT)
    assert json.loads(kept.read_text())["rows"][0]["metrics"] == pytest.approx(study.arms[1].runs[0].metrics, rel=1e-4)
    change(kept, lambda found: found["model"].update(sha256="0" * 64))  # of weights that were replaced since
    assert page("--images", 3) == first
    assert scored == [*images, *images, *images]


def test_a_failed_run_stays_in_the_page_and_another_seed_is_shown_in_its_place(page):
    def fail(found):
        found["arms"][1]["runs"][0] |= {"status": "failed", "metrics": {}, "note": "no more memory"}

    change(OUT / "study.json", fail)
    source = page("--images", 3)
    assert "* “flat” seed 1: no more memory" in source
    assert "3 of 4 runs are trained, not “flat” seed 1." in source
    assert "whole seed 1, flat seed 2" in source


def test_a_page_of_other_numbers_than_its_table_is_refused_in_one_line(studied, one_line, spaceclip):
    Path("features").rename("moved")
    assert "features/tiny: the features are not there" in one_line("report", OUT)
    spaceclip("report", OUT, "--features", "moved/tiny", "--images", 1)
    change(OUT / "study.json", lambda found: found["stores"].update(val=["0123456789ab"]))
    assert "those of the study 0123456789ab" in one_line("report", OUT, "--features", "moved/tiny")
    change(OUT / "study.json", lambda found: found["arms"][0].pop("runs"))
    assert "study.json is of another version (arms.0.runs: Field required)" in one_line("report", OUT)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda found: found.update(arms=[]), "there are no arms, or no seeds"),
        (lambda found: found["arms"][1]["runs"].pop(), "the runs of flat are of the seeds [1], expected [1, 2]"),
        (lambda found: found["arms"][1]["runs"][0]["metrics"].pop("rmse"), "flat lacks rmse"),
        (lambda found: found["arms"][1]["metrics"].pop("abs_rel"), "flat lacks abs_rel"),
        (lambda found: found["arms"][1]["metrics"].clear(), "the mean of flat is not of its runs"),
        (lambda found: found["arms"][1]["test"].clear(), "the mean of flat on the test split is not of its runs"),
    ],
)
def test_a_table_that_was_edited_by_hand_is_refused_in_one_line(studied, one_line, edit, told):
    change(OUT / "study.json", edit)
    for command in ("report", "show"):
        assert f"study.json is of another version (its JSON: Value error, {told})" in one_line(command, OUT)


def test_runs_that_were_trained_anew_are_not_shown_with_the_numbers_of_others(studied, one_line):
    change(OUT / "study.json", lambda found: found["arms"][1]["runs"][0]["metrics"].update(abs_rel=0.125))
    assert "flat/seed1/checkpoint.safetensors: was trained anew since the table was written" in one_line("report", OUT)


def results_of(arms, best=None):
    """Runs with an AbsRel each; None: open, a text: failed."""
    runs = {
        name: [
            RunResult(seed=seed, status="failed", note=value)
            if isinstance(value, str)
            else RunResult(
                seed=seed, status="trained" if value else "open", metrics={"abs_rel": value} if value else {}
            )
            for seed, value in enumerate(values)
        ]
        for name, values in arms.items()
    }
    start, first = Start(parameters=0, weights=[], leading=[]), next(iter(runs.values()))
    found = [ArmResult.of(name, {}, 1, start, own, first) for name, own in runs.items()]
    baselines = {"median map": dict.fromkeys(METRICS, best)} if best else {}
    update = {"arms": found, "seeds": [run.seed for run in first], "baselines": baselines}
    return read_study(OUT).model_copy(update=update)


@pytest.mark.parametrize(
    ("arms", "lowest", "apart", "missing"),
    [
        (
            {"base": [3, 4], "good": [2, 2], "bad": [5, 5], "mixed": [2, 6], "same": [3, 4], "tie": [3, 6]},
            "“good”, 2.0000 ± 0.0000 (2 seeds)",
            [
                "“good” -1.5000 ± 0.7071, lower in 2 of 2 seeds",
                "“bad” +1.5000 ± 0.7071, higher in 2 of 2 seeds",
                "“mixed” +0.5000 ± 2.1213, higher in 1 of 2 seeds",
                "“same” no difference, the same numbers in every seed",
                "“tie” +1.0000 ± 1.4142, higher in 1 of 2 seeds",
            ],
            "",
        ),
        (
            {"base": [3, 4, 8], "good": [1, 2, "no memory"], "dead": ["no memory"] * 3},
            "“good”, 1.5000 ± 0.7071 (seeds 0, 1)",
            ["“good” -2.0000 ± 0.0000, lower in 2 of 2 seeds"],
            " Failed: “good” seed 2, “dead” in every seed.",
        ),
        (
            {"base": [3, 4], "good": [1, 2], "late": [0.5, None]},
            "“good”, 1.5000 ± 0.7071 (2 seeds, of the 2 arms that have them all)",
            ["“good” -2.0000 ± 0.0000, lower in 2 of 2 seeds", "“late” -2.5000 in one seed"],
            " Not trained yet: “late” seed 1.",
        ),
        (
            {"base": [None, 4], "other": [5, None]},
            "not known, as no seed is trained in every arm",
            [],
            " Not trained yet: “base” seed 0, “other” seed 1.",
        ),
        (
            {"base": [3, 4], "more": [3, 4]},
            "“base” and “more”, 3.5000 ± 0.7071 (2 seeds)",
            ["“more” no difference, the same numbers in every seed"],
            "",
        ),
        ({"base": [3, 4]}, "“base”, 3.5000 ± 0.7071 (2 seeds)", [], ""),
    ],
)
def test_the_answer_is_true_of_arms_that_are_the_same_or_lack_seeds(studied, arms, lowest, apart, missing):
    differences = f" Difference to “base”, paired by seed: {'; '.join(apart)}." if apart else ""
    assert answer(results_of(arms)) == f"Lowest AbsRel on validation: {lowest}.{differences}{missing}"


def test_the_answer_of_a_study_that_has_no_run_yet_says_so(studied):
    assert answer(results_of({"base": [None, "no memory"]})) == (
        "Nothing yet: no run is trained. Failed: “base” seed 1. Not trained yet: “base” seed 0."
    )


def test_the_answer_names_arms_that_are_no_better_than_a_prediction_without_an_image(studied):
    arms = {"base": [3, 4], "good": [1, 2]}
    clause = "No better than the best prediction without an image"
    assert answer(results_of(arms, 3)).endswith(f"{clause} (3.0000): “base”.")
    assert answer(results_of(arms, 1)).endswith(f"{clause} (1.0000): every arm.")
    assert clause not in answer(results_of(arms, 4))


def test_a_run_of_one_epoch_is_a_point_at_a_whole_number():
    ax = Figure().subplots()
    draw_runs(ax, {"one": [([1.0], [0.5])]}, "Training loss")
    assert ax.lines[0].get_marker() == "."
    assert [tick for tick in ax.get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_long_names_of_arms_are_whole_in_charts(studied):
    long = "film=true,learning_rate=0.0003,structural=false,ssim=0.25"
    figure = Figure(figsize=(5.4, 2), layout="constrained")
    ax = figure.subplots()
    draw_seeds(ax, {long: [0.1, 0.2], "dead": []}, f"AbsRel: difference to “{long}”", zero=f"“{long}”")
    figure.draw_without_rendering()
    box, drawn = figure.bbox, ax.xaxis.label.get_window_extent()
    assert box.x0 <= drawn.x0
    assert drawn.x1 <= box.x1
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0].replace("\n", "").replace(" ", "") == long
    assert names[1] == "dead (no run)"
    assert all(label.get_window_extent().x0 >= box.x0 for label in ax.get_yticklabels())


def test_the_best_prediction_without_an_image_is_a_line_unless_it_is_far_off():
    for beside, said, lines in ((0.4, "dashed", 1), (9.0, "off to the right", 0)):
        ax = Figure().subplots()
        draw_seeds(ax, {"one": [0.2, 0.4]}, "AbsRel", beside=beside)
        assert f"best without an image {beside:.4f}, {said}" in ax.get_xlabel()
        assert sum(line.get_linestyle() == "--" for line in ax.lines) == lines


def test_the_chance_that_all_seeds_agree_is_by_the_seeds_that_an_arm_has(studied):
    assert "cases: 25% (3 seeds), 50% (2 seeds)." in chance(
        results_of({"a": [1, 2, 3], "b": [1, 2, None], "c": [2] * 3})
    )
    assert "cases" not in chance(results_of({"a": [1, 2, 3]}))
    assert chance(results_of({"a": [1], "b": [2]})) == "A point is a seed. One seed says little."


def test_an_arm_that_is_the_same_in_every_seed_is_the_same_in_the_table(studied):
    _, rows = seeds_table(results_of({"base": [3, 4], "more": [3, 4]}))
    assert rows[1][1:3] == ["+0.0000 ± 0.0000", "same"]

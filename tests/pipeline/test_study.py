"""`spaceclip study`: arms times seeds, compared on validation, gone on with where they were."""

import contextlib
import csv
import json
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from spaceclip.cache import FeatureCache, Looks, Pointer, SpaceClipError
from spaceclip.evaluate import image_free_depths, read_results
from spaceclip.extract import read_yaml
from spaceclip.extract.clip_tiny.model import VISION
from spaceclip.pipeline.cli import main
from spaceclip.pipeline.config import check_settings, read_experiment
from spaceclip.pipeline.evaluation import score_checkpoints
from spaceclip.pipeline.study import on_test
from spaceclip.pipeline.study.arm_results import ArmResult, RunResult, Start
from spaceclip.pipeline.study.design import StudyFile
from spaceclip.pipeline.study.notes import notes_of
from spaceclip.pipeline.study.results import StudyResults
from spaceclip.train import DepthDecoder, load_checkpoint
from spaceclip.train.step import TrainingStep

STUDY = """
base: configs/tiny.yaml
arms:
  whole: {}
  flat: { decoder.film: false }
  steep: { train.learning_rate: 0.01 }
seeds: [1, 2]
"""
FLAT = "decoder.film: false"
TERMINAL = ("abs_rel", "rmse", "delta1")
WHOLE = Start(parameters=1, weights=["head"], leading=[])


ROOT = Path(__file__).parents[2]
STUDIES = {*(ROOT / "configs/studies").glob("*.yaml")} - {ROOT / "configs/studies/dvc.yaml"}


@pytest.fixture(scope="module")
def studied_once(tmp_path_factory, extracted_once):
    """The study above in results/whole, trained once for all tests, and what it printed."""
    folder = shutil.copytree(extracted_once, tmp_path_factory.mktemp("studied"), dirs_exist_ok=True)
    file = folder / "configs/tiny.yaml"
    shorter = (
        file.read_text()
        .replace("epochs: 3", "epochs: 2")
        .replace("max_depth: 10 }", "max_depth: 10, precision: float32 }")
    )
    file.write_text(shorter)
    (folder / "arms.yaml").write_text(STUDY)
    with contextlib.chdir(folder):
        result = CliRunner().invoke(main, ["study", "arms.yaml", "--out", "results/whole"])
    assert result.exit_code == 0, result.output
    return folder, result.stdout


@pytest.fixture
def project(tmp_path, monkeypatch, studied_once):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(studied_once[0], tmp_path, dirs_exist_ok=True)


@pytest.fixture
def study(project, spaceclip):
    """Writes a study and runs it."""

    def run(text=STUDY, *options, **expected):
        Path("arms.yaml").write_text(text)
        return spaceclip("study", "arms.yaml", *options, **expected)

    return run


def runs(name="arms"):
    with open(f"results/{name}/study.csv") as file:  # noqa: PTH123
        return list(csv.DictReader(file))


def table_of(name):
    return Path(f"results/{name}/study.md").read_text()


def weights(project, name="arms"):
    files = (project / "results" / name).rglob("checkpoint.safetensors")
    return {str(file.relative_to(project / "results" / name)): file.read_bytes() for file in files}


def count(decoder):
    with torch.device("meta"):
        return sum(weights.numel() for weights in DepthDecoder(decoder).parameters())


def spread(values, agree=None):
    mean, deviation = pytest.approx(statistics.fmean(values)), pytest.approx(statistics.stdev(values))
    return {"mean": mean, "deviation": deviation, "seeds": len(values), "agree": agree}


def one_line(result):
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps of all decoders; ends with Ctrl-C at one of them."""
    counted, step = {"steps": 0, "interrupt at": 0}, TrainingStep.__call__

    def counting(self, *given):
        counted["steps"] += 1
        if counted["steps"] == counted["interrupt at"]:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(TrainingStep, "__call__", counting)
    return counted


def test_each_run_is_that_of_train_alone_and_the_table_tells_all_of_them(studied_once, project, spaceclip):
    flat = ("--set", "decoder.film=false", "--set", "train.start.film=true")
    spaceclip("train", "--config", "configs/tiny.yaml", "--seed", 2, *flat, "--out", "alone")
    alone, in_study = load_checkpoint("alone").info, weights(project, "whole")["flat/seed2/checkpoint.safetensors"]
    assert (project / "alone/checkpoint.safetensors").read_bytes() == in_study
    found = json.loads((project / "results/whole/study.json").read_text())
    assert [(arm["name"], arm["own"]) for arm in found["arms"]] == [
        ("whole", {}),
        ("flat", {"decoder.film": False}),
        ("steep", {"train.learning_rate": 0.01}),
    ]
    whole, flat, _ = found["arms"]
    assert flat["runs"][1]["metrics"] == alone.metrics
    assert flat["parameters"] < whole["parameters"]
    values, firsts = ([run["metrics"]["rmse"] for run in arm["runs"]] for arm in (flat, whole))
    assert flat["metrics"]["rmse"] == spread(values)
    apart = [value - first for value, first in zip(values, firsts, strict=True)]
    assert flat["differences"]["rmse"] == spread(apart, sum(one * statistics.fmean(apart) > 0 for one in apart))
    assert whole["differences"] == {}
    rows = [(run["arm"], run["seed"], run["status"]) for run in runs("whole")]
    assert rows[2:4] == [("flat", "1", "trained"), ("flat", "2", "trained")]
    table = (project / "results/whole/study.md").read_text()
    printed = studied_once[1]
    assert max(map(len, printed.splitlines())) < 100
    for arm in found["arms"]:
        shown = [f"{one['mean']:.4f} ± {one['deviation']:.4f}" for one in map(arm["metrics"].get, TERMINAL)]
        assert re.search(rf"^ *{arm['name']} +{' +'.join(map(re.escape, shown))} ", printed, re.MULTILINE)
    apart = flat["differences"]["abs_rel"]
    cells = rf"{apart['mean']:+.4f} ± {apart['deviation']:.4f}"
    assert re.search(rf"^ *flat .* {re.escape(cells)} +{apart['agree']} of 2", printed, re.MULTILINE)
    files = "study.json, study.md, study.tex, study.csv, metrics.json"
    end = rf"results/whole: {files}; took \d+ s\nnext: spaceclip report results/whole\n"
    assert re.search(rf"\n{end}$", printed)
    assert re.search(r"\| flat +\| +\d\.\d{4} ± \d\.\d{4} \|.*\| +[\d,]+ \|\n", table)
    assert "configs/tiny.yaml, validation protocol: no crop, 0.001 to 10 m" in table
    assert "seeds 1, 2; encoder random:" in table
    first = "all parameters start as those of whole"
    own = ("whole: as the base", f"flat: decoder.film=false; {first}", f"steep: train.learning_rate=0.01; {first}")
    assert "".join(f"- {arm}\n" for arm in own) in table
    assert "Weights are the best epoch's, raw or EMA, chosen on the same images." in table
    assert "RANDOM WEIGHTS: the numbers say nothing of CLIP" in table


def test_an_arm_that_changes_nothing_differs_by_nothing():
    first = [RunResult(seed=seed, status="trained", metrics={"rmse": 0.5 + seed}) for seed in (1, 2)]
    arm = ArmResult.of("same", {}, 1, WHOLE, list(first), first)
    assert arm.differences["rmse"].mean == arm.differences["rmse"].deviation == 0


def test_an_interrupted_study_goes_on_to_the_same_table_and_an_arm_added_later_trains_alone(
    study, project, steps, monkeypatch
):
    monkeypatch.setattr("spaceclip.pipeline.study.dry_run.duration", lambda seconds: f"{seconds:.6f} s")
    whole = 36
    steps["interrupt at"] = 30
    study(fails=True)
    assert not list(Path("results/arms").rglob("results.json"))  # the test split waits for all runs
    assert "Not scored yet: that comes once all runs have ended" in table_of("arms")
    dry = study(STUDY, "--dry-run").output
    assert re.search(r"whole \(as the base\): [\d,]+ parameters, 6 steps a seed; seed 1 done, seed 2 at step 3\n", dry)
    receipts = [load_checkpoint(folder).info.receipt for folder in Path("results/arms").glob("*/seed1")]
    took = max(receipt.seconds for receipt in receipts if receipt)
    last = dry.splitlines()[-1]
    (found,) = re.findall(r"^results/arms: (.*), about (.*) s one seed after another, as those done took$", last)
    assert found[0] == "3 of 6 runs to do, 9 steps at batch 4"
    assert float(found[1]) == pytest.approx(took / 18 * 9, abs=1e-5)
    told = study().stderr
    assert "flat, seed 2: going on after step 3 of 6\n" in told
    assert "seed 2, 2 of 2: 3 arms to train\n" in told
    assert "seed 1, 1 of 2" not in told
    assert steps["steps"] == 30 + 9
    assert weights(project) == weights(project, "whole")
    assert runs() == runs("whole")
    assert table_of("arms") == table_of("whole")
    scored = {file: file.stat().st_mtime_ns for file in Path("results/arms").rglob("results.json")}
    steps["steps"] = 0
    study(STUDY.replace("seeds", "  near: { decoder.dropout: 0.5 }\nseeds"))
    assert steps["steps"] == whole // 3
    assert [run["arm"] for run in runs()] == ["whole"] * 2 + ["flat"] * 2 + ["steep"] * 2 + ["near"] * 2
    assert runs()[:6] == runs("whole")
    assert all(file.stat().st_mtime_ns == when for file, when in scored.items())
    assert len({*Path("results/arms").rglob("results.json")}) == len(scored) + 2 == 8
    assert "Scored once all runs had ended; test split looked at 8 times by then, by 8 checkpoints." in table_of("arms")


def test_numbers_on_the_test_split_are_those_of_evaluate_and_the_table_says_how_often_it_was_looked_at(
    studied_once, project, spaceclip
):
    spaceclip("evaluate", "--checkpoint", "results/whole/flat/seed2", "--features", "features/tiny", "--out", "alone")
    found = json.loads((project / "results/whole/study.json").read_text())
    whole, flat, _ = found["arms"]
    assert flat["runs"][1]["test"] == read_results(project / "alone").rows[0].metrics
    values, firsts = ([run["test"]["rmse"] for run in arm["runs"]] for arm in (flat, whole))
    assert flat["test"]["rmse"] == spread(values)
    apart = [value - first for value, first in zip(values, firsts, strict=True)]
    assert flat["test_differences"]["rmse"] == spread(apart, sum(one * statistics.fmean(apart) > 0 for one in apart))
    assert spaceclip("show", "results/whole").output == studied_once[1].partition("results/whole: ")[0]
    _, below = (project / "results/whole/study.md").read_text().split("\n## Test split\n")
    assert "configs/tiny.yaml, controlled protocol: no crop, 0.001 to 10 m" in below
    assert "test images, seeds 1, 2; encoder random:" in below
    assert "Scored once all runs had ended; test split looked at 6 times by then, by 6 checkpoints." in below
    assert f"| {statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f} |" in below
    for warning in read_results(project / "alone").rows[0].warnings:
        if not warning.startswith("no better than"):
            assert re.search(rf"^- On the test split, .*: {re.escape(warning)}$", below, re.MULTILINE)
    assert [run["test_rmse"] for run in runs("whole") if run["arm"] == "flat"] == [str(value) for value in values]
    shown = json.loads((project / "results/whole/metrics.json").read_text())
    assert shown["test_abs_rel"]["flat"] == flat["test"]["abs_rel"]["mean"]
    assert read_results(project / "alone").rows[0].looks == Looks(6, 6)  # the same weights: no new look


def test_every_table_ends_with_the_best_prediction_without_an_image_metric_by_metric(project, spaceclip):
    found = json.loads((project / "results/whole/study.json").read_text())
    assert found["test"]["baselines"] == read_results(project / "results/whole/flat/seed1").rows[0].baselines
    training, val = (FeatureCache.open(f"features/tiny/{split}.json") for split in ("train", "val"))
    for name, depth in image_free_depths(training, 0.001, 10).items():
        if depth.size == 1:
            truths = [truth[(truth > 0.001) & (truth < 10)] for truth in map(val.ground_truth, range(len(val)))]
            errors = [np.mean(np.abs(depth.item() - truth) / truth) for truth in truths]
            assert found["baselines"][name]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-4)
    rows = re.findall(r"^\| best without an image +\|(.*)\|$", table_of("whole"), re.MULTILINE)
    for row, baselines in zip(rows, (found["baselines"], found["test"]["baselines"]), strict=True):
        abs_rel, rmse, delta1 = [float(cell) for cell in row.split("|")[:3]]
        assert abs_rel == pytest.approx(min(one["abs_rel"] for one in baselines.values()), abs=6e-5)
        assert rmse == pytest.approx(min(one["rmse"] for one in baselines.values()), abs=6e-5)
        assert delta1 == pytest.approx(max(one["delta1"] for one in baselines.values()), abs=6e-5)
    text = (project / "results/whole/study.tex").read_text()
    assert text.count("\nbest without an image &  & $") == 2
    shown = spaceclip("show", "results/whole").output
    cells = [row.split()[:3] for row in re.findall(r"^ best without an image +(.*)$", shown, re.MULTILINE)]
    assert cells == [[cell.strip() for cell in row.split("|")[:3]] for row in rows]


def test_runs_that_the_file_no_longer_has_are_named(study, project):
    fewer = STUDY.replace("  steep: { train.learning_rate: 0.01 }\n", "").replace("[1, 2]", "[1]")
    study(fewer, "--out", "results/whole")
    told = table_of("whole")
    left = "flat/seed2, steep/seed1, steep/seed2, whole/seed2"
    assert f"- Also in this folder, but not in the study's file and so in no table: {left}\n" in told
    assert "Of one seed: no deviation." in told
    assert "Agree" not in told


def test_captions_say_which_seeds_are_in_the_numbers(project):
    results = StudyResults.model_validate_json((project / "results/whole/study.json").read_text())
    arms = [
        arm.model_copy(update={"runs": [arm.runs[0], arm.runs[1].model_copy(update={"test": {}})]})
        for arm in results.arms
    ]
    later = results.model_copy(update={"arms": arms})
    assert "3 of 6 runs are scored, not seed 2 of all arms; test split looked at" in later.test_caption
    assert "runs are trained" not in later.caption
    arms[2].runs[0] = RunResult(seed=1, status="open")
    assert "5 of 6 runs are trained, not “steep” seed 1." in later.caption


def test_warnings_of_baselines_are_one_line_a_split_by_abs_rel_first(project):
    results = StudyResults.model_validate_json((project / "results/whole/study.json").read_text())
    assert results.on_test
    worse = {"abs_rel": 9.0, "sq_rel": 9.0}
    for split, best in (("metrics", results.image_free), ("test", results.on_test.image_free)):
        for arm in results.arms:
            for run in arm.runs:
                numbers = {name: value + (0.1 if name.startswith("delta") else -1e-3) for name, value in best.items()}
                getattr(run, split).update(numbers)
    results.arms[0].runs[0].test.update(worse)
    results.arms[1].runs[1].test.update(sq_rel=9.0)
    (note,) = [note for note in notes_of(results) if "no better" in note]
    said = "by AbsRel: “whole” seed 1; by SqRel (m): “flat” seed 2"
    assert note == f"On the test split, no better than the best prediction without an image {said}"


def test_all_runs_are_scored_on_one_read_of_the_test_split_and_only_those_that_are_not_scored_yet(
    study, project, monkeypatch
):
    files = sorted(Path("results/whole").rglob("results.json"))
    before = {file: file.read_bytes() for file in files}
    assert {read_results(file).rows[0].looks for file in files} == {Looks(6, 6)}
    kept = files.pop()
    for file in files:
        file.unlink()
    read = []
    for name in ("states", "ground_truth", "image"):
        original = getattr(FeatureCache, name)
        monkeypatch.setattr(
            FeatureCache,
            name,
            lambda self, *given, name=name, original=original: read.append((name, given)) or original(self, *given),
        )
    told = study(STUDY, "--out", "results/whole").stderr
    del read[0]  # one truth, before training: whether there is a pixel to score
    assert len(read) == len({str(one) for one in read})
    assert {name for name, _ in read} == {"states", "ground_truth"}  # nothing is drawn
    assert {file: file.read_bytes() for file in before} == before
    named = [f"{arm}, seed {seed}" for seed in (1, 2) for arm in ("whole", "flat", "steep")]
    named.remove(f"{kept.parts[2]}, seed {kept.parts[3].removeprefix('seed')}")
    assert f"scored on the test split, in one pass: {'; '.join(named)}\n" in told


def test_a_test_split_of_other_depth_is_scored_anew_by_every_run(study, project, spaceclip):
    before = read_results(project / "results/whole/flat/seed2").rows[0]
    spaceclip("extract", "--config", "configs/tiny.yaml", "--split", "test", "--set", "data.depth_scale=2000")
    study(STUDY, "--out", "results/whole")
    after = read_results(project / "results/whole/flat/seed2").rows[0]
    assert before.mean_depth
    assert after.mean_depth == pytest.approx(before.mean_depth / 2, rel=1e-3)
    _, flat, _ = json.loads((project / "results/whole/study.json").read_text())["arms"]
    assert flat["runs"][1]["test"] == after.metrics
    Path("results/whole").rename("results/moved")
    spaceclip("extract", "--config", "configs/tiny.yaml", "--split", "test")
    study(STUDY, "--out", "results/moved")
    again = read_results(project / "results/moved/flat/seed2").rows[0]
    assert again.metrics == before.metrics


def test_a_run_that_cannot_be_scored_keeps_no_other_from_it_and_is_named(study, project, monkeypatch):
    def all_but_one(runs, *given, **named):
        if any(run.match("flat/seed1") for run in runs):
            raise SpaceClipError("its depth is not finite")
        return score_checkpoints(runs, *given, **named)

    for file in Path("results/whole").rglob("results.json"):
        file.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(on_test, "score_checkpoints", all_but_one)
        told = study(STUDY, "--out", "results/whole", code=3)
    assert "flat, seed 1: cannot be scored on the test split: its depth is not finite" in told.stderr
    assert "its depth is not finite" in table_of("whole")
    assert len([*Path("results/whole").rglob("results.json")]) == 5
    study(STUDY, "--out", "results/whole")
    assert "not finite" not in table_of("whole")


def test_looks_that_cannot_be_noted_are_not_said_to_be_none(study, project):
    (store,) = (project / "features/tiny").glob("test-*.zarr")
    ledger = store.with_suffix(".looks")
    shutil.rmtree(ledger)
    ledger.write_bytes(b"")
    for file in Path("results/whole").rglob("results.json"):
        file.unlink()
    study(STUDY, "--out", "results/whole")
    assert "Scored once all runs had ended; looks at the test split are not counted (" in table_of("whole")


def test_the_test_split_is_not_scored_in_another_way_beside_the_first(study, project):
    config = project / "configs/tiny.yaml"
    config.write_text(config.read_text().replace("evaluate: { crop", "evaluate: { median_scaling: true, crop"))
    before = {file: file.read_bytes() for file in Path("results/whole").rglob("*") if file.is_file()}
    told = one_line(study(STUDY, "--out", "results/whole", fails=True))
    assert told.startswith("Error: results/whole/whole/seed1/results.json: was scored by controlled protocol: no ")
    remedy = "set evaluate in the base as it was, delete that file, or give another --out"
    assert told.endswith(f"with flip averaging, WITH median scaling; {remedy}\n")
    assert {file: file.read_bytes() for file in before} == before


def test_compare_has_a_row_for_each_arm_over_its_seeds_or_says_why_not(study, project, spaceclip):
    spaceclip("compare", "results/whole", "results/whole/study.json", "--out", "tables")
    with (project / "tables/comparison.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["flip_average"] == "True"}
    assert list(rows) == ["whole: whole", "whole: flat", "whole: steep"]
    found = json.loads((project / "results/whole/study.json").read_text())["arms"][1]["test"]["rmse"]
    flat = rows["whole: flat"]
    assert [float(flat["rmse"]), float(flat["rmse_sd"])] == [found["mean"], found["deviation"]]
    assert (flat["seeds"], flat["not_comparable"]) == ("1 2", "no published rows of this data set")
    assert "by then, by 6 checkpoints; mean ± sample standard" in (project / "tables/comparison.md").read_text()
    (project / "results/whole/flat/seed1/results.json").write_bytes(
        (project / "results/whole/flat/seed2/results.json").read_bytes()
    )
    anew = one_line(spaceclip("compare", "results/whole", fails=True))
    assert "results/whole/flat/seed1: was scored anew since the table was written; give `spaceclip study` again" in anew
    config = project / "configs/tiny.yaml"
    config.write_text(config.read_text().replace("evaluate: { crop", "evaluate: { protocols: [validation], crop"))
    study("base: configs/tiny.yaml\narms: { whole: {} }\nseeds: [1]\n", "--out", "results/chosen")
    nothing = one_line(spaceclip("compare", "results/chosen", fails=True))
    assert (
        "results/chosen: no run of this study stands beside others: There is no test split, or no protocol" in nothing
    )


def test_compare_says_which_seeds_are_not_trained_and_which_arms_not_scored_each_once(project, spaceclip):
    file = project / "results/whole/study.json"
    results = json.loads(file.read_text())
    whole, flat, steep = results["arms"]
    flat["runs"][1] = {"seed": 2, "status": "open"}
    steep.update({key: {} for key in ("metrics", "differences", "test", "test_differences")})
    steep["runs"] = [{"seed": 1, "status": "failed", "note": "no memory"}, {"seed": 2, "status": "open"}]
    file.write_text(json.dumps(results))
    spaceclip("compare", "results/whole", "--out", "tables")
    text = (project / "tables/comparison.md").read_text()
    assert "Seed 2 is not trained yet." in text
    assert "open:" not in text
    assert len(re.findall("No run of steep was scored", text)) == len(whole["runs"])  # a row plain, a row flip averaged


def test_a_study_without_a_test_split_or_a_protocol_of_it_says_so(study, project):
    config, one_arm = project / "configs/tiny.yaml", STUDY.replace("[1, 2]", "[1]")
    config.write_text(config.read_text().replace("evaluate: { crop", "evaluate: { protocols: [validation], crop"))
    lines = "\n## Test split\n\nThere is no test split, or no protocol of the base scores it.\n"
    assert "\nThere is no test split, or no protocol of the base scores it.\n" in study(one_arm).stdout
    assert lines in table_of("arms")
    (project / "features/tiny/test.json").unlink()
    study(one_arm)
    assert lines in table_of("arms")
    assert not list(Path("results/arms").rglob("results.json"))


def test_a_dry_run_says_memory_and_what_is_scored_on_the_test_split(study):
    told = study(STUDY, "--dry-run").output
    held = "weights, gradients, moments and averages of 3 decoders side by side"
    assert re.search(rf"^memory: \S+ MB for {held}; the activations", told, re.MULTILINE)
    assert "6 of 6 runs to score once all have ended, less those that fail: controlled protocol: no crop" in told
    loaded = study(STUDY.replace("whole: {}", "whole: { train.resident: memory }"), "--dry-run").output
    assert re.search(r"side by side, \S+ kB for the training features, which are loaded once; the act", loaded)
    done = study(STUDY, "--dry-run", "--out", "results/whole").output
    assert "memory" not in done
    assert "0 of 6 runs to score" in done


def test_the_table_for_papers_has_means_and_paired_differences_with_their_deviations(project):
    text = (project / "results/whole/study.tex").read_text()
    arms = {arm["name"]: arm for arm in json.loads((project / "results/whole/study.json").read_text())["arms"]}
    shown = ("abs_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")
    flat = [f"${one['mean']:.4f} \\pm {one['deviation']:.4f}$" for one in map(arms["flat"]["metrics"].get, shown)]
    assert f"flat & {arms['flat']['parameters']:,} & {' & '.join(flat)} \\\\\n" in text
    differences = map(arms["steep"]["differences"].get, shown)
    apart = [f"${one['mean']:+.4f} \\pm {one['deviation']:.4f}$" for one in differences]
    agree = arms["steep"]["differences"]["abs_rel"]["agree"]
    assert f"steep & {' & '.join(apart)} & {agree} of 2 \\\\\n" in text
    assert r"steep: train.learning\_rate=0.01; all parameters start as those of whole\par" in text
    assert text.isascii()
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {row.count("&") + 1 for row in rows} == {len(columns)}
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 6
    on_test = text.split(r"controlled protocol")[1]
    assert (
        f"${arms['flat']['test']['rmse']['mean']:.4f} \\pm {arms['flat']['test']['rmse']['deviation']:.4f}$" in on_test
    )


def test_weights_of_the_last_epoch_are_not_said_to_be_chosen(project):
    results = StudyResults.model_validate_json((project / "results/whole/study.json").read_text())
    runs = [run.model_copy(update={"chosen": "last"}) for run in results.arms[0].runs]
    last = results.model_copy(update={"arms": [results.arms[0].model_copy(update={"runs": runs})]})
    assert last.caption.endswith("Weights are the last epoch's moving average.")


def test_arms_whose_weights_are_chosen_otherwise_are_told_apart(study):
    study(STUDY.replace(FLAT, "train.keep: last"), "--out", "results/keep")
    told = " Weights are of whole and steep the best epoch's, raw or EMA, chosen on the same images, of flat the last"
    assert told in table_of("keep")


def test_arms_that_fail_or_collapse_stay_in_the_table(study):
    arms, dead = STUDY.partition("  steep")[0], "decoder.head_bias: -50"
    stop = f"  dead: {{ {dead}, train.collapse: stop }}\n"
    told = study(f"{arms}{stop}  asleep: {{ {dead} }}\nseeds: [1, 2]", code=3)
    rows = {(run["arm"], run["seed"]): run for run in runs()}
    statuses = [rows[arm, "1"]["status"] for arm in ("whole", "flat", "dead", "asleep")]
    assert statuses == ["trained", "trained", "failed", "trained"]
    assert rows["dead", "2"]["note"].startswith("collapsed in epoch 1 (0 m predicted at 100%")
    assert rows["asleep", "2"]["note"].startswith("COLLAPSED in 2 of 2 epochs, first in epoch 1 (0 m predicted")
    assert "dead, seed 1: FAILED, the others go on: collapsed in epoch 1" in told.stderr
    table = table_of("arms")
    assert re.search(r"\| dead +\| +- \|", table)
    assert "6 of 8 runs are trained, not “dead” in every seed." in table
    assert "6 of 8 runs are trained, not “dead” in every seed." in " ".join(told.stdout.split())
    dry = study(Path("arms.yaml").read_text(), "--dry-run").output
    assert re.search(r"dead .*; seed 1 (to do|at step \d+), failed before, seed 2 .*, failed before\n", dry)
    assert "2 of 8 runs to score once all have ended, less those that fail: controlled" in dry
    assert "averages of 1 decoder; the activations" in dry
    row = r"\| asleep +\| +\+\d\.\d{4} ± \d\.\d{4} \| +2 of 2 \| +\d\.\d{4} \* \| +\d\.\d{4} \* \|"
    assert re.search(row, table)
    text = Path("results/arms/study.tex").read_text()
    assert re.search(r"^dead\* & [\d,]+ & - & - & - & - & - & - \\\\$", text, re.MULTILINE)
    assert "\n* ``asleep'' in every seed: COLLAPSED in 2 of 2 epochs, first in epoch 1 (0 m predicted at 100\\%" in text


@pytest.mark.usefixtures("forked_workers")
def test_two_workers_give_the_table_of_one_process(study, project):
    study(STUDY, "--out", "results/two", "--workers", "2")
    assert weights(project, "two") == weights(project, "whole")
    assert runs("two") == runs("whole")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            FLAT,
            "decoder.flim: false",
            r"arm flat: decoder\.flim: unknown setting; did you mean film\?",
        ),
        (
            FLAT,
            "decoder: { film: false }",
            r"arm flat: decoder is a section; give its settings by their whole names: decoder\.film: false",
        ),
        (
            FLAT,
            "backbone.seed: 3",
            r"arm flat: backbone\.seed is no arm's to set; .* the base, configs/",
        ),
        (
            FLAT,
            "train.seed: 3",
            r"arm flat: train\.seed is set by the study \(from its seeds\); leave it out",
        ),
        (FLAT, "train.start.film: true", r"arm flat: train\.start\.film is set by the study \(all arms start from"),
        (
            FLAT,
            "train.batch_size: 2",
            r"arm flat: train\.batch_size is 2, that of whole 4; arms see the",
        ),
        (FLAT, "train.shuffle: blocks", r"arm flat: train\.shuffle is blocks, that of whole full; arms see the"),
        (FLAT, "train.max_depth: 5", r"arm flat: would be scored by another protocol \("),
        (FLAT, "", r"arm flat: has the same settings as whole, all that decide a number; leave one out"),
        (
            FLAT,
            "train.figures: 2",
            r"arm flat: has the same settings as whole, all that decide a number; leave one out",
        ),
        (FLAT, "data.split.val: 0.1", r"arm flat: data\.split\.val is no arm's to set; .* the base, configs/"),
        ("flat:", "a/b:", r"arms\.yaml: an arm named 'a/b' can have no folder; name it with letters"),
        (
            "flat:",
            "study.md:",
            r"arms\.yaml: an arm named 'study\.md' can have no folder; .* unlike study\.json, study\.md",
        ),
        ("[1, 2]", "[]", r"arms\.yaml: seeds: found \[\]; there are none; give one or more"),
        ("[1, 2]", "[1, -2]", r"arms\.yaml: seeds\.1: found -2; input should be greater than or equal to 0"),
        (
            "arms:\n",
            f"grid: {{ train.loss.auxiliary: [[{', '.join(['0.0123456789'] * 20)}]] }}\narms:\n",
            r"arms\.yaml: an arm named 'auxiliary=0\.0123456789-.*' can have no folder; name it with letters",
        ),
        (
            FLAT,
            "decoder.structural_layers: [7, 1, 0]",
            r"arm flat: .*lacks the hidden states \[7\], it holds .*; its encoder has 0 to 3; choose among those",
        ),
        ("arms:\n", "grid: { decoder.film: [] }\narms:\n", r"arms\.yaml: grid\.decoder\.film: found \[\]; "),
        ("arms:\n", "grid: { decoder.film: false }\narms:\n", r"arms\.yaml: grid\.decoder\.film: found False; "),
        (
            "arms:\n",
            "grid: { decoder.flim: [true] }\narms:\n",
            r"arm flim=true: decoder\.flim: unknown setting; did you mean film\?",
        ),
        (
            "arms:\n",
            "grid: { train.min_depth: [1, 1] }\narms:\n",
            r"arms\.yaml: the grid gives an arm named min_depth=1, and there is another of that name; keep one",
        ),
        (
            "arms:\n",
            "grid: { decoder.film: [false] }\narms:\n  film=false: {}\n",
            r"arms\.yaml: the grid gives an arm named film=false, and there is another of that name; keep one",
        ),
        ("flat:", "'':", r"arms\.yaml: an arm named '' can have no folder"),
        ("[1, 2]", "[18446744073709551616]", r"arms\.yaml: seeds\.0: found 1844\S+; input should be less than 18446"),
        ("flat:", "whole:", r"arms\.yaml: .*whole stands in line 4 already; keep one"),
        ("[1, 2]", "[1, 2, 1]", r"arms\.yaml: seeds: found \[1, 2, 1\]; 1 stands there twice; keep one of each"),
        ("seeds", "sedes", r"arms\.yaml: sedes: unknown setting; did you mean seeds\?"),
        ("configs/tiny.yaml", "configs/tyni.yaml", r"Error: configs/tyni\.yaml: cannot be read"),
        (FLAT, "train.flip: 0", r"arm flat: train\.flip: unknown setting; did you mean flip_probability\?"),
        (
            STUDY[STUDY.index("arms") : STUDY.index("seeds")],
            "arms: [whole, flat]\n",
            r"arms: found \['whole', 'flat'\]; expected values by name \(name: value\)",
        ),
    ],
)
def test_what_is_wrong_with_a_study_is_one_line_before_anything_is_trained(study, project, old, new, line):
    assert old in STUDY
    assert re.search(line, one_line(study(STUDY.replace(old, new, 1), fails=True)))
    assert not (project / "results/arms").exists()


def test_all_wrong_arms_are_named_at_once_and_features_that_are_not_there_with_the_whole_command(study, project):
    wrong = STUDY.replace(FLAT, "decoder.flim: false, train.epohcs: 2").replace("0.01", "fast")
    assert study(wrong, fails=True).output == (
        "Error: arms.yaml: 2 arms are wrong:\n"
        "  arm flat: 2 settings are wrong:\n"
        "    decoder.flim: unknown setting; did you mean film?\n"
        "    train.epohcs: unknown setting; did you mean epochs?\n"
        "  arm steep: train.learning_rate: found 'fast'; input should be a valid number, unable to parse string as a "
        "number\n"
    )
    incomparable = STUDY.replace(FLAT, "train.max_depth: 5").replace("learning_rate: 0.01", "batch_size: 2")
    told = study(incomparable, fails=True).output
    assert "arms.yaml: 2 arms are wrong:\n  arm flat: would be scored by another protocol" in told
    assert "\n  arm steep: train.batch_size is 2, that of whole 4" in told
    (project / "features/tiny/train.json").unlink()
    assert one_line(study(fails=True)).endswith("run `spaceclip extract --config configs/tiny.yaml` to make it\n")


def test_results_of_other_settings_in_the_folder_are_named(study, project):
    before = weights(project, "whole")
    told = one_line(study(STUDY.replace("0.01", "0.02"), "--out", "results/whole", fails=True))
    assert "results/whole/steep/seed1 holds a finished checkpoint (train.learning_rate 0.01 there, 0.02 now)" in told
    assert told.endswith("give another --out, or delete that folder\n")
    assert weights(project, "whole") == before


def test_damaged_files_of_a_run_are_named_with_what_to_do(study, project):
    run = Path("results/whole/flat/seed2")
    scores = (run / "results.json").read_bytes()
    (run / "results.json").write_bytes(scores[:100])
    assert one_line(study(STUDY, "--out", "results/whole", fails=True)).endswith(
        "delete that file and give `spaceclip study` again\n"
    )
    (run / "results.json").write_bytes(scores)
    (run / "checkpoint.safetensors").unlink()
    assert one_line(study(STUDY, "--out", "results/whole", fails=True)).endswith(
        "checkpoint.safetensors: no checkpoint is there: delete that folder\n"
    )


def test_a_study_needs_a_validation_split(study, project):
    (project / "features/tiny/val.json").unlink()
    assert "val.json" in one_line(study(fails=True))
    Pointer.absent().write(project / "features/tiny/val.json")
    assert one_line(study(fails=True)) == (
        "Error: configs/tiny.yaml: arms are compared on the validation split, and there is none; hold scenes out "
        "(data.split.val) and extract again\n"
    )


def test_a_test_split_that_cannot_be_scored_is_named_before_anything_is_trained(study, project, spaceclip):
    config, pointer = project / "configs/tiny.yaml", project / "features/tiny/test.json"
    written = config.read_text()
    config.write_text(written.replace("evaluate: { crop", "evaluate: { protocols: [paper], crop"))
    assert "the paper protocol is defined for kitti and nyu, these features are of 'folder'" in one_line(
        study(fails=True)
    )
    config.write_text(written)
    far = ("extract", "--config", "configs/tiny.yaml", "--split", "test", "--set", "data.depth_scale=50")
    kept = pointer.read_bytes()
    spaceclip(*far)
    assert "no image has a valid pixel under the controlled protocol" in one_line(study(fails=True))
    pointer.write_bytes(kept)
    pointer.write_bytes((project / "features/tiny/val.json").read_bytes())
    assert "test.json: is named for the test split and points to the val split" in one_line(study(fails=True))
    assert not (project / "results/arms").exists()


def test_a_grid_is_an_arm_for_each_combination_named_by_its_values(study):
    grid = STUDY.partition("arms:")[0] + (
        "grid:\n  decoder.film: [true, false]\n  decoder.structural_layers: [[2, 1, 0], [3, 2, 1]]\nseeds: [1]\n"
    )
    told = study(grid, "--dry-run").output
    assert re.findall(r"^(\S+) \((.*)\): [\d,]+ parameters", told, re.MULTILINE) == [
        (
            f"film={film},structural_layers={layers.replace(', ', '-')}",
            f"decoder.film={film}, decoder.structural_layers=[{layers}]",
        )
        for film in ("true", "false")
        for layers in ("2, 1, 0", "3, 2, 1")
    ]
    assert told.endswith("results/arms: 4 of 4 runs to do, 24 steps at batch 4; the time is known once a run is done\n")
    assert study("base: configs/tiny.yaml\nseeds: [1]\n", fails=True).output == (
        "Error: arms.yaml: there are no arms; give some by name (arms), or lists of values (grid)\n"
    )


def shipped(name):
    study = check_settings(StudyFile, read_yaml(ROOT / f"configs/studies/{name}.yaml"), name)
    return {arm: read_experiment(ROOT / study.base, own) for arm, own in study.all_arms.items()}


@pytest.mark.parametrize("file", sorted(STUDIES), ids=lambda file: file.stem)
def test_the_studies_of_the_project_are_of_experiments_that_have_their_layers(file):
    arms = shipped(file.stem).values()
    assert all({*arm.decoder.layers} <= {*arm.extract.layers} for arm in arms)
    assert len({(arm.decoder, arm.train) for arm in arms}) == len(arms)


def test_the_widened_arm_of_components_has_as_many_parameters_as_the_whole_one():
    channels = VISION["hidden_size"]  # of the demo's encoder
    parameters = {name: count(arm.decoder.for_features(channels)) for name, arm in shipped("components").items()}
    assert parameters["wider"] == pytest.approx(parameters["both"], rel=0.01)
    assert parameters["film"] < 0.9 * parameters["both"]
    assert not shipped("components")["wider"].decoder.structural


def test_the_demo_with_all_layers_is_the_demo_else():
    demo, deep = (read_experiment(ROOT / f"configs/{name}.yaml") for name in ("demo", "demo_layers"))
    every = demo.extract.model_copy(update={"layers": tuple(range(13))})
    assert deep == demo.model_copy(update={"features": "demo", "extract": every})

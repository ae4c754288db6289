"""What `evaluate`, `show` and `compare` do where something is in the way."""

import json
import re

import numpy as np
import pytest
from spaceclip.cache import FeatureCache
from spaceclip.evaluate import METRICS, EvaluateSettings, Results, Row, SavedMapsFacts
from spaceclip.evaluate.results import RegionMean

CONFIG = ("--config", "configs/tiny.yaml")


@pytest.fixture
def result(tmp_path):
    """Results whose model has a name that is no UTF-8."""
    protocol = EvaluateSettings().protocol("controlled", {"data": "folder", "split_by": "scene"}, 0.001, 10.0)
    regions = {"boundary_0.05": RegionMean(images=0, pixels=0, metrics=None)}
    row = Row(
        protocol=protocol, split="test", images=1, pixels=1, skipped=(), metrics=dict.fromkeys(METRICS, 0.25),
        regions=regions, scenes={}, baselines={}, variation={},
    )  # fmt: skip
    model = SavedMapsFacts(path="caf\udce9", name="caf\udce9", depth_scale=None)
    return Results(data="folder", model=model, backbone=None, rows=(row,))


def test_names_that_are_no_utf_8_are_printed(tmp_path, spaceclip, result):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(result.model_dump()))
    shown = spaceclip("show", folder).output
    assert "saved maps: caf\\udce9" in shown
    assert "caf\\udce9/results.json" in shown


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_folder_that_cannot_be_written_is_noticed_before_anything_is_read(project, spaceclip, command):
    (project / "file").write_text("")
    (project / "empty").mkdir()
    for arguments in {"evaluate": [CONFIG, ("--predictions", "empty")], "compare": [("empty",)]}[command]:
        refused = spaceclip(command, *arguments, "--out", "file/results", fails=True).output
        assert "file/results: cannot be written" in refused
        assert refused.count("\n") == 1


def test_a_finished_result_is_replaced_only_by_the_same_evaluation_or_by_force(trained, spaceclip):
    first = spaceclip("evaluate", *CONFIG).output
    assert spaceclip("evaluate", *CONFIG).output == first
    validation = (*CONFIG, "--protocol", "validation")
    refused = spaceclip("evaluate", *validation, fails=True).output
    assert refused == "Error: results/tiny holds a finished result: give another --out, or --force to replace it\n"
    assert spaceclip("show", "results/tiny").output == first
    spaceclip("evaluate", *validation, "--out", "elsewhere")
    assert "validation protocol" in spaceclip("evaluate", *validation, "--force").output


def test_looks_at_the_test_split_are_counted_and_every_table_and_page_says_how_many(trained, spaceclip):
    def said(folder):
        return " ".join(spaceclip("show", folder).output.split())

    spaceclip("evaluate", *CONFIG, "--protocol", "validation", "--out", "validation")
    assert "looked at" not in said("validation")
    spaceclip("evaluate", *CONFIG)
    spaceclip("evaluate", *CONFIG, "--out", "again")
    once = "test split looked at once by then, by 1 checkpoint"
    assert once in said("results/tiny")
    assert once in said("again")
    spaceclip("report", "results/tiny")
    assert f"<dt>Looks</dt><dd>{once}</dd>" in re.sub(
        r"\s*\n\s*", "", (trained / "results/tiny/report.html").read_text()
    )
    assert once in " ".join(re.findall(r"[\w,]+", spaceclip("cache", "info", "features/tiny/test.json").output))
    assert "looked at" not in spaceclip("cache", "info", "features/tiny/val.json").output
    maps = [trained / f"maps/{sample}.npy" for sample in FeatureCache.open("features/tiny/test.json").sample_ids]
    for file in maps:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.full((24, 32), 3, np.float32))
    saved = ("evaluate", "--predictions", "maps", "--out")
    spaceclip(*saved, "flat", "--features", "features/tiny")
    spaceclip(*saved, "again-flat", "--features", "features/tiny")
    for folder in ("flat", "again-flat"):
        assert "test split looked at 2 times by then, by 1 checkpoint and 1 set of maps" in said(folder)
    np.save(maps[-1], np.full((24, 32), 4, np.float32))
    spaceclip(*saved, "other-flat", "--features", "features/tiny")
    assert "3 times by then, by 1 checkpoint and 2 sets of maps" in said("other-flat")
    spaceclip(*saved, "files", *CONFIG)
    assert "looks at the test split are not counted (it was read from its own files, not from a store)" in said("files")
    assert once in said("results/tiny")

"""What `evaluate`, `show` and `compare` do where something is in the way."""

import json

import pytest
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

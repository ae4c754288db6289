"""The notebook of docs/, its cells run in order in one namespace."""

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

NOTEBOOK = json.loads((Path(__file__).parents[2] / "docs/spaceclip.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def shown(source, names) -> Any:
    """What a cell shows: the value of its last line, where that is an expression."""
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None


def test_the_notebook_runs_holds_no_outputs_and_leaves_no_file(trained_once, tiny, tmp_path, monkeypatch, contents):
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    shutil.copytree(trained_once / "results/tiny", tmp_path / "results/demo")
    config = Path(tiny.removeprefix("random:"))
    shutil.copytree(config.parent, config.parent.name)  # where the record finds the encoder
    before = contents(tmp_path)
    names = {}
    model, found, points, metrics = (shown("".join(cell["source"]), names) for cell in CODE)
    assert repr(model).startswith("SpaceClip: random:")
    assert found._repr_jpeg_().startswith(b"\xff\xd8")
    assert points[0] == (found.valid.sum(), 3)
    assert found.camera.fx == names["focal"]
    truth, known = names["scene"].depth, names["known"]
    assert metrics["AbsRel ↓"] == round(float(np.mean(np.abs(found.depth - truth)[known] / truth[known])), 3)
    assert contents(tmp_path) == before
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)


def test_the_notebook_is_one_of_the_format():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert all(isinstance(line, str) for cell in NOTEBOOK["cells"] for line in cell["source"])

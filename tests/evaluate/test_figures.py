import sys

import numpy as np
import pytest
from PIL import Image
from spaceclip.evaluate import PredictionRow, Results, error_figure, prediction_figure, score
from spaceclip.evaluate.figures import _panels, _thin


@pytest.fixture
def drawn(make_predictions, protocol, facts):
    """Rows, scores, baseline scores and results of two sparse images."""
    predictions = make_predictions(2, size=(60, 200), known=0.2)
    scores = score(predictions, protocol)
    baseline = score([row._replace(depth=row.depth * 0 + 5) for row in predictions], protocol)
    image = np.zeros((30, 100, 3), np.uint8)
    rows = [PredictionRow(row.sample_id, image, row.depth, row.ground_truth) for row in predictions]
    return rows, scores, baseline, Results.of(scores, baseline, **facts)


def test_figures_are_written_without_pyplot(tmp_path, drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would now fail
    rows, scores, baseline, results = drawn
    prediction_figure(rows, tmp_path / "figures" / "predictions.png", results)
    error_figure(scores, baseline, tmp_path / "figures" / "errors.png", results)
    for name in ("predictions", "errors"):
        with Image.open(tmp_path / "figures" / f"{name}.png") as image:
            assert image.width > 1000
            assert np.asarray(image.convert("L")).std() > 10


def test_a_row_is_labelled_with_the_score_of_its_image(drawn):
    rows, scores, _, results = drawn
    for row, image in zip(rows, scores.images, strict=True):
        assert _panels(row, results.protocol).label == f"{row.sample_id}    AbsRel {image.metrics['abs_rel']:.4f}"


def test_a_row_without_truth_is_drawn_and_says_so(tmp_path, drawn):
    rows, _, _, results = drawn
    blank = PredictionRow("blank", rows[0].image, rows[0].prediction, rows[0].ground_truth * 0)
    assert _panels(blank, results.protocol).label == "blank    no valid pixel"
    prediction_figure([blank], tmp_path / "blank.png", results)
    assert (tmp_path / "blank.png").stat().st_size > 0


def test_scenes_without_names_leave_their_bars_out(tmp_path, make_predictions, protocol, facts):
    scores = score([row._replace(scene=None) for row in make_predictions(2)], protocol)
    error_figure(scores, scores, tmp_path / "errors.png", Results.of(scores, scores, **facts))
    with Image.open(tmp_path / "errors.png") as image:
        assert image.width == 900


def test_blocks_show_the_mean_of_their_known_pixels():
    values = np.array([[1.0, 7, 5, 6, 9], [7, 3, 7, 7, 9], [7, 7, 2, 2, 9], [7, 7, 2, 2, 9]])
    np.testing.assert_array_equal(_thin(values, values != 7, 2), [[2, 5.5], [np.nan, 2]])

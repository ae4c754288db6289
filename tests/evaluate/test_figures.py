import io
import sys

import numpy as np
import pytest
from PIL import Image
from spaceclip.evaluate import Example, error_figure, prediction_figure
from spaceclip.evaluate.figures import _panels, _thin

CAPTION = "synthetic, controlled protocol\nmean over 2 images"


@pytest.fixture
def drawn(make_maps, scored):
    """Rows, scores and baseline scores of two sparse images."""
    maps = make_maps(2, size=(60, 200), known=0.2)
    image = np.zeros((30, 100, 3), np.uint8)
    scores = scored(maps)
    rows = [
        Example(score, image, row.depths["plain"].numpy(), row.truths[None])
        for row, score in zip(maps, scores.images, strict=True)
    ]
    return rows, scores, scored(maps, constant=5)


def test_figures_are_drawn_without_pyplot(drawn, protocol, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would now fail
    rows, scores, baseline = drawn
    for content in (prediction_figure(rows, protocol, CAPTION), error_figure(scores, baseline, CAPTION)):
        with Image.open(io.BytesIO(content)) as image:
            assert image.width > 1000
            assert np.asarray(image.convert("L")).std() > 10


def test_a_row_is_labelled_with_the_score_of_its_image(drawn, protocol):
    rows, scores, _ = drawn
    for row, image in zip(rows, scores.images, strict=True):
        assert _panels(row, protocol).label == f"{image.sample_id}    AbsRel {image.metrics['abs_rel']:.4f}"


@pytest.mark.parametrize("named", [True, False])
def test_scenes_without_names_and_saved_maps_without_a_baseline_are_drawn(make_maps, scored, named):
    scores = scored([row if named else row._replace(scene=None) for row in make_maps(2)])
    with Image.open(io.BytesIO(error_figure(scores, None, CAPTION))) as image:
        assert image.width == (1650 if named else 900)


def test_blocks_show_the_mean_of_their_known_pixels():
    values = np.array([[1.0, 7, 5, 6, 9], [7, 3, 7, 7, 9], [7, 7, 2, 2, 9], [7, 7, 2, 2, 9]])
    np.testing.assert_array_equal(_thin(values, values != 7, 2), [[2, 5.5], [np.nan, 2]])

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from spaceclip.evaluate import Example, error_figure, prediction_figure
from spaceclip.evaluate.panels import DepthScale, panels, thin

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
    scale = DepthScale.of([row.ground_truth for row in rows], "log")
    for content in (
        prediction_figure(rows, protocol, scale, "synthetic", CAPTION),
        error_figure(scores.breakdown, baseline.breakdown, "synthetic", CAPTION),
    ):
        with Image.open(io.BytesIO(content)) as image:
            assert image.width > 1000
            assert np.asarray(image.convert("L")).std() > 10


@pytest.fixture
def figures(monkeypatch):
    """All figures that were saved."""
    from matplotlib.figure import Figure

    saved, save = [], Figure.savefig

    def watched(figure, *given, **named):
        saved.append(figure)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", watched)
    return saved


def test_all_rows_share_one_scale_in_metres_that_names_the_data_set(drawn, protocol, figures):
    rows, *_ = drawn
    near = replace(rows[0], ground_truth=rows[0].ground_truth / 4)
    scale = DepthScale.of([near.ground_truth, rows[1].ground_truth], "linear")
    prediction_figure([near, rows[1]], protocol, scale, "NYU Depth V2", CAPTION)
    *parts, bars = figures[0].subfigs
    for row, part in zip((near, rows[1]), parts, strict=True):
        truth, prediction = (part.axes[at].images[0] for at in (1, 2))
        assert truth.get_clim() == prediction.get_clim() == (0, 1)
        np.testing.assert_array_equal(
            truth.get_array().filled(-1), np.nan_to_num(scale(panels(row, protocol).truth), nan=-1)
        )
        assert part._suptitle.get_text() == f"{row.score.sample_id}    AbsRel {row.score.metrics['abs_rel']:.4f}"
    depth, _ = bars.axes
    assert depth.get_xlabel() == "NYU Depth V2: depth (m)"
    at = dict(zip((float(text.get_text()) for text in depth.get_xticklabels()), depth.get_xticks(), strict=True))
    assert all(share == pytest.approx((metres - scale.low) / (scale.high - scale.low)) for metres, share in at.items())
    assert len(at) > 3


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_a_scale_spans_the_truth_of_all_images(drawn, kind):
    rows, _, _ = drawn
    truth = np.concatenate([row.ground_truth[row.ground_truth > 0] for row in rows])
    scale = DepthScale.of([row.ground_truth for row in rows], kind)
    assert (scale(truth).min(), scale(truth).max()) == pytest.approx((0, 1), abs=1e-6)
    low, middle, high = scale(np.array([3.0, 4.5, 6.75]))
    assert (high - middle) / (middle - low) == pytest.approx({"linear": 1.5, "log": 1}[kind], rel=1e-6)
    assert scale(np.array([0.0, 1e9, np.nan])) == pytest.approx([0, 1, np.nan], nan_ok=True)
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert DepthScale(1.3, 4.6, kind).ticks == [1.5, 2, 2.5, 3, 3.5, 4, 4.5]  # 2 alone would be no scale
    assert len(DepthScale(1.3, 1e30, "linear").ticks) == 1


def test_the_errors_name_the_data_set_and_metres(drawn, figures):
    _, scores, baseline = drawn
    error_figure(scores.breakdown, baseline.breakdown, "KITTI", CAPTION)
    assert figures[0].axes[0].get_xlabel() == "KITTI: true depth (m)"


@pytest.mark.parametrize("named", [True, False])
def test_scenes_without_names_and_saved_maps_without_a_baseline_are_drawn(make_maps, scored, named):
    scores = scored([row if named else row._replace(scene=None) for row in make_maps(2)])
    with Image.open(io.BytesIO(error_figure(scores.breakdown, None, "synthetic", CAPTION))) as image:
        assert image.width == (1650 if named else 900)


def test_blocks_show_the_mean_of_their_known_pixels():
    values = np.array([[1.0, 7, 5, 6, 9], [7, 3, 7, 7, 9], [7, 7, 2, 2, 9], [7, 7, 2, 2, 9]])
    np.testing.assert_array_equal(thin(values, values != 7, 2), [[2, 5.5], [np.nan, 2]])


def test_a_dense_truth_is_shown_at_its_size_and_a_sparse_one_in_blocks(make_maps, scored, protocol):
    for known, size in ((1.0, (60, 80)), (0.9, (60, 80)), (0.05, (10, 13))):
        maps = make_maps(1, known=known)
        example = Example(scored(maps).images[0], np.zeros((60, 80, 3), np.uint8), maps[0].depths["plain"].numpy(),
                          maps[0].truths[None])  # fmt: skip
        assert panels(example, protocol).truth.shape == size

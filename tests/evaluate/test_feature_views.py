"""Views of features: principal components against a singular value decomposition, and what colours keep of them."""

import io

import numpy as np
import pytest
from PIL import Image
from spaceclip.evaluate import FeatureViews, ranked_views, views_figure
from spaceclip.evaluate.probing.views import principal_components


@pytest.fixture
def tokens():
    """300 tokens of 12 channels, some of which vary together."""
    draw = np.random.default_rng(0)
    return (draw.normal(size=(300, 12)) @ draw.normal(size=(12, 12)) + 100).astype(np.float16)


class Layers:
    """What views ask of features: layers [N, P, C], images and depth."""

    def __init__(self, **layers):
        self._states = {int(name[1:]): tokens for name, tokens in layers.items()}
        self.layers = tuple(self._states)
        self.sample_ids = [f"id_{row}" for row in range(len(next(iter(self._states.values()))))]

    def states(self, rows, layers):
        return {layer: self._states[layer][list(rows)] for layer in layers}

    def image(self, row):
        return np.full((24, 24, 3), row, np.uint8)

    def ground_truth(self, row):
        return np.full((12, 16), row + 1, np.float32)


def colours(**layers):
    features = Layers(**layers)
    views = FeatureViews.of(features, range(3), features.layers)  # pyright: ignore[reportArgumentType]
    return [view.colours for view in views.layers]


def test_components_are_those_of_a_singular_value_decomposition(tokens):
    found, shares = principal_components(tokens)
    centred = tokens.astype(np.float64) - tokens.astype(np.float64).mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign([row[np.abs(row).argmax()] for row in right[:3]])
    np.testing.assert_allclose(found, (left * sizes)[:, :3] * signs, rtol=1e-8, atol=1e-8)
    assert shares == pytest.approx((sizes**2 / np.square(sizes).sum())[:3].tolist(), rel=1e-10)


def test_the_order_of_tokens_decides_neither_order_nor_sign(tokens):
    order = np.random.default_rng(1).permutation(len(tokens))
    found, shares = principal_components(tokens)
    again, same = principal_components(tokens[order])
    np.testing.assert_allclose(again, found[order], atol=1e-8)
    assert same == pytest.approx(shares)


def test_fewer_channels_than_colours_and_tokens_that_never_change_leave_grey(tokens):
    found, shares = principal_components(tokens[:, :2])
    assert sum(shares) == pytest.approx(1)
    assert not found[:, 2].any()
    (flat,) = colours(a0=np.full((3, 4, 5), 0.7, np.float16))
    assert (flat == 128).all()


def test_a_token_has_one_colour_in_all_images_of_a_layer(tokens):
    states = tokens.reshape(3, 100, 12).copy()
    states[2, ::-1] = states[0]
    (found,) = colours(a7=states)
    assert (found[2].reshape(100, 3)[::-1] == found[0].reshape(100, 3)).all()
    assert found.min() == 0
    assert found.max() == 255


def test_a_layer_that_differs_in_sign_alone_looks_like_the_one_before(tokens):
    states = tokens.reshape(3, 100, 12)
    first, second = colours(a1=states, a2=-states)
    assert np.abs(first.astype(int) - second).max() <= 1


def test_the_figure_has_a_row_for_each_image_and_a_column_for_each_layer_with_its_share(tokens, monkeypatch):
    from matplotlib.figure import Figure

    saved, save = [], Figure.savefig

    def watched(figure, *given, **named):
        saved.append(figure)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", watched)
    features = Layers(a1=tokens.reshape(3, 100, 12), a9=tokens.reshape(3, 100, 12)[::-1])
    views = FeatureViews.of(features, [2, 0], features.layers)  # pyright: ignore[reportArgumentType]
    content = views_figure(views, "of these")
    assert Image.open(io.BytesIO(content)).width > 500
    *cells, _bar = saved[0].axes
    assert [ax.get_title() for ax in cells[:4]] == [
        "image", "depth", *(f"state {view.layer}\n{sum(view.shares):.0%}" for view in views.layers)
    ]  # fmt: skip
    assert [ax.get_xlabel() for ax in cells[::4]] == ["id_2", "id_0"]
    assert (cells[3].images[0].get_array() == views.layers[1].colours[0]).all()


def test_a_result_shows_its_best_middling_and_worst_images(make_cache, make_maps, scored):
    maps = make_maps(9)
    cache = make_cache(9, seed=0)
    cache.sample_ids = [one.sample_id for one in maps]
    images = scored(maps).images
    ordered = [image.sample_id for image in sorted(images, key=lambda image: image.metrics["abs_rel"])]
    views = ranked_views(cache, images, 15)
    assert views.names == [*ordered[:2], *ordered[3:5], *ordered[7:]]
    assert [view.layer for view in views.layers] == [0, 1, 2, 3]
    assert ranked_views(cache, images, 3).names == [ordered[0], ordered[4], ordered[8]]
    rows = [cache.sample_ids.index(name) for name in views.names]
    assert [shown[0, 0, 0] for shown in views.images] == rows

"""`spaceclip evaluate --save-maps`: what it scored, as `--predictions` reads it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from spaceclip.cache import FeatureCache, SpaceClipError
from spaceclip.evaluate import DepthMaps, read_results, write_maps

CONFIG = ("--config", "configs/tiny.yaml")


def test_saved_maps_score_as_the_checkpoint_that_made_them(trained, spaceclip):
    spaceclip("evaluate", *CONFIG, "--save-maps", "maps", "--out", "scored")
    scored = {row.protocol.flip_average: row for row in read_results(Path("scored")).rows}
    ids = FeatureCache.open("features/tiny/test.json").sample_ids
    for averaged, name in ((True, "averaged"), (False, "plain")):
        assert sorted(
            file.relative_to(f"maps/{name}").with_suffix("").as_posix() for file in Path("maps", name).rglob("*.npy")
        ) == sorted(ids)
        spaceclip("evaluate", "--predictions", f"maps/{name}", *CONFIG, "--features", "features/tiny", "--out", name)
        (again,) = read_results(Path(name)).rows
        assert again.metrics == pytest.approx(scored[averaged].metrics, rel=1e-6)
        assert again.pixels == scored[averaged].pixels
    assert scored[True].metrics != scored[False].metrics


def test_what_predict_saves_is_scored_as_it_is_and_by_the_scale_that_it_says(
    trained, spaceclip, one_line, tiny, pictures
):
    common = ("predict", str(pictures / "rgb"), "--checkpoint", "results/tiny", "--backbone", tiny)
    for kind in ("npy", "png16"):
        spaceclip(*common, "--save", kind, "--out", f"maps/{kind}")
        spaceclip("evaluate", "--predictions", f"maps/{kind}", *CONFIG, "--features", "features/tiny", "--out", kind)
    floats, counts = ([row.metrics for row in read_results(Path(kind)).rows] for kind in ("npy", "png16"))
    assert counts == [pytest.approx(each, rel=2e-3, abs=2e-3) for each in floats]
    scored = ("evaluate", "--predictions", "maps/png16", *CONFIG, "--features", "features/tiny", "--out", "again")
    assert spaceclip(*scored, "--depth-scale", "1000").exit_code == 0
    told = one_line(*scored, "--depth-scale", "256", "--force")
    assert "0.depth16.png says that a metre is 1000 of its values, --depth-scale that it is 256: leave that out" in told
    for file in Path("maps/png16").rglob("*.depth16.png"):
        texts = PngInfo()
        texts.add_text("Depth-Scale", "nan")
        with Image.open(file) as picture:
            picture.save(file, pnginfo=texts)
    assert "0.depth16.png says Depth-Scale 'nan': expected a number above 0" in one_line(*scored, "--force")


def test_maps_are_not_mixed_with_those_of_another_evaluation(trained, spaceclip, one_line):
    Path("maps").mkdir()
    Path("maps/a.npy").touch()
    given = ("evaluate", *CONFIG, "--save-maps", "maps", "--out", "scored")
    assert "maps is not empty: give --save-maps a folder of its own, or --force" in one_line(*given)
    assert not Path("scored").exists()
    spaceclip(*given, "--force")
    Path("file").touch()
    assert "file: cannot be written" in one_line("evaluate", *CONFIG, "--save-maps", "file", "--out", "other")
    told = spaceclip("evaluate", "--predictions", "maps/plain", "--out", "x", "--save-maps", "y", fails=True).output
    assert "--save-maps goes with a checkpoint, not with --predictions" in told


@pytest.mark.parametrize("name", ["../b", "a/../../b", "/tmp/b"])
def test_a_name_that_leads_elsewhere_gets_no_map(tmp_path, name):
    maps = DepthMaps(0, name, None, {"plain": torch.ones(2, 2)}, {None: np.ones((2, 2), np.float32)})
    with pytest.raises(SpaceClipError, match="no map can have this name"):
        write_maps(tmp_path / "maps", maps)
    assert not list(tmp_path.rglob("*.npy"))

"""`spaceclip evaluate --save-maps`: what it scored, as `--predictions` reads it."""

from pathlib import Path

import numpy as np
import pytest
import torch
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

"""The whole road on real frames, where they are at hand: they are licensed and never part of this repository."""

import json
from pathlib import Path

import pytest
from spaceclip.cache import FeatureCache

DATA = Path(__file__).parents[2] / "data"

CONFIG = """
data: {{ kind: {kind}, root: "{root}", split: {split} }}
backbone: {{ name: "{tiny}", precision: float32 }}
extract: {{ layers: [0, 1, 2, 3], target_size: {size}, shard: 8 }}
decoder:
  hidden_size: 16
  channels: [16, 12, 8, 8]
  film_hidden: 16
  semantic_layers: [3, 2, 1, 0]
  structural_layers: [2, 1, 0]
train: {{ epochs: 1, batch_size: 8, learning_rate: 0.003, max_depth: {far}, keep: {keep} }}
evaluate: {{ protocols: {protocols}, figures: 1 }}
"""
KITTI = {"kind": "kitti", "split": "{ val: 0 }", "size": "[352, 704]", "far": 80, "keep": "last",
         "protocols": "[standard, paper, controlled]"}  # fmt: skip
NYU = {"kind": "nyu", "split": "{ val: 0.1, seed: 20260926 }", "size": "[480, 640]", "far": 10, "keep": "best",
       "protocols": "[standard, paper, controlled, validation]"}  # fmt: skip

pytestmark = pytest.mark.skipif(not (DATA / "kitti").is_dir(), reason="the real frames are not here")


@pytest.mark.parametrize("settings", [KITTI, NYU], ids=["kitti", "nyu"])
def test_real_frames_go_from_their_files_to_the_table(tmp_path, monkeypatch, tiny, spaceclip, settings):
    monkeypatch.chdir(tmp_path)
    kind = settings["kind"]
    (tmp_path / "real.yaml").write_text(CONFIG.format(root=DATA / kind, tiny=tiny, **settings))
    assert "SHA-256" in spaceclip("data", "split", "nyu", "--root", DATA / "nyu", "--out", "lists").output
    spaceclip("extract", "--config", "real.yaml")
    spaceclip("train", "--config", "real.yaml")
    spaceclip("evaluate", "--config", "real.yaml")
    numbers = json.loads((tmp_path / "results/real/metrics.json").read_bytes())
    held_out = ["validation"] if kind == "nyu" else []  # one drive to train on: none to hold out
    assert [name for name in numbers if "plain" not in name] == ["standard", "paper", "controlled", *held_out]
    images, skipped = {"kitti": (5, 1), "nyu": (26, 0)}[kind]
    assert (numbers["standard"]["images"], numbers["standard"]["skipped"]) == (images, skipped)
    assert numbers["standard"]["abs_rel"] != numbers["paper"]["abs_rel"]
    told = " ".join(spaceclip("compare", "results/real", "--out", "table").output.split())
    assert f"{images} of {'652' if kind == 'kitti' else '654'} images" in told
    assert "random encoder weights" in told
    assert {path.suffix for path in (tmp_path / "table").iterdir()} == {".md", ".tex", ".csv"}


def test_both_frame_sizes_of_kitti_keep_their_own_ground_truth(tmp_path, monkeypatch, tiny, spaceclip):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.yaml").write_text(CONFIG.format(root=DATA / "kitti", tiny=tiny, **KITTI))
    spaceclip("extract", "--config", "real.yaml", "--split", "test")
    cache = FeatureCache.open("features/real/test.json")
    assert {cache.ground_truth(row).shape for row in range(len(cache))} == {(370, 1224), (375, 1242)}
    assert [bool(cache.ground_truth(row).any()) for row in range(len(cache))] == [True] * 5 + [False]
    assert cache.about["without_depth"] == 1

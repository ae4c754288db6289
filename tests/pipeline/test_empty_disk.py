"""From an empty disk to the table: made-up KITTI on a server on loopback, and every command that a user gives."""

import csv
import io
import json
import zipfile
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
from spaceclip.cache import FeatureCache
from spaceclip.evaluate import read_results
from spaceclip.extract.fetch import plan

CONFIG = """
data: {{ kind: kitti, root: disk/kitti, split: {{ val: 0.5 }} }}
backbone: {{ name: "{tiny}", precision: float32 }}
extract: {{ layers: [0, 1, 2, 3], target_size: [352, 704], shard: 2 }}
decoder:
  hidden_size: 16
  channels: [16, 12, 8, 8]
  film_hidden: 16
  semantic_layers: [3, 2, 1, 0]
  structural_layers: [2, 1, 0]
train: {{ epochs: 1, batch_size: 2 }}
evaluate: {{ protocols: [standard, paper, controlled, validation], figures: 1 }}
"""


def zipped(root, folders):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in (file for folder in folders for file in sorted((root / folder).rglob("*.png"))):
            archive.write(file, file.relative_to(root).as_posix())
    return content.getvalue()


@pytest.fixture
def fetch(web, made_up, tmp_path):
    """Arguments that lead `data fetch kitti` to the server."""
    root = made_up.kitti(tmp_path / "theirs")
    for part in ("train", "test"):
        web.files[f"/{part}.txt"] = (root / f"kitti_eigen_{part}_files_with_gt.txt").read_bytes()
    for drive in (root / "2011_09_26").iterdir():
        name = drive.name.removesuffix("_sync")
        web.files[f"/{name}.zip"] = zipped(root, [f"2011_09_26/{drive.name}"])
    web.files["/depth.zip"] = zipped(root, ["train", "val"])
    parts = {"train_list": "/train.txt", "test_list": "/test.txt", "images": "/{drive}.zip", "depth": "/depth.zip"}
    arguments = ["data", "fetch", "kitti", "--root", "disk/kitti", "--yes"]
    for name, path in parts.items():
        arguments += ["--url", f"{name}={web.url(path)}"]
    for name in ("train_list", "test_list"):
        arguments += ["--sha256", f"{name}={sha256(web.files[parts[name]]).hexdigest()}"]
    return arguments


def test_every_command_from_an_empty_disk_to_the_table(tmp_path, monkeypatch, tiny, spaceclip, fetch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    (tmp_path / "road.yaml").write_text(CONFIG.format(tiny=tiny))
    assert "disk/kitti: all there" in spaceclip(*fetch).output
    spaceclip("data", "check", "kitti", "--root", "disk/kitti")
    for command in ("extract", "train", "evaluate"):
        spaceclip(command, "--config", "road.yaml")
    numbers = json.loads((tmp_path / "results/road/metrics.json").read_bytes())
    assert [name for name in numbers if "plain" not in name] == ["standard", "paper", "controlled", "validation"]
    counts = {name: (found["images"], found["skipped"]) for name, found in numbers.items()}
    assert (counts["standard"], counts["controlled"], counts["validation"]) == ((1, 1), (1, 1), (2, 0))
    test = FeatureCache.open("features/road/test.json")
    (name,) = (name for row, name in enumerate(test.sample_ids) if test.ground_truth(row).any())
    (tmp_path / "maps" / name).parent.mkdir(parents=True)
    np.save(tmp_path / "maps" / f"{name}.npy", np.linspace(5, 60, 40, dtype=np.float32).reshape(5, 8))
    maps = ("evaluate", "--predictions", "maps", "--protocol", "paper", "--protocol", "standard")
    spaceclip(*maps, "--config", "road.yaml", "--out", "by_files")
    spaceclip(*maps, "--features", "features/road", "--out", "by_store")
    by_files, by_store = (read_results(tmp_path / folder).rows for folder in ("by_files", "by_store"))
    assert by_files[0].looks != by_store[0].looks  # those at files are not counted
    of_the_store = {"looks": None, "features_sha256": None}
    scores = [[row.model_copy(update=of_the_store) for row in rows] for rows in (by_files, by_store)]
    assert scores[0] == scores[1]
    assert [row.protocol.size for row in by_files] == [(352, 704), None]
    spaceclip("compare", "results/road", "--out", "table")
    with (tmp_path / "table/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["protocol"] for row in rows if "road" in row["method"]} == {
        "standard",
        "paper",
        "controlled",
        "validation",
    }
    assert len([row for row in rows if row["method"] == "NeWCRFs"]) == 1

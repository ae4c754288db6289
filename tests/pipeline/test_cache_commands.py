import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from spaceclip.cache import FeatureCache, Pointer, SpaceClipError

CONFIG = ("--config", "configs/tiny.yaml")
EXTRACT = ("extract", *CONFIG, "--split", "train")
POINTER = "features/tiny/train.json"

DAMAGED = {
    "layers/2/c/1/0/0/0": 6,
    "pooled/c/0/0/0": 8,
    "image/c/1/0/0/0": 6,
    "depth/c/0/0/0": 8,
    "ledger/000001.json": 6,
    "layers/1/zarr.json": 0,
    "layers/zarr.json": 0,
    "zarr.json": 0,
    "samples.jsonl": 0,
    "../train.json": 0,
}


def _read_all(pointer: str) -> None:
    """Everything that training and scoring read."""
    cache = FeatureCache.open(pointer)
    for index, _ in enumerate(cache.sample_ids):
        for view in cache.views:
            cache.states([index], view)
            cache.pooled([index], view)
        cache.image(index)
        cache.ground_truth(index)
        cache.depth(index)


@pytest.fixture
def store(project, spaceclip) -> Path:
    spaceclip(*EXTRACT)
    path = FeatureCache.open(POINTER).path
    assert isinstance(path, Path)
    return path


def test_each_kind_of_damage_is_found_refused_repaired_and_costs_only_its_shards(store, spaceclip, contents):
    whole = contents(store.parent)
    for number, (file, cost) in enumerate(DAMAGED.items()):
        content = (store / file).read_bytes()
        cut = content[: len(content) // 2]
        flipped = cut + bytes([content[len(cut)] ^ 4]) + content[len(cut) + 1 :]
        for damaged in (cut, flipped) if number % 2 else (flipped, cut):
            (store / file).write_bytes(damaged)
            told = spaceclip("cache", "verify", store, fails=True).output
            assert str(Path(file).name if file.startswith("ledger") else file.partition("/c/")[0]) in told, file
            assert len([line for line in told.splitlines() if line.startswith("Error")]) == 1
            if file != "layers/zarr.json":  # Which nobody reads.
                with pytest.raises(SpaceClipError):
                    _read_all(POINTER)
        repaired = spaceclip("cache", "repair", store).output
        assert "spaceclip extract" in repaired or cost == 0
        assert "Error" not in repaired
        assert f"14 images ({cost} computed now)" in spaceclip(*EXTRACT).output, file
        assert contents(store.parent) == whole, file
        spaceclip("cache", "verify", POINTER, "--deep")


def test_verify_and_repair_as_json(store, spaceclip):
    found = json.loads(spaceclip("cache", "verify", POINTER, "--json").stdout)
    assert (found["shards"], found["problems"], found["deep"]) == (2, [], False)
    (store / "pooled/c/1/0/0").write_bytes(b"")
    result = spaceclip("cache", "verify", POINTER, "--json", fails=True)
    problem = {"kind": "torn", "shard": 1, "part": "pooled/plain", "file": None, "linked": False}
    assert json.loads(result.stdout)["problems"] == [problem]
    assert "1 problem, 1 of 2 shards concerned; run `spaceclip cache repair" in result.stderr
    result = spaceclip("cache", "repair", POINTER, "--json")
    told = json.loads(result.stdout)
    assert (told["removed"], told["pending"], told["problems"]) == ([1], [1], [problem])
    assert result.stderr.endswith("run the same `spaceclip extract` that made it: it writes anew only 1 of 2 shards\n")


def test_damage_that_a_grown_store_shares_is_said_to_be_shared(store, project, spaceclip):
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("layers: [0, 1, 2, 3]", "layers: [1, 2, 3]"))
    spaceclip(*EXTRACT)
    linked, own = "layers/2/c/1/0/0/0", "layers/0/c/1/0/0/0"
    for file in (linked, own):
        (store / file).write_bytes(b"x")  # in place, as a bad disk does
    for command in ("verify", "repair"):
        told = spaceclip("cache", command, store, fails=command == "verify").output
        assert "layers/2/plain: torn" in told
        assert f"{store}: 1 of the damaged files are hard links, which the store that it grew from" in told
    other = FeatureCache.open(POINTER).path
    told = spaceclip("cache", "verify", other, fails=True).output
    assert "layers/2/plain: torn" in told
    assert "hard links" not in told  # no more: the repair took the other name away


def test_info_of_a_folder_lists_each_split(extracted, spaceclip):
    found = json.loads(spaceclip("cache", "info", "features/tiny", "--json").stdout)
    assert {name: facts["about"]["split"] for name, facts in found.items()} == {n: n for n in ("train", "val", "test")}
    Pointer.absent().write(Path("features/tiny/val.json"))
    told = spaceclip("cache", "info", "features/tiny").output
    assert "features/tiny/train-" in told
    assert "features/tiny/test-" in told
    assert "features/tiny/val-" not in told
    Pointer.absent().write(Path("features/tiny/test.json"))
    assert "split train" in spaceclip("cache", "info", "features/tiny").output


def test_info_says_how_far_depth_reaches_and_how_many_images_differ(store, spaceclip):
    cache = FeatureCache.open(POINTER)
    depth = np.stack([cache.depth(row) for row in range(len(cache))])
    found = json.loads(spaceclip("cache", "info", POINTER, "--json").stdout)
    assert (found["distinct_images"], found["distinct_depth_maps"]) == (14, 14)
    measured = depth[depth > 0]
    assert found["depth_range"]["min"] == pytest.approx(measured.min())
    assert found["depth_range"]["max"] == pytest.approx(measured.max())
    assert found["depth_range"]["median"] == pytest.approx(np.median(measured), rel=0.2)
    told = spaceclip("cache", "info", POINTER).output
    computed = found["identity"]["computed"]
    assert computed["batch"] == 4
    assert f"device {computed['device']}, batch 4" in told
    assert "14; 14 distinct images" in told
    assert str(cache.depth_range) in told
    assert spaceclip(*EXTRACT).output.rstrip().endswith(f"; depth {cache.depth_range}")


def test_info_with_statistics_of_each_channel(store, spaceclip):
    plain = json.loads(spaceclip("cache", "info", POINTER, "--json").stdout)
    assert (plain["samples"], plain["shards"], plain["committed"]) == (14, 2, 2)
    told = json.loads(spaceclip("cache", "info", POINTER, "--stats", "--json").stdout)
    cache = FeatureCache.open(POINTER)
    rows = np.stack([cache.states(range(14), view)[2] for view in cache.views]).astype(np.float64)
    found = told["statistics"]["2"]
    np.testing.assert_allclose(found["mean"], rows.mean((0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(found["std"], rows.std((0, 1, 2)), rtol=1e-8)
    reach = np.abs(rows).max((0, 1, 2))
    assert found["extremes"] == np.argsort(-reach, kind="stable")[:5].tolist()
    table = spaceclip("cache", "info", POINTER, "--stats").output
    assert "hidden state 3, 16 channels" in table
    assert all(f"channel {channel}" in table for channel in found["extremes"])
    assert f"{np.median(found['std']):.4g}" in table


def test_gc_asks_first_and_needs_yes_where_nobody_can_answer(store, project, spaceclip):
    assert "every store is one that a pointer means" in spaceclip("cache", "gc", "features").output
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("layers: [0, 1, 2, 3]", "layers: [1, 2, 3]"))
    spaceclip(*EXTRACT)
    told = spaceclip("cache", "gc", "features", fails=True).output
    assert re.search(r"no pointer means it, \d+\.\d kB", told)
    assert "no terminal to ask at, so give --yes" in told
    listed = json.loads(spaceclip("cache", "gc", "features", "--json").stdout)["found"]
    assert [(Path(one["path"]).name, one["removed"]) for one in listed] == [(store.name, False)]
    assert b"Remove these?" in _answer("n")
    assert store.exists()
    assert b"removed 1 of 1" in _answer("y")
    assert not store.exists()
    spaceclip("cache", "verify", POINTER)


def test_gc_keeps_a_store_that_is_not_finished_unless_told_otherwise(store, project, spaceclip):
    begun = store.with_name("train-begun.zarr")
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("layers: [0, 1, 2, 3]", "layers: [1, 2, 3]"))
    spaceclip(*EXTRACT)
    FeatureCache.open(POINTER).path.rename(begun)  # type: ignore[union-attr]
    (begun / "ledger" / "000001.json").unlink()
    Pointer.to(store, store.parent / "train.json", store.stem[-12:], 14, "").write(Path(POINTER))
    told = spaceclip("cache", "gc", "features", "--yes").output
    assert re.search(
        r"train-begun.zarr: no pointer means it, \d+\.\d kB; not finished, 1 of 2 shards; kept, unless --un", told
    )
    assert "nothing to remove, every other store is one that a pointer means" in told
    (listed,) = json.loads(spaceclip("cache", "gc", "features", "--yes", "--json").stdout)["found"]
    assert (listed["path"], listed["kind"], listed["removed"]) == (f"features/tiny/{begun.name}", "unfinished", False)
    assert "removed 1 of 1" in spaceclip("cache", "gc", "features", "--unfinished", "--yes").output
    assert not begun.exists()
    assert store.exists()


def test_gc_wants_to_see_the_pointers(store, spaceclip):
    Path("pointers").mkdir()
    told = json.loads(Path(POINTER).read_text())
    Path(POINTER).rename("pointers/train.json")
    refused = spaceclip("cache", "gc", "features", "--yes", fails=True).output
    assert "features: holds stores and no pointer to any" in refused
    refused = spaceclip("cache", "gc", "features", "--pointers", "typo", fails=True).output
    assert "typo: no pointer to a store is there" in refused
    Pointer(**{**told, "store": f"../features/tiny/{store.name}"}).write(Path("pointers/train.json"))
    for pointers in ("pointers", "."):
        told = spaceclip("cache", "gc", "features", "--pointers", pointers, "--yes").output
        assert told == "features: nothing to remove, every store is one that a pointer means or may mean\n"
    assert store.exists()


def _answer(text: str) -> bytes:
    """Run `gc` at a terminal and answer its question."""
    ours, theirs = pty.openpty()
    code = "from spaceclip.pipeline.cli import main; main(['cache', 'gc', 'features'])"
    os.write(ours, text.encode() + b"\n")
    done = subprocess.run([sys.executable, "-c", code], stdin=theirs, capture_output=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    return done.stdout


def test_a_copy_in_int8_is_trained_from_and_scored(store, spaceclip):
    spaceclip("extract", *CONFIG)
    for split in ("train", "val", "test"):
        spaceclip("cache", "copy", f"features/tiny/{split}.json", "int8", "--precision", "int8")
    shutil.rmtree("features")
    spaceclip("cache", "verify", "int8/train.json", "--deep")
    spaceclip("train", *CONFIG, "--features", "int8", "--out", "run")
    spaceclip("evaluate", *CONFIG, "--features", "int8", "--checkpoint", "run")
    told = spaceclip("cache", "copy", "int8/train.json", "back", "--precision", "float16", fails=True).output
    assert "holds hidden states in int8, of which no float16 can be made" in told


def test_a_copy_is_trained_from_like_the_original(store, extracted, spaceclip, contents):
    for split in ("train", "val", "test"):
        told = spaceclip("cache", "copy", f"features/tiny/{split}.json", "other disk").output
        assert f"{'all 2 shards are' if split == 'train' else 'its shard is'} in " in told
    again = json.loads(spaceclip("cache", "copy", POINTER, "other disk", "--json").stdout)
    assert (again["shards"], again["copied"]) == (2, 0)
    assert contents(Path("other disk")) == contents(store.parent)
    shutil.rmtree("features")
    spaceclip("cache", "verify", "other disk/train.json")
    spaceclip("train", *CONFIG, "--features", "other disk", "--out", "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("repair", "absent"), "no feature store is there"),
        (("gc", "absent"), "a folder that holds stores was expected"),
        (("copy", "absent", "out"), "no feature store is there"),
        (("info", "absent", "--stats"), "no feature store is there"),
        (("copy", POINTER, "features/tiny"), "is the store itself; give another folder"),
    ],
)
def test_a_wrong_call_is_one_clear_line(store, spaceclip, arguments, message):
    told = spaceclip("cache", *arguments, fails=True).output
    assert message in told
    assert len([line for line in told.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_each_split_of_a_folder_is_looked_at(extracted, spaceclip, command):
    told = spaceclip("cache", command, "features/tiny").output
    assert told.count("as the ledger says") == 3
    assert len(json.loads(spaceclip("cache", command, "features/tiny", "--json").stdout)) == 3
    test = FeatureCache.open("features/tiny/test.json").path
    assert isinstance(test, Path)
    (test / "layers/1/c/0/0/0/0").write_bytes(b"torn")
    told = spaceclip("cache", command, "features/tiny", fails=command == "verify").output
    assert told.count("as the ledger says") == 2
    assert f"{test}: shard 0, layers/1/plain: torn" in told


def test_a_store_that_is_merely_unfinished_is_told_from_a_damaged_one(store, spaceclip):
    (store / "ledger/000001.json").unlink()
    told = spaceclip("cache", "verify", store, fails=True).output
    assert told.count("not finished, 1 of 2 shards are not there; run the same `spaceclip extract` again") == 1
    assert "missing" not in told
    assert "repair" not in told


def test_a_store_without_a_pointer_yet_is_said_with_its_shards(store, spaceclip):
    (store / "ledger/000001.json").unlink()
    Path(POINTER).unlink()
    told = spaceclip("cache", "info", "features/tiny").output
    assert (
        told == f"features/tiny/{store.name}: no pointer yet, 1 of 2 shards; run the same `spaceclip extract` again\n"
    )


def test_without_the_train_split_beside_it_an_evaluation_asks_for_the_baseline(trained, spaceclip):
    Path(POINTER).unlink()
    told = spaceclip("evaluate", *CONFIG, fails=True).output
    assert "features/tiny: holds no train.json, the baseline; name the store that" in told
    assert "--baseline" in told


def test_the_pattern_of_images_is_an_option(pictures, project, tiny, spaceclip):
    images = ("--images", pictures / "rgb", "--out", "few", "--backbone", tiny, "--layers", "0,1,2,3")
    spaceclip("extract", *images, "--image-pattern", "scene00/*.png")
    assert len(FeatureCache.open("few/all.json")) == 2

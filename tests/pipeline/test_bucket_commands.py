"""The commands on stores in a bucket, and what they say when it cannot be had."""

import json
import shutil
from pathlib import Path

import pytest
from spaceclip.cache import FeatureCache

CONFIG = ("--config", "configs/tiny.yaml")
THERE = "s3://bucket/features/x"


@pytest.fixture
def objects(s3):
    return s3.buckets["bucket"]


def untimed(objects):
    """What a bucket holds, but for the times that extraction keeps beside stores."""
    return {key: content for key, content in objects.items() if not key.endswith(".rate")}


@pytest.fixture
def images(pictures, tiny):
    """Extraction of the pictures alone, without depth."""
    return ("extract", "--images", pictures / "rgb", "--backbone", tiny, "--layers", "1,3")


def error(result):
    """The one line that a command that failed leaves."""
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def fetched(s3):
    """Objects of features that were asked for."""
    return [path for method, path, _ in s3.asked if method == "GET" and "/c/" in path]


class TestExtract:
    def test_images_go_to_a_url_with_the_bytes_of_a_folder(self, s3, objects, tmp_path, images, spaceclip, contents):
        told = spaceclip(*images, "--out", THERE).output
        assert f"{THERE}/all.json: 24 images (24 computed now) in {THERE}/all-" in told
        spaceclip(*images, "--out", tmp_path / "x")
        assert {key.removeprefix("features/x/"): content for key, content in untimed(objects).items()} == contents(
            tmp_path / "x"
        )
        assert "24 images (0 computed now)" in spaceclip(*images, "--out", THERE).output

    def test_a_dry_run_writes_nothing(self, objects, images, spaceclip):
        assert "kB (in a bucket)" in spaceclip(*images, "--out", THERE, "--dry-run").output
        assert objects == {}

    @pytest.mark.parametrize(
        ("key", "url", "told"),
        [
            ("somebody else", THERE, "403 Forbidden, InvalidAccessKeyId"),
            ("tester", "s3://nowhere/x", "there is no bucket nowhere; make it, or give another"),
            ("tester", "s3:///x", "names no bucket; expected s3://bucket/path"),
        ],
    )
    def test_a_bucket_that_cannot_be_had_is_one_line(self, s3, images, spaceclip, key, url, told):
        s3.key = key
        for more in ((), ("--dry-run",)):
            result = spaceclip(*images, "--out", url, *more, fails=True)
            assert told in error(result)
            assert result.exit_code == 1

    @pytest.mark.parametrize("given", [(), ("AWS_ACCESS_KEY_ID",), ("AWS_SECRET_ACCESS_KEY",)])
    def test_missing_credentials_are_one_line_with_their_names(self, s3, images, spaceclip, monkeypatch, given):
        for name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - set(given):
            monkeypatch.delenv(name)
        for command in ((*images, "--out", THERE), ("cache", "info", f"{THERE}/all.json")):
            assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error(spaceclip(*command, fails=True))

    def test_a_server_that_is_away_is_one_line(self, proxy, images, spaceclip):
        proxy.refusing = True
        result = spaceclip(*images, "--out", THERE, fails=True)
        assert f"127.0.0.1:{proxy.port} refuses connections" in error(result)


@pytest.fixture(scope="module")
def extracted_before():
    """What the first extraction left in the bucket and here, for the next to copy."""
    return {"objects": {}, "folder": None}


@pytest.fixture
def extracted(s3, project, spaceclip, objects, extracted_before, tmp_path_factory):
    """The experiment with its stores in the bucket and its pointers here; and all of it in a folder, for comparison."""
    if not extracted_before["folder"]:
        spaceclip("extract", *CONFIG, "--out", "local")
        told = spaceclip("extract", *CONFIG, "--store", THERE).output
        assert f"features/tiny/train.json: 14 images (14 computed now) in {THERE}/train-" in told
        folder = shutil.copytree(project, tmp_path_factory.mktemp("extracted") / "project")
        extracted_before.update(objects=dict(objects), folder=folder)
    objects.update(extracted_before["objects"])
    return shutil.copytree(extracted_before["folder"], project, dirs_exist_ok=True)


class TestTheRoad:
    def test_pointers_here_name_stores_there_of_the_same_bytes(self, extracted, objects, contents):
        assert contents(Path("features/tiny")).keys() == {"test.json", "train.json", "val.json"}
        local = contents(Path("local"))
        for name in ("train", "val", "test"):
            pointer = json.loads(Path(f"features/tiny/{name}.json").read_bytes())
            beside = json.loads(local.pop(f"{name}.json"))
            assert pointer == {**beside, "store": f"{THERE}/{beside['store']}"}
        assert {key.removeprefix("features/x/"): content for key, content in untimed(objects).items()} == local

    def test_training_and_scores_are_those_of_the_local_store(self, s3, extracted, spaceclip):
        def scored(*more):
            shutil.rmtree("results", ignore_errors=True)
            s3.asked.clear()
            spaceclip("train", *CONFIG, *more)
            spaceclip("evaluate", *CONFIG, *more)
            return [Path("results/tiny", name).read_bytes() for name in ("metrics.json", "per_image.csv")]

        local = scored("--features", "local")
        assert fetched(s3) == []
        assert scored() == local
        assert len(fetched(s3)) > 400
        assert scored("--local-copy", "near") == local
        assert len(fetched(s3)) == len(set(fetched(s3))) > 20
        assert scored("--local-copy", "near") == local
        assert fetched(s3) == []

    def test_pointers_in_the_bucket_are_found_there(self, s3, project, objects, spaceclip):
        spaceclip("extract", *CONFIG, "--out", THERE)
        for step in ("train", "evaluate"):
            spaceclip(step, *CONFIG, "--features", THERE)
        assert "controlled" in json.loads(Path("results/tiny/metrics.json").read_bytes())
        told = spaceclip("evaluate", *CONFIG, "--features", f"{THERE}/test.json", "--out", "other").output
        assert "mean over 6" in " ".join(told.split())

    def test_a_bucket_that_is_away_is_one_line(self, proxy, extracted, spaceclip):
        proxy.refusing = True
        for step in (("train", *CONFIG), ("cache", "info", "features/tiny/train.json")):
            assert f"127.0.0.1:{proxy.port} refuses connections" in error(spaceclip(*step, fails=True))

    def test_a_store_that_is_gone_is_one_line(self, extracted, objects, spaceclip):
        objects.clear()
        for step in (("train", *CONFIG), ("cache", "verify", "features/tiny/train.json")):
            told = error(spaceclip(*step, fails=True))
            assert "no feature store is there; run `spaceclip extract" in told


class TestUpkeep:
    def test_a_look_at_a_store_is_that_of_the_local_one(self, extracted, spaceclip):
        there, here = (
            json.loads(spaceclip("cache", "info", f"{place}/train.json", "--stats", "--json").output)
            for place in ("features/tiny", "local")
        )
        assert there.pop("store") == f"{THERE}/{Path(here.pop('store')).name}"
        assert there == here
        assert "14 of 14" not in (told := spaceclip("cache", "info", "features/tiny/train.json").output)
        assert "2 of 2 committed" in told

    @pytest.mark.parametrize("damage", ["flipped", "truncated", "deleted"])
    def test_damage_to_every_kind_of_object_is_found_taken_away_and_mended(
        self, s3, extracted, objects, spaceclip, damage
    ):
        whole = untimed(objects)
        store = FeatureCache.open("features/tiny/train.json")
        root = f"features/x/{store.path.name}"
        damaged = [part.key(shard) for shard, part in zip([0, 1] * 99, store.parts.values(), strict=False)]
        for key in (*damaged, "ledger/000001.json", "pooled/zarr.json", "samples.jsonl"):
            content = objects[f"{root}/{key}"]
            middle = len(content) // 2
            flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            objects[f"{root}/{key}"] = {"flipped": flipped, "truncated": content[:middle], "deleted": b""}[damage]
            if damage == "deleted":
                del objects[f"{root}/{key}"]
        pointer = "features/tiny/train.json"
        told = spaceclip("cache", "verify", pointer, fails=True)
        # Of the shard whose record is damaged nothing else is known.
        for name, part in list(store.parts.items())[::2]:
            assert f"shard 0, {name}: {KINDS[damage]}" in told.output, part
        assert f"run `spaceclip cache repair {pointer}`" in error(told)
        assert "now run the same `spaceclip extract`" in spaceclip("cache", "repair", pointer).output
        assert "train.json: 14 images (14 computed now)" in spaceclip("extract", *CONFIG, "--store", THERE).output
        assert untimed(objects) == whole
        assert "all 2 shards are as the ledger says" in spaceclip("cache", "verify", pointer, "--deep").output

    def test_one_damaged_object_costs_one_shard(self, extracted, objects, spaceclip):
        whole = untimed(objects)
        store = FeatureCache.open("features/tiny/train.json")
        key = f"features/x/{store.path.name}/{store.parts['layers/2/flipped'].key(1)}"
        objects[key] = objects[key][:-1]
        pointer = "features/tiny/train.json"
        assert "1 problem, 1 of 2 shards concerned" in error(spaceclip("cache", "verify", pointer, fails=True))
        told = spaceclip("cache", "repair", pointer).output
        assert "shard 1: taken away" in told
        assert "train.json: 14 images (6 computed now)" in spaceclip("extract", *CONFIG, "--store", THERE).output
        assert untimed(objects) == whole
        assert "all 2 shards are as the ledger says" in spaceclip("cache", "repair", pointer).output

    def test_a_pointer_here_that_is_not_the_store_s_is_noticed_and_written_anew(self, extracted, objects, spaceclip):
        file = Path("features/tiny/train.json")
        whole, before = dict(objects), file.read_bytes()
        file.write_text(json.dumps({**json.loads(before), "ledger": "of another time"}))
        told = spaceclip("cache", "verify", file, fails=True).output
        assert "pointer features/tiny/train.json: altered" in told
        told = spaceclip("cache", "repair", file).output
        assert "it writes anew only pointer features/tiny/train.json" in told
        assert "14 images (0 computed now)" in spaceclip("extract", *CONFIG, "--store", THERE).output
        assert (file.read_bytes(), objects) == (before, whole)


KINDS = {"flipped": "altered", "truncated": "torn", "deleted": "missing"}

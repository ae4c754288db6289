"""From what a user names to the store that is meant."""

import json
from pathlib import Path

import numpy as np
import pytest
from spaceclip.cache import FeatureCache, Pointer, StoreError, copy, repair, verify

GOOD = {"store": "train-1.zarr", "fingerprint": "f", "samples": 10, "ledger": "d"}


def write_pointer(store: Path, at: Path) -> None:
    cache = FeatureCache.open(store)
    Pointer.to(store, at, cache.fingerprint, len(cache), cache.digest).write(at)


@pytest.fixture
def store(make_store, tmp_path):
    """A store with its pointer, in a folder of their own."""
    (tmp_path / "features").mkdir()
    path, _ = make_store("features/train-1.zarr")
    write_pointer(path, path.parent / "train.json")
    return path


class TestWhereThePointerLeads:
    @pytest.mark.parametrize(
        ("store", "pointer", "told"),
        [
            ("features/train-1.zarr", "features/train.json", "train-1.zarr"),
            ("stores/train-1.zarr", "features/train.json", "../stores/train-1.zarr"),
        ],
    )
    def test_it_is_relative_to_the_pointer(self, tmp_path, monkeypatch, store, pointer, told):
        assert Pointer.to(tmp_path / store, tmp_path / pointer, "", 1, "").store == told
        monkeypatch.chdir(tmp_path)
        assert Pointer.to(Path(store), Path(pointer), "", 1, "").store == told
        assert Pointer.to(tmp_path / store, Path(pointer), "", 1, "").store == told

    def test_a_store_in_another_folder_is_named_by_its_short_path(self, store, tmp_path):
        at = tmp_path / "mine/train.json"
        write_pointer(store, at)
        assert str(FeatureCache.open(at).path) == str(store)

    @pytest.mark.parametrize("linked", ["features", "stores", "both"])
    def test_it_leads_there_through_links_to_deeper_disks(self, make_store, tmp_path, linked):
        for name in ("features", "stores"):
            real = tmp_path / f"mnt/of/{name}" if linked in (name, "both") else tmp_path / name
            real.mkdir(parents=True)
            if not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(real)
        path, _ = make_store("stores/train-1.zarr")
        write_pointer(path, tmp_path / "features/train.json")
        assert path.samefile(str(FeatureCache.open(tmp_path / "features").path))

    def test_a_store_beside_it_that_is_itself_a_link_stays_plain(self, store, tmp_path):
        store.rename(tmp_path / "elsewhere.zarr")
        store.symlink_to(tmp_path / "elsewhere.zarr")
        assert Pointer.to(store, store.parent / "train.json", "", 1, "").store == "train-1.zarr"


@pytest.mark.parametrize(
    "content",
    [
        {**GOOD, "store": 3},
        {**GOOD, "store": None},
        {**GOOD, "samples": "10"},
        {**GOOD, "ledger": ["d"]},
        {**GOOD, "more": ""},
        {"store": "train-1.zarr"},
        [GOOD],
        "store",
    ],
)
def test_what_is_no_pointer_is_one_line(store, content):
    (store.parent / "train.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"train\.json: not a pointer to a feature store \(.*\); give the store's"):
        FeatureCache.open(store.parent)


def test_damage_and_malice_are_one_line(store, make_spec):
    """Nesting, sizes, types, paths: whatever a pointer holds, nothing but a `StoreError` of one line comes of it."""
    draw, file = np.random.default_rng(0), store.parent / "train.json"
    good = file.read_bytes()
    hostile = [b"[" * 9000, b'{"store":' * 1000, b"9" * 9000, b" " * 20_000 + good, b"\xff\xfe" + good, b"", b"NaN"]
    hostile += [
        good.replace(b"train-1.zarr", path) for path in (b"\\u0000", b"\\ud800", b"x" * 9000, b"s3://", b"../..")
    ]
    hostile += [good.replace(b": 10", b": " + number) for number in (b"1e999", b"-1", b"1" * 4000, b"true", b"10.0")]
    for _ in range(300):
        at, end = sorted(draw.integers(0, len(good) + 1, 2))
        hostile.append(
            good[:at] + draw.bytes(int(draw.integers(0, 4))) + good[end if draw.random() < 0.3 else at + 1 :]
        )
    refused: list[str] = []
    for content in hostile:
        file.write_bytes(content)
        try:
            assert FeatureCache.open(store.parent).fingerprint == make_spec().fingerprint
        except StoreError as error:
            refused.append(str(error))
    assert len(refused) > 250
    assert not any("\n" in line for line in refused)


def test_a_huge_file_is_refused_without_being_read(store, monkeypatch):
    file = store.parent / "train.json"
    with file.open("r+b") as opened:
        opened.truncate(2**40)
    with pytest.raises(StoreError, match=r"train\.json: not a pointer to a feature store \(it is larger than 10,000"):
        FeatureCache.open(file)


@pytest.mark.parametrize("name", ["train", "val", "test", "all", "mine"])
def test_a_pointer_named_for_another_split_is_refused(store, name):
    file = (store.parent / "train.json").rename(store.parent / f"{name}.json")
    if name in ("val", "test"):
        with pytest.raises(
            StoreError, match=rf"{name}\.json: is named for the {name} split and points to the train spl"
        ):
            FeatureCache.open(file)
    else:
        assert len(FeatureCache.open(file)) == 10


def test_a_link_to_a_pointer_leads_where_the_pointer_leads(store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/train.json").symlink_to(store.parent / "train.json")
    assert store.samefile(str(FeatureCache.open(tmp_path / "elsewhere").path))
    (store.parent / "train.json").rename(tmp_path / "cached")  # as DVC does it where its cache is of links
    (store.parent / "train.json").symlink_to(tmp_path / "cached")
    assert FeatureCache.open(store.parent).path == store


class TestInsideAStore:
    """With `.` for the store, or `..` from a folder of it."""

    @pytest.fixture(params=[".", ".."])
    def name(self, request, store, monkeypatch):
        monkeypatch.chdir(store if request.param == "." else store / "ledger")
        return request.param

    def test_it_opens_by_its_full_path(self, store, name):
        assert FeatureCache.open(name).path == store

    def test_a_copy_has_the_store_s_name_and_its_pointer(self, store, name, tmp_path, contents):
        done = copy(name, tmp_path / "fast")
        assert contents(done.store) == contents(store)
        assert contents(tmp_path / "fast") == contents(store.parent)

    def test_it_is_verified_with_the_pointers_beside_it(self, store, name):
        assert verify(name).problems == []
        (store.parent / "train.json").write_bytes(b"{")
        assert [problem.file for problem in verify(name).problems] == ["../train.json"]

    def test_it_is_repaired(self, store, name):
        (store / "image/c/1/0/0/0").unlink()
        done = repair(name)
        assert (done.store, done.removed) == (store, [1])
        assert sorted(file.name for file in store.parent.iterdir()) == ["train-1.zarr", "train.json"]


def test_a_relative_path_stays_as_the_user_wrote_it(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("features", "features/train.json", "features/train-1.zarr"):
        assert FeatureCache.open(given).path == Path("features/train-1.zarr")
    monkeypatch.chdir(store.parent)
    assert FeatureCache.open(".").path == Path("train-1.zarr")

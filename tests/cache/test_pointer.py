"""From what a user names to the store that is meant."""

import json
from pathlib import Path

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

import re
from dataclasses import replace

import pytest
from spaceclip.cache import FeatureCache, SpaceClipError, StoreError, StoreSpec, compatible_stores, copy, repair
from spaceclip.cache.format.identity import fingerprint
from spaceclip.extract import ExtractSettings, extract, load_backbone, plan
from spaceclip.extract import computed as computed_module
from spaceclip.extract.computed import settle
from spaceclip.extract.towers import device_kind

SETTINGS = ExtractSettings(layers=(0, 2), batch_size=3, shard=8)
FREE = SETTINGS.model_copy(update={"batch_size": None})
CARD = "cuda sm_90"


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def begun(make_frames, backbone, tmp_path):
    """A store that lacks its last two shards."""
    frames = make_frames(20)
    extract(frames, backbone, SETTINGS, tmp_path, "train", {})
    (store,) = tmp_path.glob("*.zarr")
    for shard in (1, 2):
        next(store.glob(f"ledger/*{shard}.json")).unlink()
    return frames, store


def test_what_computed_a_store_is_in_its_identity_and_not_in_its_name(begun, backbone):
    cache = FeatureCache.open(begun[1], allow_incomplete=True)
    assert cache.identity["computed"] == {"device": device_kind(backbone.device), "batch": 3}
    assert fingerprint(cache.identity | {"computed": {}}) == cache.fingerprint == begun[1].stem.partition("-")[2]


def test_another_kind_of_device_is_refused_by_name(begun, backbone, tmp_path, contents, monkeypatch):
    frames, store = begun
    monkeypatch.setattr(computed_module, "device_kind", lambda _device: CARD)
    before, here = contents(store), device_kind(backbone.device)
    said = re.escape(f"{store} was begun on {here}, this run computes on {CARD}, whose features differ")
    for attempt in (
        lambda: plan(frames, backbone, FREE, tmp_path, "train"),
        lambda: extract(frames, backbone, FREE, tmp_path, "train", {}),
    ):
        with pytest.raises(SpaceClipError, match=said) as told:
            attempt()
        assert "\n" not in str(told.value)
        assert "give another --out" in str(told.value)
    assert contents(store) == before


def test_other_batches_are_refused_by_name_and_none_asked_for_are_those_of_the_store(begun, backbone, tmp_path):
    frames, store = begun
    other = SETTINGS.model_copy(update={"batch_size": 5})
    with pytest.raises(StoreError, match="in batches of 3 images, this run would make batches of 5: leave batch_size"):
        extract(frames, backbone, other, tmp_path, "train", {})
    assert extract(frames, backbone, FREE, tmp_path, "train", {}).computed == 12
    assert FeatureCache.open(store).identity["computed"]["batch"] == 3


def test_a_whole_store_is_used_whatever_computed_it(make_frames, backbone, tmp_path, monkeypatch):
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    monkeypatch.setattr(computed_module, "device_kind", lambda _device: CARD)
    assert extract(make_frames(20), backbone, FREE, tmp_path, "train", {}).computed == 0
    assert plan(make_frames(20), backbone, FREE, tmp_path, "train").pending_images == 0


@pytest.mark.parametrize(("kind", "new"), [(None, 0), (CARD, 20)])
def test_a_store_grows_only_from_one_of_its_kind_of_device(make_frames, backbone, tmp_path, monkeypatch, kind, new):
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    if kind:
        monkeypatch.setattr(computed_module, "device_kind", lambda _device: kind)
    fewer = FREE.model_copy(update={"layers": (2,)})
    assert extract(make_frames(20), backbone, fewer, tmp_path, "train", {}).computed == new


def test_nothing_is_chosen_where_the_store_or_the_user_says(begun, tmp_path):
    def choose():
        raise AssertionError

    here = FeatureCache.open(begun[1], allow_incomplete=True).identity["computed"]
    assert settle(begun[1], here["device"], None, choose) == here
    assert settle(tmp_path / "new.zarr", CARD, 8, choose) == {"device": CARD, "batch": 8}
    assert settle(tmp_path / "new.zarr", CARD, None, lambda: 64) == {"device": CARD, "batch": 64}


def test_copies_and_repaired_stores_carry_it_on(make_frames, backbone, tmp_path):
    extract(make_frames(20), backbone, SETTINGS, tmp_path, "train", {})
    (store,) = tmp_path.glob("*.zarr")
    found = FeatureCache.open(store).identity["computed"]
    assert found["batch"] == 3
    for copied in (copy(store, tmp_path / "same"), copy(store, tmp_path / "small", precision="int8")):
        assert FeatureCache.open(copied.store).identity["computed"] == found
    (store / "layers/0/zarr.json").write_bytes(b"{}")
    repair(store)
    assert FeatureCache.open(store).identity["computed"] == found


def test_a_store_of_another_kind_is_not_compatible_and_one_of_other_batches_is(begun):
    cache = FeatureCache.open(begun[1], allow_incomplete=True)
    spec = StoreSpec.of(cache.identity, cache.entries)
    assert spec.identity == cache.identity
    for change, count in (({"batch": 64}, 1), ({"device": CARD}, 0)):
        assert len(compatible_stores(replace(spec, computed={**spec.computed, **change}), [begun[1]])) == count

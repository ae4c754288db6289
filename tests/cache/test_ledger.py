"""The ledger: what is read of it, and what is left behind when it cannot be read."""

import threading

import pytest
from spaceclip.cache import FeatureCache, Quarantined, StoreWriter, verify
from spaceclip.cache.format.ledger import Record, read_ledger
from spaceclip.cache.places import bucket
from spaceclip.cache.places.bucket import Bucket
from spaceclip.cache.places.location import Url

FINGERPRINT = "0" * 12


@pytest.fixture
def place(s3, monkeypatch):
    """A bucket with a ledger of many records, read two at a time."""
    monkeypatch.setattr(bucket, "CONNECTIONS", 2)
    for shard in range(400):
        record = Record(FINGERPRINT, shard, shard, shard + 1, {}, {})
        s3.buckets["bucket"][f"store/ledger/{shard:06d}.json"] = record.to_json()
    return Bucket(Url("s3://bucket/store"))


def _readers() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "ThreadPool" in thread.name}


def test_a_record_that_cannot_be_fetched_ends_all_reading(s3, place, monkeypatch):
    listed = place.names("ledger")
    monkeypatch.setattr(place, "names", lambda _folder: listed)
    s3.answers = [400]
    before = _readers()
    with pytest.raises(OSError, match="the server answers 400") as caught:
        read_ledger(place, FINGERPRINT)
    # Whoever tells of the error holds it, and with it all that was under way.
    assert caught.value.__traceback__
    assert _readers() <= before
    assert len(s3.asked) < 400


def test_reading_that_is_interrupted_ends(s3, place, monkeypatch):
    def interrupt(_content):
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "from_json", interrupt)
    before = _readers()
    with pytest.raises(KeyboardInterrupt) as caught:
        read_ledger(place, FINGERPRINT)
    assert caught.value.__traceback__
    assert _readers() <= before
    assert len(s3.asked) < 400


def test_a_name_that_is_no_utf8_is_read_back(make_store, make_block):
    path, spec = make_store(shards=[0, 1])
    bad = Quarantined(9, "room/9", "/data/caf\udce9.png: is cut short")
    written = StoreWriter(path, spec, {}).write(2, make_block(spec, 2), [bad])
    cache = FeatureCache.open(path)
    assert cache.records[2].quarantined == (bad,)
    assert cache.records[2].content == written.content
    assert verify(path).problems == []

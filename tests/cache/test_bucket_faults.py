"""A bucket whose network fails: what is waited out, what is repeated, and what is said in the end."""

import threading
import time

import numpy as np
import pytest
from spaceclip.cache.places import bucket
from spaceclip.cache.places.bucket import Bucket
from spaceclip.cache.places.location import Url
from spaceclip.cache.places.place import Stored

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def place(s3, proxy):
    s3.buckets["bucket"]["store/old"] = CONTENT
    return Bucket(Url("s3://bucket/store"))


def test_a_read_that_is_cut_goes_on_where_it_was(s3, proxy, place):
    proxy.cut(1, received=2_000_000)
    assert place.read("old") == CONTENT
    assert [count < 1_100_000 for _, _, count in s3.asked] == [False, True]


def read_part(place, key, start, length):
    buffer = memoryview(bytearray(length))
    assert place.read_into(key, start, buffer) == length
    return buffer


@pytest.mark.parametrize("received", [100, 500, 1_000_000])
def test_reads_survive_several_cuts(proxy, place, received):
    for read, expected in (
        (lambda: place.read("old"), CONTENT),
        (lambda: read_part(place, "old", 10, 2_900_000), CONTENT[10:2_900_010]),
        (lambda: place.read_end("old", 2_900_000), CONTENT[-2_900_000:]),
        (lambda: place.stored("old"), Stored.of(CONTENT)),
    ):
        proxy.cut(2, received=received)
        assert read() == expected


@pytest.mark.parametrize("received", [20, 300])
def test_lists_survive_several_cuts(s3, proxy, place, received):
    s3.buckets["bucket"]["store/" + "x" * 200] = b"1"
    proxy.cut(2, received=received)
    assert place.names() == ["old", "x" * 200]
    proxy.cut(2, received=received)
    assert len(list(place.walk())) == 2


def test_a_walk_goes_on_where_its_list_was_cut(s3, proxy, place, monkeypatch):
    s3.page = 3
    monkeypatch.setattr(bucket, "_PAGE", 2)
    s3.buckets["bucket"] |= {f"store/{index:02}": b"1" for index in range(20)}
    expected = [(f"{index:02}", 1) for index in range(20)] + [("old", len(CONTENT))]
    walked = []
    for entry in place.walk():
        walked.append(entry)
        if len(walked) in (4, 5, 9, 13, 14):
            proxy.cut(1, received=300)
    assert walked == expected


def test_a_list_that_is_always_cut_fails(s3, proxy, place):
    s3.buckets["bucket"]["store/" + "x" * 200] = b"1"
    proxy.cut(100, received=300)
    for fails in (place.names, lambda: list(place.walk())):
        with pytest.raises(ConnectionResetError, match="the connection to the server was cut"):
            fails()


def test_a_write_that_is_cut_is_repeated_whole(s3, proxy, place):
    proxy.cut(2, sent=1_000_000)
    place.write("new", CONTENT)
    assert s3.buckets["bucket"]["store/new"] == CONTENT


def test_of_a_write_that_never_succeeds_nothing_is_left(s3, proxy, place):
    place.write("kept", b"the old one")
    proxy.cut(100, sent=1_000_000)
    for key in ("new", "kept"):
        with pytest.raises(OSError, match="was cut"):
            place.write(key, CONTENT)
    assert s3.buckets["bucket"].keys() == {"store/old", "store/kept"}
    assert s3.buckets["bucket"]["store/kept"] == b"the old one"


def test_a_write_whose_answer_is_lost_is_done(s3, proxy, place):
    proxy.cut(1, received=10)
    place.write("new", b"content")
    assert s3.buckets["bucket"]["store/new"] == b"content"


def test_a_server_that_is_away_for_a_while_is_waited_for(proxy, place, monkeypatch):
    proxy.refusing = True
    back = threading.Timer(0.2, setattr, (proxy, "refusing", False))
    back.start()
    assert place.read("old") == CONTENT
    back.join()
    assert place.read("old") == CONTENT


def test_a_server_that_is_overloaded_for_a_while_is_waited_for(s3, place):
    s3.answers = [503, 500, 429]
    assert place.read("old") == CONTENT


def test_a_server_that_stays_away_is_one_line(s3, proxy, monkeypatch, patience):
    patience(1)
    place = Bucket(Url("s3://bucket/store"))
    proxy.refusing = True
    for fails in (
        lambda: place.read("old"),
        lambda: place.write("new", b"1"),
        lambda: place.names("folder"),
        lambda: list(place.walk()),
        lambda: place.delete("old"),
        lambda: place.stored("old"),
        lambda: place.exists("old"),
    ):
        with pytest.raises(ConnectionRefusedError) as caught:
            fails()
        assert caught.value.strerror == f"127.0.0.1:{proxy.port} refuses connections"
        assert str(caught.value.filename).startswith("s3://bucket/store")


def test_the_patience_meant_for_users_ends_within_half_a_minute():
    earnest = bucket.RETRY
    assert 10 < earnest["max_retries"] * earnest["backoff"]["max_backoff"].total_seconds() <= 30


def test_a_slow_link_is_no_fault_as_long_as_bytes_come(proxy, place, monkeypatch):
    monkeypatch.setattr(bucket, "SILENCE_SECONDS", 0.4)
    slow = Bucket(Url("s3://bucket/store"))
    proxy.rate = 4_000_000
    began, before = time.monotonic(), proxy.connections
    slow.write("new", CONTENT)
    assert slow.read("new") == CONTENT
    assert time.monotonic() - began > 1.4
    assert proxy.connections == before + 2


def test_a_connection_that_falls_silent_is_given_up(proxy, monkeypatch, s3):
    monkeypatch.setattr(bucket, "SILENCE_SECONDS", 0.2)
    s3.buckets["bucket"]["store/old"] = CONTENT
    place = Bucket(Url("s3://bucket/store"))
    proxy.delay = 1.0
    wakes = threading.Timer(0.5, setattr, (proxy, "delay", 0.0))
    wakes.start()
    assert place.read("old") == CONTENT
    assert proxy.connections > 1
    wakes.join()

"""One writer for a store in a bucket, whoever dies and whatever the network does."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from spaceclip.cache import StoreError
from spaceclip.cache.places import lease
from spaceclip.cache.places.lease import Lease, leased
from spaceclip.cache.places.location import Url

STORE = Url("s3://bucket/stores/kitti.zarr")
LOCK = "stores/.kitti.zarr.lock"


@pytest.fixture(autouse=True)
def hurry(monkeypatch, s3, patience):
    """All times a hundredth of what they are."""
    monkeypatch.setattr(lease, "RENEW", 0.1)
    monkeypatch.setattr(lease, "PATIENCE", 0.6)
    monkeypatch.setattr(lease, "LOOK", 0.02)
    patience(2)


@pytest.fixture
def objects(s3):
    return s3.buckets["bucket"]


def left_by(objects, **changes):
    """The lock of a holder that is no more."""
    holder = {"process": 1, "host": "elsewhere", "machine": "another", "token": "t", "renewal": 3, **changes}
    objects[LOCK] = json.dumps(holder).encode()


def machine():
    return {name: value for name, value in lease._self().items() if name != "process"}


def dead_process():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_lock_lies_beside_the_store_and_names_its_holder(objects):
    with leased(STORE):
        held = json.loads(objects[LOCK])
        assert held["process"] == os.getpid()
    assert objects == {}


def test_a_second_run_is_turned_away_with_the_holder_s_name(objects, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    with leased(STORE):
        began = time.monotonic()
        with pytest.raises(StoreError, match=rf"kitti.zarr: process {os.getpid()} on .* is writing this store"):
            Lease(STORE)
        assert time.monotonic() - began < 5
    with leased(STORE):
        pass


def test_two_stores_of_a_bucket_are_held_apart(objects):
    with leased(STORE), leased(STORE.with_name("nyu.zarr")):
        assert len(objects) == 2


def test_a_holder_that_works_for_long_keeps_its_lease(objects):
    with leased(STORE) as check:
        before = json.loads(objects[LOCK])["renewal"]
        time.sleep(1.5 * lease.PATIENCE)
        check()
        assert json.loads(objects[LOCK])["renewal"] > before + 3


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_that_start_at_once_one_goes_on(objects, monkeypatch, dead):
    monkeypatch.setattr(lease, "PATIENCE", 1.5)
    if dead:
        left_by(objects)
    results, leases = [], []

    def start():
        try:
            leases.append(Lease(STORE))
            results.append("held")
        except StoreError:
            results.append("refused")

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held"] + ["refused"] * 5
    leases[0].release()


def test_a_holder_on_another_machine_that_stays_silent_is_replaced(objects):
    left_by(objects)
    began = time.monotonic()
    with leased(STORE) as check:
        assert lease.PATIENCE <= time.monotonic() - began < lease.PATIENCE + 3
        check()
    assert objects == {}


def test_a_holder_of_this_machine_that_is_dead_is_replaced_at_once(objects, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    left_by(objects, **machine(), process=dead_process())
    with leased(STORE):
        pass


def test_a_killed_process_is_replaced_at_once(objects, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    script = f"""
import time
from spaceclip.cache.places.lease import Lease
from spaceclip.cache.places.location import Url
Lease(Url("{STORE}"))
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert LOCK in objects
    with leased(STORE):
        pass


@pytest.mark.parametrize("changes", [{"machine": "pid:[another container]"}, {"host": "elsewhere"}, {"machine": None}])
def test_a_process_number_says_nothing_of_another_machine(objects, changes):
    left_by(objects, **{**machine(), "process": dead_process(), **changes})
    began = time.monotonic()
    with leased(STORE):
        assert time.monotonic() - began >= lease.PATIENCE


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b'{"process": "?"}'])
def test_a_lock_that_says_nothing_is_waited_for_and_replaced(objects, content):
    objects[LOCK] = content
    with leased(STORE):
        assert json.loads(objects[LOCK])["process"] == os.getpid()


def test_a_lock_that_is_released_while_waiting_is_taken_at_once(objects, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    left_by(objects)
    released = threading.Timer(0.1, objects.pop, (LOCK,))
    released.start()
    with leased(STORE):
        pass
    released.join()


def test_a_holder_whose_store_was_taken_over_notices_and_leaves_the_new_lock(objects):
    with leased(STORE) as check:
        left_by(objects, host="thief", process=7)
        until(lambda: not _passes(check))
        with pytest.raises(StoreError, match=r"another run has taken over this store \(process 7 on thief\)"):
            check()
    assert json.loads(objects[LOCK])["host"] == "thief"


def test_a_holder_whose_lock_was_deleted_notices(objects):
    with leased(STORE) as check:
        objects.clear()
        until(lambda: not _passes(check))
        with pytest.raises(StoreError, match="its lock was deleted"):
            check()
    assert objects == {}


def test_a_holder_that_slept_through_its_renewals_asks_before_it_writes(objects, monkeypatch):
    monkeypatch.setattr(lease, "RENEW", 60.0)
    with leased(STORE) as check:
        left_by(objects, host="thief")
        check()  # renewed a moment ago, as far as it knows
        monkeypatch.setattr(lease, "RENEW", 0.001)
        time.sleep(0.01)
        with pytest.raises(StoreError, match="on thief"):
            check()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the monotonic clock goes on here")
def test_a_holder_whose_machine_slept_asks_before_it_writes(objects, monkeypatch):
    monkeypatch.setattr(lease, "RENEW", 60.0)
    with leased(STORE) as check:
        left_by(objects, host="thief")
        check()
        read = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda clock: read(clock) + 3600 * (clock == time.CLOCK_BOOTTIME))
        with pytest.raises(StoreError, match="on thief"):
            check()


def test_a_short_loss_of_the_network_loses_no_lease(proxy, objects):
    with leased(STORE) as check:
        proxy.refusing = True
        time.sleep(2 * lease.RENEW)
        proxy.refusing = False
        before = objects[LOCK]
        until(lambda: objects[LOCK] != before)
        check()


def test_without_a_network_nothing_is_written_and_the_lock_stays(proxy, objects):
    with leased(STORE) as check:
        proxy.refusing = True
        time.sleep(2 * lease.RENEW)
        with pytest.raises(StoreError, match=r"cannot be written to \(127.0.0.1:\d+ refuses connections\)"):
            check()
    assert LOCK in objects


@pytest.mark.parametrize("received", [0, 10])
def test_an_answer_that_is_lost_loses_no_lease(proxy, objects, received):
    proxy.cut(1, received=received)
    with leased(STORE) as check:
        for _ in range(3):
            before = objects[LOCK]
            proxy.cut(1, received=received)
            until(lambda before=before: objects[LOCK] != before)
        check()
    assert objects == {}


@pytest.mark.parametrize("known", [set(), {"If-None-Match"}])
def test_a_server_without_conditional_puts_gives_no_lock(s3, objects, known):
    s3.conditions = known
    with leased(STORE) as check:
        check()
        assert objects == {}


def test_conditional_puts_can_be_switched_off(objects, monkeypatch):
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    with leased(STORE) as check:
        check()
        assert objects == {}


@pytest.mark.parametrize(
    ("url", "key", "line"),
    [
        ("s3://nowhere/kitti.zarr", "tester", r"cannot be written to \(there is no bucket nowhere"),
        ("s3://bucket/kitti.zarr", "somebody else", r"cannot be written to \(access is denied \(403 Forbidden, Inv"),
        ("s3://bucket", "tester", "s3://bucket: a store needs a name of its own; give s3://bucket/name.zarr"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_one_line(s3, url, key, line):
    s3.key = key
    with pytest.raises(StoreError, match=line) as caught:
        Lease(Url(url))
    assert "\n" not in str(caught.value)


def _passes(check) -> bool:
    try:
        check()
    except StoreError:
        return False
    return True

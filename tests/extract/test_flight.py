"""Shards in flight on workers that are made up: which hang, leave, and are lost is told here, not awaited."""

from types import SimpleNamespace

import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.extract import flight as module
from spaceclip.extract.flight import Flight


class Workers:
    """A client of made-up workers: whenever they are looked at, all end what they have, but for those that hang."""

    def __init__(self, names, hanging=(), errors=()):
        self.names, self.hanging, self.errors, self.tasks = list(names), set(hanging), list(errors), {}

    def map(self, _task, _names, shards, _given, key, workers=None, **_options):
        places = workers or self.names
        futures = [SimpleNamespace(key=name, status="pending", release=lambda: None) for name in key]
        for at, future in enumerate(futures):
            future.done = lambda future=future: future.status != "pending"
            self.tasks[future.key] = (future, places[at % len(places)])
        return futures

    def processing(self):
        for future, worker in self.tasks.values():
            if worker not in self.hanging and not future.done():
                future.error = self.errors.pop(0) if self.errors else None
                future.status = "error" if future.error else "finished"
                future.exception = lambda future=future: future.error
        return {
            name: [key for key, (future, worker) in self.tasks.items() if worker == name and not future.done()]
            for name in self.names
        }

    def leave(self, names, to):
        self.names = [name for name in self.names if name not in names]
        self.tasks = {key: (future, to if worker in names else worker) for key, (future, worker) in self.tasks.items()}


@pytest.fixture
def fly(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_NAP_SECONDS", 0.001)
    said = []

    def start(workers, overdue_seconds=0.05):
        return Flight(workers, "run", lambda *_: None, lambda _shard: None, said.append, overdue_seconds), said

    return start


def until(flight, true):
    done = []
    for _ in range(200):
        done += flight.done()
        if true(done):
            return sorted(done)
    raise AssertionError(done)


def test_shards_of_a_worker_that_hangs_are_done_by_others(fly):
    flight, said = fly(Workers("ab", hanging="a"))
    flight.begin([0, 1, 2, 3])
    assert until(flight, lambda _: not flight.open) == [0, 1, 2, 3]
    assert len(said) == 1
    assert said[0].startswith("overdue on a after")
    assert said[0].endswith("shards 0, 2; other workers do them too")


def test_tasks_that_hang_take_no_room_from_the_workers_that_do_not(fly):
    workers = Workers("abcdefghij", hanging="abcdefghij")
    flight, _ = fly(workers)
    flight.begin(range(40))
    flight.done()
    workers.leave("cdefghij", to="a")
    workers.hanging = {"a"}
    until(flight, lambda _: not flight.open)
    assert (flight.workers, flight.able) == (2, 1)


def test_with_no_worker_that_does_not_hang_it_is_said_once(fly):
    flight, said = fly(Workers("a", hanging="a"))
    flight.begin([7])
    for _ in range(20):
        flight.done()
    assert [line.endswith("shards 7; no other worker is here to do them") for line in said] == [True]
    assert flight.open == {7}


def test_workers_that_leave_are_no_failures_of_a_shard(fly):
    flight, _ = fly(Workers("a", errors=[InterruptedError("the run has ended")] * 9))
    flight.begin([0])
    assert until(flight, lambda _: not flight.open) == [0]


def test_a_shard_that_fails_four_times_is_given_up(fly):
    flight, _ = fly(Workers("a", errors=[RuntimeError("out of memory\nsomewhere")] * 4))
    flight.begin([5])
    with pytest.raises(SpaceClipError, match=r"^shard 5: failed .* 4 times, .* RuntimeError: out of memory;"):
        until(flight, lambda _: not flight.open)


def test_what_the_user_has_to_mend_is_not_tried_again(fly):
    workers = Workers("a", errors=[SpaceClipError("3.png: cannot be read")])
    flight, _ = fly(workers)
    flight.begin([5])
    with pytest.raises(SpaceClipError, match=r"^3\.png: cannot be read$"):
        until(flight, lambda _: not flight.open)
    assert len(workers.tasks) == 1

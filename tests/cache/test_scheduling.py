"""Shards in flight on workers that are made up: which hang, leave, and are lost is told here, not awaited."""

from types import SimpleNamespace

import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.cache.cluster import Flight, Kind, MachineError, TaskFailedError, WorkerUnfitError
from spaceclip.cache.cluster import scheduling as module

KIND = Kind("shard", lighter="fewer images a shard", twice=True)
BROKEN = RuntimeError("CUDA error: device-side assert triggered")
STALE = MachineError("3.png: cannot be read (Stale file handle)")
UNFIT = WorkerUnfitError("worker node7: its files of the train split are not those of the run")


class Workers:
    """A client of made-up workers: whenever they are looked at, all end what they have, but for those that hang.

    Those that fail do so at once, and so are always the idlest: what may go anywhere goes to one of them.
    """

    def __init__(self, names, hanging=(), errors=(), failing=None):
        self.names, self.hanging, self.errors, self.failing = list(names), set(hanging), list(errors), failing or {}
        self.tasks, self.had, self.given = {}, [], []
        self.scheduler = SimpleNamespace(address="tcp://head:8786")

    def map(self, _task, _names, shards, given, key, workers=None, allow_other_workers=True, priority=0):
        assert workers is None or not allow_other_workers
        self.given += given
        idlest = [name for name in self.names if name in self.failing]
        places = workers or idlest or self.names
        futures = [SimpleNamespace(key=name, status="pending", release=lambda: None) for name in key]
        for at, (future, shard) in enumerate(zip(futures, shards, strict=True)):
            worker = places[at % len(places)] if places else ""
            future.done = lambda future=future: future.status != "pending"
            self.tasks[future.key] = (future, worker)
            self.had.append((shard, worker))
            if worker in self.failing:
                self.end(future, TaskFailedError(worker, self.failing[worker]))
        return futures

    def processing(self):
        for future, worker in self.tasks.values():
            if worker in self.names and worker not in self.hanging and not future.done():
                self.end(future, self.errors.pop(0) if self.errors else None)
        return {
            name: [key for key, (future, worker) in self.tasks.items() if worker == name and not future.done()]
            for name in self.names
        }

    def who_has(self, futures):
        return {future.key: [self.tasks[future.key][1]] for future in futures}

    def end(self, future, error):
        future.status, future.exception = "error" if error else "finished", lambda: error

    def leave(self, names, to):
        self.names = [name for name in self.names if name not in names]
        self.tasks = {key: (future, to if worker in names else worker) for key, (future, worker) in self.tasks.items()}


@pytest.fixture
def fly(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_NAP_SECONDS", 0.001)
    said = []

    def start(workers, overdue_seconds=0.05):
        monkeypatch.setattr(module, "OVERDUE_SECONDS", overdue_seconds)
        return Flight(workers, "run", KIND, lambda *_: None, lambda _shard, elsewhere: elsewhere, said.append), said

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
    assert (len(flight.pool.fit), flight.able) == (2, 1)


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


@pytest.mark.parametrize("names", ["a", "ab", "abcd"])
def test_what_may_be_wrong_with_one_machine_is_tried_on_another_once(fly, names):
    workers = Workers(names, failing={"a": STALE})
    flight, said = fly(workers)
    flight.begin([5])
    if len(names) == 1:
        with pytest.raises(SpaceClipError, match=r"^3\.png: cannot be read"):
            until(flight, lambda _: not flight.open)
    else:
        assert until(flight, lambda _: not flight.open) == [5]
    assert workers.had == [(5, "a"), (5, "b")][: len(names)]
    assert workers.given == [True, False] if len(names) > 1 else [False]
    assert said == []


def test_what_is_wrong_with_two_machines_too_is_the_data_s_fault(fly):
    workers = Workers("abcd", failing=dict.fromkeys("abcd", STALE))
    flight, _ = fly(workers)
    flight.begin([5])
    with pytest.raises(SpaceClipError, match=r"^3\.png: cannot be read"):
        until(flight, lambda _: not flight.open)
    assert len({worker for _, worker in workers.had}) == len(workers.had) == 2


def test_a_broken_worker_costs_no_shard_and_is_given_no_more(fly):
    workers = Workers("abc", failing={"a": BROKEN})
    flight, said = fly(workers)
    flight.begin(range(8))
    assert until(flight, lambda _: not flight.open) == list(range(8))
    assert said == [f"a is given no more: it failed 8 times in a row, on what others then do: {BROKEN}"]
    before = len(workers.had)
    flight.begin(range(8, 12))
    assert until(flight, lambda _: not flight.open) == list(range(8, 12))
    assert {worker for _, worker in workers.had[before:]} == {"b", "c"}
    assert (len(flight.pool.fit), flight.able) == (2, 2)


def test_with_nobody_who_can_do_it_a_broken_worker_ends_the_run(fly):
    flight, said = fly(Workers("a", failing={"a": BROKEN}))
    flight.begin([5])
    with pytest.raises(SpaceClipError, match=r"^shard 5: failed .* 4 times, .* RuntimeError: CUDA error"):
        until(flight, lambda _: not flight.open)
    assert said == []


def test_a_shard_that_fails_is_tried_by_four_workers_where_there_are(fly):
    workers = Workers("abcdef", failing=dict.fromkeys("abcdef", BROKEN))
    flight, _ = fly(workers)
    flight.begin([5])
    with pytest.raises(SpaceClipError, match=r"^shard 5: failed .* 4 times"):
        until(flight, lambda _: not flight.open)
    assert len({worker for _, worker in workers.had}) == len(workers.had) == 4


def test_a_worker_that_fails_now_and_then_is_kept(fly):
    workers = Workers("ab", failing={"a": BROKEN})
    flight, said = fly(workers)
    for shard in range(0, 20, 2):
        workers.failing = {"a": BROKEN}
        flight.begin([shard])
        workers.failing = {}
        flight.begin([shard + 1], "a")
        until(flight, lambda _: not flight.open)
    assert [worker for _, worker in workers.had].count("b") == 10
    assert said == []


def test_a_worker_that_is_unfit_is_left_out_while_others_are_fit(fly):
    workers = Workers("abc", failing={"a": UNFIT})
    flight, said = fly(workers)
    flight.begin(range(8))
    assert until(flight, lambda _: not flight.open) == list(range(8))
    assert said == [f"a is given no more: {UNFIT}"]


def test_with_no_worker_that_is_fit_the_run_ends(fly):
    flight, _ = fly(Workers("abc", failing=dict.fromkeys("abc", UNFIT)))
    flight.begin(range(8))
    with pytest.raises(SpaceClipError, match=r"^worker node7: its files of the train split are not those of the run$"):
        until(flight, lambda _: not flight.open)


def test_shards_meant_for_workers_that_all_leave_are_done_by_those_that_come(fly):
    workers = Workers("ab", failing={"a": UNFIT}, hanging="b")
    flight, _ = fly(workers, overdue_seconds=60)
    flight.begin([0, 1, 2])
    until(flight, lambda _: len(flight.pool.fit) == 1)
    workers.leave("b", to=None)
    workers.names.append("c")
    assert until(flight, lambda _: not flight.open) == [0, 1, 2]
    assert [worker for _, worker in workers.had][-3:] == ["c", "c", "c"]


def test_that_no_worker_is_here_is_said_once_with_where_they_should_come(fly, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)
    workers = Workers("")
    flight, said = fly(workers)
    flight.begin([0])
    flight.done()
    assert said == []
    for _ in range(20):
        flight.done()
    assert [line.endswith("waiting for some (`dask worker tcp://head:8786`)") for line in said] == [True]

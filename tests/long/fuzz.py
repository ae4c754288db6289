"""5,000 mutated inputs: each is read, or refused in one line; no traceback, no hang, no crash, bounded memory."""

import os
import resource
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from click.testing import Result
from mutations import mutate
from spaceclip.cache import SpaceClipError
from subjects import SUBJECTS, prepare_subjects
from warm import Forked

SECONDS, BYTES = 120, 2 << 30


READ, REFUSED = "read", "refused"


def outcome(read: Callable[[], object]) -> str:
    """Whether a file was read or refused in one line; else what went wrong."""
    try:
        found = read()
    except SpaceClipError as error:
        return f"an error of {len(str(error).splitlines())} lines" if "\n" in str(error) else REFUSED
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not isinstance(found, Result) or found.exit_code == 0:
        return READ
    if not isinstance(found.exception, SystemExit):
        return f"{type(found.exception).__name__}: {found.exception}"
    lines = sum(line.startswith("Error") for line in found.output.splitlines())
    return REFUSED if lines == 1 else f"{lines} lines of error: {found.output}"


def mutated_outcome(kind: str, seed: int) -> str:
    """How a command takes one mutated file."""
    draw, subject = Random(f"{kind} {seed}"), SUBJECTS[kind]
    file = draw.choice(sorted(Path().glob(subject.pattern)))
    whole = file.read_bytes()
    file.write_bytes(mutate(whole, draw, text=subject.text or file.suffix == ".json"))
    try:
        return outcome(subject.read)
    finally:
        file.write_bytes(whole)


def run_cases(folder: str, kind: str, first: int, last: int, log: str) -> None:
    """Runs in a process that may die or hang: notes how each case ends."""
    os.chdir(folder)
    assert (found := outcome(SUBJECTS[kind].read)) == READ, found
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Path(log).open("a", buffering=1) as notes:
        for seed in range(first, last):
            found = mutated_outcome(kind, seed)
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            if grown > BYTES:
                found, before = f"{grown / 2**30:.1f} GiB of memory", before + grown // 1024
            notes.write(f"{seed} {' '.join(found.split())}\n")


def watch(folder: Path, kind: str, first: int, last: int) -> dict[int, str]:
    """Runs the cases in processes that are given up when they hang or die; returns how each ended, by seed."""
    log, ended = folder / "log", {}
    script = f"from fuzz import run_cases; run_cases({str(folder)!r}, {kind!r}, {{}}, {last}, {str(log)!r})"
    path = os.pathsep.join(map(str, sys.path))
    while first < last:
        log.write_text("")
        with Forked("-c", script.format(first), env={**os.environ, "PYTHONPATH": path}) as run:
            while run.poll() is None and time.time() - log.stat().st_mtime < SECONDS:
                time.sleep(0.05)
            status = run.poll()
            run.kill()
            said = " ".join(run.stderr.read().split())[-200:]
        lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
        ended |= {int(seed): found for seed, found in lines}
        first += len(lines)
        if first < last:
            ended[first] = f"hangs for {SECONDS} s" if status is None else f"ends with {status}: {said}"
            first += 1
    return ended


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--kind", choices=list(SUBJECTS), action="append")
    given = parser.parse_args()
    kinds = given.kind or list(SUBJECTS)
    each, failures = -(-given.cases // len(kinds)), Counter()
    print(f"{each * len(kinds):,} mutated inputs, {each} of each kind, seeds from {given.seed}", flush=True)
    with TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        prepare_subjects()
        for kind in kinds:
            began, ended = time.monotonic(), watch(Path(folder), kind, given.seed, given.seed + each)
            wrong = {seed: found for seed, found in ended.items() if found not in (READ, REFUSED)}
            failures[kind] = len(wrong)
            counts = ", ".join(f"{list(ended.values()).count(name)} {name}" for name in (READ, REFUSED))
            print(f"{kind}: {counts}, {len(wrong)} failures, {time.monotonic() - began:.0f} s", flush=True)
            for seed, found in wrong.items():
                print(f"  --kind '{kind}' --seed {seed} --cases 1: {found[:300]}", flush=True)
        os.chdir("/")
    print(f"{each * len(kinds):,} cases, {failures.total()} failures")
    return int(failures.total() > 0)


if __name__ == "__main__":
    sys.exit(main())

"""5,000 mutated inputs: each is read, or refused in one line; no traceback, no hang, no crash, bounded memory."""

import os
import resource
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from click.testing import Result
from mutations import mutate
from spaceclip.cache import SpaceClipError
from subjects import SUBJECTS, prepare_subjects
from warm import Forked

SECONDS, BYTES = 60, 2 << 30


def problem(kind: str, seed: int) -> str | None:
    """What is wrong with how a command takes one mutated file."""
    draw = Random(f"{kind} {seed}")
    subject = SUBJECTS[kind]
    file = draw.choice(sorted(Path().glob(subject.pattern)))
    whole = file.read_bytes()
    file.write_bytes(mutate(whole, draw, text=subject.text or file.suffix == ".json"))
    try:
        found = subject.read()
    except SpaceClipError as error:
        return f"an error of {len(str(error).splitlines())} lines" if "\n" in str(error) else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        file.write_bytes(whole)
    if not isinstance(found, Result):
        return None
    if found.exception and not isinstance(found.exception, SystemExit):
        return f"{type(found.exception).__name__}: {found.exception}"
    lines = sum(line.startswith("Error") for line in found.output.splitlines())
    return f"{lines} lines of error" if found.exit_code in (1, 2) and lines != 1 else None


def run_cases(folder: str, kind: str, first: int, last: int, log: str) -> None:
    """Runs in a process that may die or hang: notes each case as it begins, and what is wrong as it ends."""
    os.chdir(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Path(log).open("a", buffering=1) as notes:
        for seed in range(first, last):
            notes.write(f"begin {seed}\n")
            found = problem(kind, seed)
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            if grown > BYTES:
                found, before = f"{grown / 2**30:.1f} GiB of memory", before + grown // 1024
            notes.write(f"end {seed} {' '.join((found or '').split())}\n")


def watch(folder: Path, kind: str, first: int, last: int) -> dict[int, str]:
    """Runs the cases in processes that are given up when they hang or die; returns what is wrong, by seed."""
    log, wrong = folder / "log", {}
    script = f"from fuzz import run_cases; run_cases({str(folder)!r}, {kind!r}, {{}}, {last}, {str(log)!r})"
    path = os.pathsep.join(map(str, sys.path))
    while first < last:
        log.unlink(missing_ok=True)
        log.touch()
        with Forked("-c", script.format(first), env={**os.environ, "PYTHONPATH": path}) as run:
            while run.poll() is None and time.time() - log.stat().st_mtime < SECONDS:
                time.sleep(0.05)
            status = run.poll()
        lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
        ended = {int(line[1]): line[2] for line in lines if line[0] == "end"}
        wrong |= {seed: found for seed, found in ended.items() if found}
        first += len(ended)
        if first < last:
            wrong[first] = f"hangs for {SECONDS} s" if status is None else f"the process dies ({status})"
            first += 1
    return wrong


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
            began, wrong = time.monotonic(), watch(Path(folder), kind, given.seed, given.seed + each)
            failures[kind] = len(wrong)
            print(f"{kind}: {each} cases, {len(wrong)} failures, {time.monotonic() - began:.0f} s", flush=True)
            for seed, found in wrong.items():
                print(f"  --kind '{kind}' --seed {seed} --cases 1: {found[:300]}", flush=True)
        os.chdir("/")
    print(f"{each * len(kinds):,} cases, {failures.total()} failures")
    return int(failures.total() > 0)


if __name__ == "__main__":
    sys.exit(main())

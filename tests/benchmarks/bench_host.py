"""What the host adds to a card's work: with a stand-in that costs it nothing, against decoding and writing."""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pictures import bare_decoding, bare_decoding_and_writing, bare_writing, machine, make_pictures
from spaceclip.cache import StoreWriter, connections
from spaceclip.cache.malloc import keep_freed_memory
from spaceclip.extract import Receipt
from spaceclip.extract.engine import Engine, WeighingSink
from spaceclip.extract.engine.receipt import DECODE, Span
from spaceclip.extract.remaining import Work
from standin import SETTINGS, Passing, StandIn, object_sizes, processor_time, source_and_spec

BATCH = 32
"""That a card would be given at first."""
CORES = SETTINGS.threads_here()


def run(pictures: Path, place: Path | None, rate: float, *, trace: bool = False) -> tuple[Receipt, float, list[Span]]:
    """Extract all pictures with a stand-in; its receipt, seconds of processor time, and what each thread did when.

    Args:
        pictures: Their folder.
        place: Where the store goes, shard by shard for a moment; None to seal, hash and discard.
        rate: Images a second of the card.
        trace: Whether to keep what each thread did when.
    """
    source, spec = source_and_spec(pictures)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        sink = Passing(StoreWriter(Path(folder) / "a.zarr", spec, {})) if place else WeighingSink(CORES)
        device, work, cpu = StandIn(rate, spec, BATCH), Work.all_of(spec), time.process_time()
        with Engine(source, device, spec, sink, batch=BATCH, threads=CORES, trace=trace) as engine:
            engine.wait([engine.submit(work, shard) for shard in work.shards])
            receipt, cpu = engine.receipt(), time.process_time() - cpu
        assert receipt is not None
        return receipt, cpu, engine.meter.spans or []


def measure(pictures: Path, place: Path, rate: float, repeats: int) -> None:
    """Print one row: what was sustained, against what can be; and what the host spent, in medians."""
    count, spec, writers = sum(1 for _ in pictures.iterdir()), source_and_spec(pictures)[1], connections(place)
    sizes, rows, parts = object_sizes(spec), [], {}
    for _ in range(repeats):
        both = bare_decoding_and_writing(pictures, place, sizes, CORES, writers)
        decoding, writing = bare_decoding(pictures, CORES), bare_writing(place, count, sizes, writers)
        with processor_time() as spent:
            receipt, cpu, _ = run(pictures, place, rate)
        parts = {name: seconds / count for name, seconds in spent.items()}
        beyond = cpu / count - decoding.cpu - parts.pop("delete")
        parts = {"prepare": receipt.stages[DECODE].cpu / count - decoding.cpu, **parts}
        sustained, ceiling = count / receipt.seconds, min(rate, both.rate)
        rows.append(
            {"sustained": sustained, "ceiling": ceiling, "ratio": sustained / ceiling, "cores": cpu / receipt.seconds}
            | {"beyond": beyond, "rest": beyond - sum(parts.values()), **parts}
            | {"decoding": decoding.cpu, "writing": writing.cpu, "writing_rate": writing.rate}
        )
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    milliseconds = {name: f"{1000 * found[name]:.2f}" for name in (*parts, "rest", "decoding", "writing")}
    decoding, writing = milliseconds.pop("decoding"), milliseconds.pop("writing")
    print(
        f"{rate:6,.0f} {found['sustained']:9.1f} {found['ceiling']:8.1f} {found['ratio']:6.2f} {found['cores']:6.2f} "
        f"{1000 * found['beyond']:7.2f}  {' + '.join(map(' '.join, milliseconds.items()))}; alone: decoding {decoding} "
        f"ms, writing {writing} ms, {found['writing_rate']:.0f} images/s; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def memory(images: int) -> int:
    """Megabytes that an extraction of full-size features takes, in a process of its own; objects are discarded."""
    command = [sys.executable, __file__, "--measure-memory", str(images)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def most_memory() -> int:
    """Most megabytes that this process ever held."""
    # What getrusage says may be that of the process which started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=512, help="for each rate, 4.2 MB each; fewer at slow rates")
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--places", type=Path, nargs="+", default=[Path("/dev/shm"), Path(tempfile.gettempdir())])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--most-images", type=int, default=10_000, help="of the memory that must stay the same")
    parser.add_argument("--figure", type=Path, help="draw who waits for whom at the first rate, and nothing else")
    parser.add_argument("--measure-memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    keep_freed_memory()  # as `spaceclip extract` does
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        if given.measure_memory:
            make_pictures(pictures, given.measure_memory)
            before = most_memory()
            run(pictures, None, 10_000)
            print(most_memory() - before)
            return
        print(f"{machine()}; {CORES} threads decode, batches of {BATCH}")
        make_pictures(pictures, given.images)
        if given.figure:
            from timeline import draw

            title = f"a card of {given.rates[0]:,.0f} images/s, {CORES} cores, two views of seven states"
            draw(run(pictures, given.places[0], given.rates[0], trace=True)[2], given.figure, title)
            return
        for place in given.places:
            print(f"in {place}; images a second, cores used, milliseconds of processor time an image beyond decoding:")
            print("  card sustained  ceiling  ratio  cores  beyond")
            for rate in given.rates:
                some = Path(folder) / f"some{rate:g}-{place.name}"
                make_pictures(some, min(given.images, 64 * max(4, round(8 * rate / 64))))
                measure(some, place, rate, given.repeats)
    few, many = memory(100), memory(given.most_images)
    print(f"memory, seven states of 196 x 768, two views: {many} MB of {given.most_images:,} images, {few} MB of 100")


if __name__ == "__main__":
    main()

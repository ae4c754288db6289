"""Photograph-like pictures, what Pillow alone does with them, and what the disk alone takes."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from spaceclip.cache import host_memory
from spaceclip.cache.places.place import ALIGNMENT

NAME = "random:openai/clip-vit-base-patch16"
SIDE = 224
_FILES = 16


class Bare(NamedTuple):
    """What images take when nothing else is done with them.

    Attributes:
        rate: Images a second.
        cpu: Seconds of processor time an image, of all threads.
    """

    rate: float
    cpu: float


def make_pictures(folder: Path, count: int, distinct: int = 32, size: tuple[int, int] = (480, 640)) -> None:
    """Write JPEGs of (height, width), smooth colour and some noise, linked to fill up the number."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for index in range(count):
        file = folder / f"{index:05d}.jpg"
        if index < distinct:
            smooth = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((size[1], size[0]))
            noisy = np.asarray(smooth).astype(int) + draw.integers(-12, 13, (*size, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=92)
        else:
            file.symlink_to(folder / f"{index % distinct:05d}.jpg")


def bare_decoding(pictures: Path, threads: int) -> Bare:
    """Pillow alone: decode, bring to the encoder's size."""
    files = sorted(pictures.iterdir())
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_decode, files))
    return Bare(len(files) / (time.perf_counter() - start), (time.process_time() - cpu) / len(files))


def bare_writing(folder: Path, images: int, sizes: Sequence[int], threads: int) -> Bare:
    """Writing as many bytes in files of the same sizes, to the disk and not only to memory, and deleting each at once.

    Args:
        folder: Where.
        images: In all of the files.
        sizes: Of the files.
        threads: That write at once.
    """
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_writing(folder, sizes), range(len(sizes))))
    return Bare(images / (time.perf_counter() - start), (time.process_time() - cpu) / images)


def bare_decoding_and_writing(pictures: Path, folder: Path, sizes: Sequence[int], threads: int, writers: int) -> Bare:
    """Both at once on the same cores: what an encoder that costs the host nothing cannot surpass."""
    files = sorted(pictures.iterdir())
    write = _writing(folder, sizes)
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as decoding, ThreadPoolExecutor(writers) as writing:
        written = writing.map(write, range(len(sizes)))
        list(decoding.map(_decode, files))
        list(written)
    return Bare(len(files) / (time.perf_counter() - start), (time.process_time() - cpu) / len(files))


def _decode(file: Path) -> None:
    np.asarray(Image.open(file).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _writing(folder: Path, sizes: Sequence[int]) -> Callable[[int], None]:
    """Writes one of some files."""
    most = -(-max(sizes) // ALIGNMENT) * ALIGNMENT
    # As many bytes as a shard has: the same few would come from the processor's cache.
    content = host_memory(most * min(_FILES, len(sizes)))
    content[:] = np.frombuffer(np.random.default_rng(0).bytes(len(content)), np.uint8)

    direct = _direct(folder)

    def write(number: int) -> None:
        first, name = number % _FILES * most, folder / f"bare{number}"
        blocks = -(-sizes[number] // ALIGNMENT) * ALIGNMENT
        file = os.open(name, os.O_WRONLY | os.O_CREAT | direct)
        try:
            os.write(file, content[first : first + blocks].data)
            os.fsync(file)
        finally:
            os.close(file)
        name.unlink()

    return write


def _direct(folder: Path) -> int:
    """The flag that has whole blocks written past the page cache, the fastest way, where the file system knows it."""
    name = folder / "direct"
    try:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        try:
            os.write(file, host_memory(ALIGNMENT).data)
        finally:
            os.close(file)
    except OSError:
        return 0
    finally:
        name.unlink(missing_ok=True)
    return os.O_DIRECT


def machine() -> str:
    """The processor, its cores, what it has for bf16, and how busy it was in the last minute."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    about = {name.strip(): value for name, found, value in (line.partition(": ") for line in lines) if found}
    model = about.get("model name", "processor")
    bf16 = sorted(flag for flag in about.get("flags", "").split() if "bf16" in flag)
    return f"{os.cpu_count()} cores of {model} (bf16: {' '.join(bf16) or 'no'}), load {os.getloadavg()[0]:.1f}"

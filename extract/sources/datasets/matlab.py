"""Reading MATLAB 5 files, whose reader in SciPy can be crashed by a damaged one."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....cache import SpaceClipError

_SECONDS = 60
_MOST_BYTES = 64 * 2**20
# From the file's bytes it makes an .npz of the names that it holds and of the numeric arrays wanted.
_READ = """
import io, sys
import numpy
from scipy.io import loadmat
try:
    content = loadmat(io.BytesIO(sys.stdin.buffer.read()))
    held = [name for name in content if not name.startswith("__")]
    found = {name: numpy.asarray(content[name]) for name in sys.argv[1:] if name in content}
    found = {name: array if array.dtype.kind in "biuf" else numpy.zeros(0) for name, array in found.items()}
    buffer = io.BytesIO()
    numpy.savez(buffer, numpy.array(held, str), **found)
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
sys.stdout.buffer.write(buffer.getvalue())
"""


def read_matlab(path: Path, names: Sequence[str], sha256: str) -> dict[str, NDArray]:
    """The numeric arrays of a MATLAB 5 file, read in a process that may die unless the file is a known one.

    Args:
        path: The file.
        names: The arrays wanted.
        sha256: Of the file that is known to be sound.

    Raises:
        SpaceClipError: It cannot be read, or an array is not there.
    """
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise _unreadable(path, f"{size:,} bytes, expected a few thousand")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() == sha256:
        from scipy.io import loadmat

        return {name: np.asarray(array) for name, array in loadmat(path).items() if name in names}
    held, found = _read_apart(path, content, tuple(names))
    if missing := [name for name in names if name not in held]:
        raise SpaceClipError(
            f"{path} holds no {' and no '.join(missing)} but {', '.join(held) or 'nothing'}: expected "
            f"{' and '.join(names)}"
        )
    return found


@lru_cache(4)
def _read_apart(path: Path, content: bytes, names: tuple[str, ...]) -> tuple[list[str], dict[str, NDArray]]:
    """What a file holds, and its arrays, by another process."""
    command = [sys.executable, "-P", "-c", _READ, *names]
    try:
        child = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, f"no end after {_SECONDS} s") from error
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip().splitlines() if child.returncode > 0 else []
        raise _unreadable(path, said[-1] if said else f"its reader died of signal {-child.returncode}")
    with np.load(io.BytesIO(child.stdout)) as found:
        return [str(name) for name in found["arr_0"]], {name: found[name] for name in names if name in found}


def _unreadable(path: Path, found: str) -> SpaceClipError:
    return SpaceClipError(f"{path} cannot be read as a MATLAB file ({found}): copy it again")

"""Loading one file, in as many attempts as its connection needs."""

import json
import re
import time
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache import SpaceClipError
from ..problems import counted

if TYPE_CHECKING:
    from requests import Response

Report = Callable[[int, int], None]
Progress = Callable[[str, str], AbstractContextManager[Report]]
"""Called with label and unit; inside, the report is called with (done, total)."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each new attempt; they start anew whenever an attempt got further than any before."""

# What a block has already got when the connection is cut is lost: small blocks lose little.
_BLOCK = 1 << 16
_TIMEOUT = (15.0, 60.0)


class _CutError(Exception):
    """An attempt that ended early and is worth another."""


def download(
    url: str,
    file: Path,
    *,
    name: str,
    sha256: str | None,
    known_from: str = "",
    progress: Progress,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Load a file that is not there yet; what an interrupted call loaded is kept beside it and gone on from.

    Until it is whole and right, nothing has the file's name: it grows as `<file>.part`, with what the server says of
    its version in `<file>.part.json`.

    Args:
        url: Its address.
        file: Where it goes.
        name: Of the part, for messages and progress.
        sha256: What it must be; None if that is not known.
        known_from: Where that is known from, for the message.
        progress: Makes a progress bar.
        pause: Waits for some seconds.

    Returns:
        The file's SHA-256.

    Raises:
        SpaceClipError: The server cannot be reached, refuses, or cuts the connection again and again; or the file is
            not what it must be, and was deleted.
    """
    part = file.with_name(f"{file.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with progress(f"load {name}", "MB") as report:
        _load(url, part, name, report, pause)
    if file.suffix == ".zip" and not zipfile.is_zipfile(part):
        with part.open("rb") as opened:
            start = opened.read(16)
        _forget(part)
        raise SpaceClipError(
            f"{name}: {url} gave no zip archive (it begins with {start!r}); deleted: give the right address, "
            f"--url {name}=URL"
        )
    found = sum_of(part)
    if sha256 not in (None, found):
        _forget(part)
        raise SpaceClipError(
            f"{name}: {url} has SHA-256 {found}, expected {sha256}{known_from}; deleted: load it from elsewhere "
            f"(--url {name}=URL), or if you trust it give its sum (--sha256 {name}=HEX)"
        )
    part.replace(file)
    _forget(part)
    return found


def sum_of(file: Path) -> str:
    """SHA-256 of a file."""
    import pooch

    return pooch.file_hash(str(file))


def _load(url: str, part: Path, name: str, report: Report, pause: Callable[[float], None]) -> None:
    """Attempts until the part is whole."""
    import requests

    furthest, waited = _size(part), 0
    while True:
        try:
            return _attempt(url, part, name, report)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, _CutError) as cut:
            if _size(part) > furthest:
                furthest, waited = _size(part), 0
            if waited == len(PAUSES):
                raise SpaceClipError(
                    f"{name}: {url} could not be loaded in {counted(waited + 1, 'attempt')} "
                    f"({_reason(cut)}); {_kept(part)}, or give another address, --url {name}=URL"
                ) from cut
            pause(PAUSES[waited])
            waited += 1
        except requests.RequestException as error:
            raise SpaceClipError(f"{name}: {url}: {_reason(error)}; give another, --url {name}=URL") from error


def _attempt(url: str, part: Path, name: str, report: Report) -> None:
    """One request; it goes on behind what is there if the server still has the same version of the file."""
    import requests

    version, total = _noted(part)
    if total and _size(part) == total:
        return
    start = _size(part) if version else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": str(version)}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        status = response.status_code
        if status == 416 or (status == 206 and not _goes_on(response, start, version)):
            _forget(part)
            raise _CutError("the server has another version of the file now")
        if status in (408, 429) or status >= 500:
            raise _CutError(f"the server answered {status} {response.reason}")
        if status not in (200, 206):
            raise SpaceClipError(
                f"{name}: {url}: the server answered {status} {response.reason}; give an address that has it, "
                f"--url {name}=URL"
            )
        going_on = status == 206
        _receive(
            response, part, start if going_on else 0, _version(response) or (version if going_on else None), report
        )


def _receive(response: "Response", part: Path, start: int, version: str | None, report: Report) -> None:
    """Append what a response brings to the first `start` bytes."""
    length = response.headers.get("Content-Length")
    total = start + int(length) if length is not None else None
    with part.open("r+b" if start else "wb") as sink:
        _note(part, version, total)
        done = sink.seek(start)
        report(done // 10**6, (total or 0) // 10**6)
        for block in response.iter_content(_BLOCK):
            done += sink.write(block)
            report(done // 10**6, (total or done) // 10**6)
    if total is not None and done != total:
        raise _CutError(f"the connection was cut at {done:,} of {total:,} bytes")


def _version(response: "Response") -> str | None:
    """What the server names this version of the file by; weak tags do not tell bytes apart."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _goes_on(response: "Response", start: int, version: str | None) -> bool:
    said = response.headers.get("Content-Range", "")
    return start > 0 and said.startswith(f"bytes {start}-") and _version(response) in (version, None)


def _note_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, version: str | None, total: int | None) -> None:
    _note_file(part).write_text(json.dumps({"version": version, "size": total}))


def _noted(part: Path) -> tuple[str | None, int | None]:
    try:
        note = json.loads(_note_file(part).read_bytes())
        return note["version"], note["size"]
    except (OSError, ValueError, TypeError, KeyError):
        return None, None


def _kept(part: Path) -> str:
    """What the same command will find, and that it is to be given again."""
    again = "run the same command again"
    if not _size(part):
        return again
    version, _ = _noted(part)
    if version is None:
        return f"the server cannot resume (it sends no ETag and no Last-Modified): {again} to begin anew"
    return f"{_size(part):,} bytes are kept: {again} to go on from them if the server allows it"


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_file(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """The innermost cause in one line, without the objects' addresses that urllib3 prints."""
    text = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return re.sub(r"^.*(?:<[^>]*>|\w+Connection\([^)]*\)): ", "", text).rstrip(")'\"")

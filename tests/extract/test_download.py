import contextlib
import hashlib
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.extract.fetch.download import PAUSES, download
from webserver import refusing_address

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SUM = hashlib.sha256(CONTENT).hexdigest()
BLOCK = 1 << 16


@pytest.fixture
def web(web):
    web.files["/file.bin"] = CONTENT
    return web


@contextlib.contextmanager
def silent(_label, _unit):
    yield lambda _done, _total: None


def load(url, file, sha256=None, progress=silent):
    waits: list[float] = []
    found = download(url, file, name="stuff", sha256=sha256, progress=progress, pause=waits.append)
    assert found == hashlib.sha256(file.read_bytes()).hexdigest()
    return waits


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def fails(url, file, sha256=None):
    with pytest.raises(SpaceClipError) as caught:
        load(url, file, sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_loaded_and_nothing_else_is_left(tmp_path, web):
    assert load(web.url("/file.bin"), tmp_path / "file.bin", SUM) == []
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file.bin").stat().st_mode) == 0o666 & ~mask


def test_cut_connections_are_gone_on_from(tmp_path, web):
    web.cuts["/file.bin"] = [300_000, 300_000, 100_000]
    waits = load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert waits == [1, 1, 1]  # Each attempt got further, so none waited longer than the first.
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [wanted is None for _, wanted, _ in web.asked] == [True, False, False, False]
    assert len(CONTENT) <= web.sent("/file.bin") < len(CONTENT) + 3 * BLOCK


def test_the_next_run_goes_on_where_an_interrupted_one_stopped(tmp_path, web):
    @contextlib.contextmanager
    def interrupting(_label, _unit):
        def report(_done, _total):
            if (tmp_path / "file.bin.part").stat().st_size > 400_000:
                raise KeyboardInterrupt

        yield report

    with pytest.raises(KeyboardInterrupt):
        load(web.url("/file.bin"), tmp_path / "file.bin", SUM, interrupting)
    assert left(tmp_path) == ["file.bin.part", "file.bin.part.json"]
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:kept]
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert web.asked[-1] == ("/file.bin", f"bytes={kept}-", len(CONTENT) - kept)
    assert left(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("tags", [True, False])
def test_killed_while_the_sum_is_computed_nothing_is_loaded_again(tmp_path, web, monkeypatch, tags):
    web.tags = tags

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.file_hash", killed)
        with pytest.raises(KeyboardInterrupt):
            load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert left(tmp_path) == ["file.bin.part", "file.bin.part.json"]
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert web.sent("/file.bin") == len(CONTENT)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]


def test_at_no_moment_is_there_anything_but_the_part_and_its_note(tmp_path, web, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def looking(_label, _unit):
        yield lambda _done, _total: seen.append(left(tmp_path))

    def hashing(file):
        seen.append(left(tmp_path))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()

    monkeypatch.setattr("pooch.file_hash", hashing)
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM, looking)
    assert len(seen) > len(CONTENT) // BLOCK
    assert {tuple(names) for names in seen} == {("file.bin.part", "file.bin.part.json")}


def test_a_server_without_ranges_starts_over(tmp_path, web):
    web.ranges = False
    web.cuts["/file.bin"] = [700_000]
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert web.sent("/file.bin") == 700_000 + len(CONTENT)


def test_without_a_version_of_the_file_nothing_is_joined(tmp_path, web):
    web.tags = False
    web.cuts["/file.bin"] = [700_000]
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert [wanted for _, wanted, _ in web.asked] == [None, None]


@pytest.mark.parametrize("length", [400_000, 1_000_000, 1_200_000])
def test_a_file_changed_on_the_server_is_loaded_anew(tmp_path, web, length):
    web.cuts["/file.bin"] = [500_000] * (1 + len(PAUSES))
    web.ranges = False
    fails(web.url("/file.bin"), tmp_path / "file.bin")
    web.ranges, web.cuts = True, {}
    web.files["/file.bin"] = changed = np.random.default_rng(1).bytes(length)
    load(web.url("/file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == changed


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path, web):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    tag = f'"{hashlib.sha1(CONTENT).hexdigest()}"'
    (tmp_path / "file.bin.part.json").write_text(json.dumps({"version": tag, "size": 2_000_000}))
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_torn_note_beside_the_part_starts_over(tmp_path, web):
    (tmp_path / "file.bin.part").write_bytes(b"else")
    (tmp_path / "file.bin.part.json").write_text('{"version": ')
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_is_ill_for_a_while_is_waited_for(tmp_path, web):
    web.answers["/file.bin"] = [500, 503, 429]
    assert load(web.url("/file.bin"), tmp_path / "file.bin", SUM) == [1, 2, 4]


def test_a_server_that_stays_ill_is_given_up(tmp_path, web):
    web.answers["/file.bin"] = [500] * 99
    text = fails(web.url("/file.bin"), tmp_path / "file.bin")
    assert "could not be loaded in 6 attempts (the server answered 500 Internal Server Error)" in text
    assert "run the same command again" in text
    assert len(web.asked) == 1 + len(PAUSES)


def test_what_came_through_is_kept_when_the_connection_stays_cut(tmp_path, web):
    web.cuts["/file.bin"] = [200_000, *[0] * 99]
    text = fails(web.url("/file.bin"), tmp_path / "file.bin")
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert 200_000 - BLOCK < kept <= 200_000
    assert f"{kept:,} bytes are kept: run the same command again to go on from them if the server allows it" in text
    assert not (tmp_path / "file.bin").exists()


def test_of_a_server_that_cannot_resume_nothing_is_promised(tmp_path, web):
    web.tags = False
    web.cuts["/file.bin"] = [200_000, *[100_000] * 99]
    text = fails(web.url("/file.bin"), tmp_path / "file.bin")
    assert "the server cannot resume (it sends no ETag and no Last-Modified): run the same command again" in text
    assert "kept" not in text
    web.cuts = {}
    load(web.url("/file.bin"), tmp_path / "file.bin", SUM)
    assert {wanted for _, wanted, _ in web.asked} == {None}


def test_missing_file_refused_connection_and_no_address(tmp_path, web):
    text = fails(web.url("/other"), tmp_path / "other")
    assert "the server answered 404 Not Found; give an address that has it, --url stuff=URL" in text
    assert len(web.asked) == 1
    text = fails(refusing_address(), tmp_path / "file")
    assert "Connection refused" in text
    assert "0x" not in text
    assert "--url stuff=URL" in fails("http://[broken/file", tmp_path / "file")
    assert left(tmp_path) == []


def test_a_wrong_sum_leaves_nothing(tmp_path, web):
    text = fails(web.url("/file.bin"), tmp_path / "file.bin", "0" * 64)
    assert f"has SHA-256 {SUM}, expected {'0' * 64}" in text
    assert "--sha256 stuff=HEX" in text
    assert left(tmp_path) == []


def test_a_web_page_instead_of_a_zip_leaves_nothing(tmp_path, web):
    web.files["/a.zip"] = b"<!DOCTYPE html><html>sign in</html>"
    text = fails(web.url("/a.zip"), tmp_path / "a.zip")
    assert "gave no zip archive (it begins with b'<!DOCTYPE html><')" in text
    assert left(tmp_path) == []
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", "b")
    web.files["/a.zip"] = content.getvalue()
    load(web.url("/a.zip"), tmp_path / "a.zip")
    assert left(tmp_path) == ["a.zip"]


def test_progress_counts_what_was_there_before(tmp_path, web):
    web.cuts["/file.bin"] = [600_000]
    web.files["/file.bin"] = CONTENT * 5
    told = []

    @contextlib.contextmanager
    def noting(label, unit):
        assert (label, unit) == ("load stuff", "MB")
        yield lambda done, total: told.append((done, total))

    load(web.url("/file.bin"), tmp_path / "file.bin", progress=noting)
    assert told[-1] == (5, 5)
    assert told == sorted(told)

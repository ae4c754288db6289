import io
import zipfile
from hashlib import sha256
from importlib import import_module

import pytest

TRAIN = b"kitchen_0001/rgb_00000.jpg kitchen_0001/sync_depth_00000.png 518.8579\n"


@pytest.fixture
def web(web):
    web.files |= {"/train": TRAIN, "/test": b"bath/rgb_1.jpg bath/sync_depth_1.png 518\n"}
    web.files |= {"/mat": b"MATLAB 7.3", "/splits": b"MATLAB 5"}
    return web


@pytest.fixture
def nyu(web, tmp_path):
    """Arguments that lead `data fetch nyu` to the stand-ins."""
    paths = {"train_list": "/train", "test_list": "/test", "labelled": "/mat", "splits": "/splits"}
    arguments = ["data", "fetch", "nyu", "--root", tmp_path / "nyu"]
    for name, path in paths.items():
        arguments += ["--url", f"{name}={web.url(path)}"]
        arguments += ["--sha256", f"{name}={sha256(web.files[path]).hexdigest()}"]
    return arguments


def words(text):
    return " ".join(text.split())


def test_without_a_terminal_nothing_is_loaded_unasked(nyu, web, tmp_path, spaceclip):
    told = spaceclip(*nyu, fails=True)
    assert told.exit_code == 1
    assert told.output.splitlines()[-1] == (
        "Error: nothing was loaded: there is no terminal to ask on; give --yes to load it"
    )
    assert web.asked == []
    assert not (tmp_path / "nyu").exists()


def test_sizes_licence_and_what_is_by_hand_are_said_first(nyu, tmp_path, spaceclip):
    told = spaceclip(*nyu, fails=True).output
    assert "licence: no explicit licence; cite the authors; cite Silberman, Hoiem, Kohli and Fergus, ECCV 2012" in told
    assert "to load: about 3.0 GB; space needed on the way: about 3.0 GB, free: " in told
    assert "sync, by hand: load the sync.zip that this page names" in told
    assert f"put it at {tmp_path / 'nyu' / 'sync.zip'} and run the same command again" in told
    rows = {line.split("│")[1].strip(): line for line in told.splitlines() if line.startswith("│")}
    assert "3.0 GB │ to fetch" in rows["labelled"]
    assert "about 5.0 GB │ by hand" in rows["sync"]


def test_asked_on_a_terminal_no_means_no(nyu, web, monkeypatch, spaceclip):
    monkeypatch.setattr(import_module("spaceclip.pipeline.commands.data.fetch"), "_can_ask", lambda: True)
    monkeypatch.setattr("click.confirm", lambda text, abort: (_ for _ in ()).throw(SystemExit(1)))
    spaceclip(*nyu, fails=True)
    assert web.asked == []
    asked = []
    monkeypatch.setattr("click.confirm", lambda text, abort: asked.append((text, abort)))
    spaceclip(*nyu)
    assert [("Load about 3.0 GB" in text, abort) for text, abort in asked] == [(True, True)]
    assert len(web.asked) == 4


def test_fetch_then_all_there_without_a_question(nyu, web, tmp_path, spaceclip):
    told = spaceclip(*nyu, "--yes").output
    assert told.splitlines()[-1] == "sync: still to be fetched by hand"
    assert (tmp_path / "nyu" / "nyu_depth_v2_labeled.mat").read_bytes() == b"MATLAB 7.3"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in TRAIN.decode().split()[:2]:
            archive.writestr(f"sync/{name}", b"frame")
    (tmp_path / "nyu" / "sync.zip").write_bytes(content.getvalue())
    asked = len(web.asked)
    assert spaceclip(*nyu).output.splitlines()[-1] == f"{tmp_path / 'nyu'}: all there"
    assert (tmp_path / "nyu" / "sync" / "kitchen_0001" / "rgb_00000.jpg").read_bytes() == b"frame"
    assert len(web.asked) == asked


def test_only_lists_given_by_path_need_no_server(web, tmp_path, spaceclip):
    lists = {"--train-list": tmp_path / "my_train.txt", "--test-list": tmp_path / "my_test.txt"}
    for path in lists.values():
        path.write_bytes(TRAIN)
    told = spaceclip(
        *("data", "fetch", "nyu", "--root", tmp_path / "nyu", "--only", "lists"),
        *(argument for pair in lists.items() for argument in pair),
    ).output
    assert words(told).count("is not the released list") == 2
    assert f"set `test_list: {lists['--test-list']}` below `data:`" in words(told)
    assert told.splitlines()[-1] == f"{tmp_path / 'nyu'}: all there"
    assert list((tmp_path / "nyu").iterdir()) == []


def test_errors_are_one_line(nyu, web, spaceclip):
    web.files["/mat"] = b"another"
    told = spaceclip(*nyu, "--yes", fails=True)
    assert told.output.splitlines()[-1].startswith("Error: labelled: http://127.0.0.1")
    assert "expected --" not in told.output
    told = spaceclip(*nyu, "--url", "sync=ftp://x", fails=True).output
    assert "Error: --url sync=ftp://x: expected an address that begins with http:// or https://" in told
    assert "expected NAME=URL" in spaceclip(*nyu, "--url", "mat", fails=True).output
    assert "did you mean labelled?" in spaceclip(*nyu, "--only", "labeled", fails=True).output
    assert "no data set" not in spaceclip("data", "fetch", "nyc", "--root", "x", fails=True).output


def test_what_cannot_fit_is_refused_before_the_question(nyu, web, monkeypatch, spaceclip):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 10**9}))
    told = spaceclip(*nyu, "--yes", fails=True).output
    assert "3.0 GB are needed and 1.0 GB are free" in told
    assert web.asked == []


def test_a_table_laid_over_ours(web, tmp_path, spaceclip):
    table = tmp_path / "mirror.yaml"
    table.write_text(f"nyu: {{parts: {{splits: {{url: '{web.url('/splits')}', sha256: null, what: a mirror}}}}}}\n")
    fetch = ("data", "fetch", "nyu", "--root", tmp_path / "nyu", "--only", "splits", "--table", table)
    told = spaceclip(*fetch, "--yes").output
    assert "a mirror" in told
    found = sha256(b"MATLAB 5").hexdigest()
    assert (tmp_path / "nyu" / "checksums.txt").read_text() == f"{found}  splits.mat\n"
    assert "to fetch" not in spaceclip(*fetch).output

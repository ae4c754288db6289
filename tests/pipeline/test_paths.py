"""Output folders are tried before long work."""

import subprocess
import sys

import pytest
from spaceclip.cache import SpaceClipError, locate
from spaceclip.pipeline.paths import require_writable


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    require_writable(tmp_path)
    require_writable(tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_not_asked():
    require_writable(locate("s3://bucket/prefix"))


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "occupied").write_text("")
    with pytest.raises(SpaceClipError, match=r"occupied/run: cannot be written \(.*occupied: Not a directory\)"):
        require_writable(tmp_path / "occupied/run")


WRONG = [
    ("extract", "--config", "absent.yaml"),
    ("extract", "--images", "absent", "--out", "out"),
    ("extract", "--images", ".", "--depth", "absent", "--out", "out"),
    ("train", "--config", "absent.yaml"),
    ("train", "--features", "absent", "--out", "out"),
    ("evaluate", "--config", "absent.yaml"),
    ("evaluate", "--checkpoint", "absent", "--features", "."),
    ("evaluate", "--predictions", "absent", "--out", "out"),
    ("show", "absent"),
    ("compare", "absent"),
    ("settings", "absent.yaml"),
    ("cache", "verify", "absent"),
    ("cache", "copy", "absent", "out"),
    ("data", "check", "nyu", "--root", "absent"),
]


def test_wrong_paths_are_refused_before_torch_is_imported(tmp_path):
    code = f"""
import sys
from click.testing import CliRunner
from spaceclip.pipeline.cli import main
sys.modules["torch"] = None
for arguments in {WRONG!r}:
    found = CliRunner().invoke(main, arguments)
    print(found.exit_code, len(found.output.split("Error: ")), "absent" in found.output, *arguments)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [" ".join(("2 2 True", *arguments)) for arguments in WRONG]


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "--config", "configs/tiny.yaml", "--out", "file/features"),
        ("extract", "--config", "configs/tiny.yaml", "--store", "file/stores"),
        ("cache", "copy", "store", "file/copies"),
        ("data", "split", "nyu", "--root", "nyu", "--out", "file/lists"),
        ("data", "fetch", "nyu", "--root", "file/nyu", "--only", "lists", "--yes"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(project, spaceclip, monkeypatch, arguments):
    def work(*_arguments, **_options):
        raise AssertionError("began to work")

    monkeypatch.setattr("spaceclip.extract.extraction.load_backbone", work)
    monkeypatch.setattr("spaceclip.extract.fetch.Fetch", work)
    monkeypatch.setattr("spaceclip.cache.copy", work)
    (project / "file").write_text("")
    for folder in ("store", "nyu", "features/tiny"):
        (project / folder).mkdir(parents=True)
    told = spaceclip(*arguments, fails=True).output
    assert "cannot be written" in told
    assert "Not a directory" in told

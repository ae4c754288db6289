"""Output folders are tried before long work."""

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

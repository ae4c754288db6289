"""Copies of a checkout share its stores, and write the same pointers."""

from pathlib import Path

import pytest
from spaceclip.cache import FeatureCache, Pointer, project_root


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with a copy that DVC made in it, which is the working folder."""
    copy = tmp_path / "checkout/.dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return tmp_path / "checkout"


def test_the_working_folder_is_the_root_unless_told(root, monkeypatch):
    assert project_root() == Path.cwd()
    monkeypatch.setenv("DVC_ROOT", str(root))
    assert project_root() == root
    monkeypatch.setenv("SPACECLIP_ROOT", "/elsewhere")
    assert project_root() == Path("/elsewhere")
    monkeypatch.delenv("SPACECLIP_ROOT")
    monkeypatch.chdir(root)
    assert project_root() == root
    (root / "sub").mkdir()
    monkeypatch.chdir(root / "sub")
    assert project_root() == root / "sub"


def test_a_copy_writes_the_pointer_that_the_checkout_does_and_finds_the_store_by_it(root, monkeypatch, make_store):
    path, _ = make_store("checkout/features/mine/train-1.zarr")
    cache = FeatureCache.open(path)
    monkeypatch.setenv("DVC_ROOT", str(root))
    pointers = []
    for folder in (root, Path.cwd()):
        monkeypatch.chdir(folder)
        pointer = Pointer.to(path, Path("features/wide/train.json"), cache.fingerprint, len(cache), cache.digest)
        Path("features/wide").mkdir(parents=True, exist_ok=True)
        pointer.write(Path("features/wide/train.json"))
        assert FeatureCache.open("features/wide").digest == cache.digest
        pointers.append(pointer)
    assert pointers[0] == pointers[1]
    assert pointers[0].store == "../mine/train-1.zarr"


def test_a_store_that_a_copy_keeps_for_itself_lies_by_its_pointer(root, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(root))
    here = Path.cwd() / "own/train-1.zarr"
    assert Pointer.to(here, Path("own/train.json"), "", 1, "").store == "train-1.zarr"

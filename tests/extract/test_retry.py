"""Retrying quarantined samples: what was there stays until what takes its place is computed."""

import errno
import os
import shutil

import pytest
from spaceclip.cache import FeatureCache, SpaceClipError, StoreError, StoreWriter, verify
from spaceclip.cache.format.ledger import record_key
from spaceclip.cache.places.folder import Folder
from spaceclip.extract import ExtractSettings, extract, load_backbone, plan
from spaceclip.extract.engine import Engine, StoreSink, device_of
from spaceclip.extract.remaining import Work

SETTINGS = ExtractSettings(layers=(0, 2), batch_size=3, shard=8, threads=1)
BAD = (3, 17)


@pytest.fixture(scope="module")
def backbone(tiny_config):
    return load_backbone(f"random:{tiny_config}", precision="float32")


@pytest.fixture
def make_bad(make_frames):
    """Frames some of which cannot be loaded."""

    def make(bad=BAD):
        frames, good = make_frames(30), make_frames(30)

        def load(index):
            frames.loaded.append(index)
            if index in bad:
                raise SpaceClipError(f"frame{index:03d}.png: is cut short")
            return good.load(index)

        frames.load = load
        return frames

    return make


@pytest.fixture
def run(backbone, tmp_path):
    """Extracts into a folder."""

    def extract_into(frames, folder="store", progress=lambda _done, _total: None, **more):
        return extract(frames, backbone, SETTINGS, tmp_path / folder, "train", {}, progress, **more)

    return extract_into


@pytest.fixture
def before(run, make_bad, tmp_path, contents):
    """What a store holds of which two samples are quarantined."""
    run(make_bad(), on_error="quarantine")
    return contents(tmp_path / "store")


@pytest.fixture
def whole(run, make_bad, tmp_path, contents):
    """What it is to hold in the end."""
    run(make_bad(bad=()), "whole")
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("bad", [BAD, BAD[1:]])
def test_a_sample_that_is_still_bad_ends_the_retry_before_anything_is_forgotten(
    run, make_bad, before, tmp_path, contents, bad
):
    frames = make_bad(bad)
    with pytest.raises(SpaceClipError, match=f"frame{bad[0]:03d}"):
        run(frames, retry_quarantined=True)
    assert set(frames.loaded) <= set(BAD)
    assert contents(tmp_path / "store") == before


def test_what_is_still_bad_is_left_as_it_is_and_the_rest_is_mended(run, make_bad, before):
    frames = make_bad(BAD[1:])
    done = run(frames, retry_quarantined=True, on_error="quarantine")
    assert done.computed == 8
    assert [sample.row for sample in done.quarantined] == [17]
    assert set(frames.loaded) == {*range(8), 17}
    assert verify(done.store).problems == []


def test_where_nothing_was_mended_nothing_is_computed(run, make_bad, before, tmp_path, contents):
    done = run(make_bad(), retry_quarantined=True, on_error="quarantine")
    assert (done.computed, len(done.quarantined)) == (0, 2)
    assert contents(tmp_path / "store") == before


def test_a_retry_is_planned_as_it_is_done(make_bad, backbone, before, tmp_path):
    def planned(bad, **more):
        place = tmp_path / "store"
        return plan(make_bad(bad), backbone, SETTINGS, place, "train", retry_quarantined=True, **more).pending_images

    assert planned(()) == 16
    assert planned(BAD[1:], on_error="quarantine") == 8
    with pytest.raises(SpaceClipError, match="frame017"):
        planned(BAD[1:])


def test_a_retry_without_room_leaves_the_store_whole(run, make_bad, before, tmp_path, contents, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100))
    with pytest.raises(SpaceClipError, match="make room"):
        run(make_bad(bad=()), retry_quarantined=True)
    assert contents(tmp_path / "store") == before


def test_a_retry_that_is_interrupted_loses_nothing_that_it_had_not_computed_anew(
    run, make_bad, before, whole, tmp_path, contents
):
    def stop(done, _total):
        if done > 30 - 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_bad(bad=()), progress=stop, retry_quarantined=True)
    left = contents(tmp_path / "store")
    assert {name for name in left if left[name] not in (before.get(name), whole[name])} == set()
    run(make_bad(bad=()), retry_quarantined=True)
    assert contents(tmp_path / "store") == whole


def test_no_record_vouches_for_a_shard_while_its_objects_are_replaced(
    run, make_bad, before, whole, tmp_path, contents, monkeypatch
):
    write, left = Folder.write, [3]

    def fails(place, key, content):
        if "/c/" in key:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "Input/output error")
        write(place, key, content)

    monkeypatch.setattr(Folder, "write", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        run(make_bad(bad=()), retry_quarantined=True)
    monkeypatch.undo()
    (store,) = tmp_path.glob("store/*.zarr")
    kept = set(FeatureCache.open(store, allow_incomplete=True).records)
    assert kept in ({1, 3}, {1, 2, 3})  # that of the other shard may be being replaced too
    assert run(make_bad(bad=())).computed == 8 * (4 - len(kept))
    assert run(make_bad(bad=()), retry_quarantined=True).computed == 8 * (len(kept) - 2)
    assert contents(tmp_path / "store") == whole


def test_a_retry_may_be_done_by_workers_that_pass_over_what_has_a_record(
    run, make_bad, backbone, before, whole, tmp_path, contents
):
    def fill(writer, work, _progress):
        for shard in work.shards:
            mine = StoreWriter(writer.path, writer.spec, {})
            if not mine.place.exists(record_key(shard)):
                device = device_of(backbone, writer.spec)
                with Engine(make_bad(bad=()), device, writer.spec, StoreSink(mine), batch=3, threads=1) as engine:
                    engine.wait([engine.submit(Work(writer.spec, [shard]), shard)])
                # As of a worker that was lost while it wrote.
                (writer.path / f"image/c/{shard}/0/0/.0.0123456789ab").write_bytes(b"half")

    assert run(make_bad(bad=()), retry_quarantined=True, fill=fill).computed == 16
    assert contents(tmp_path / "store") == whole


def test_a_store_that_cannot_be_written_is_one_line_and_stays_whole(
    run, make_bad, before, tmp_path, contents, monkeypatch
):
    def refused(_place, key):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Folder, "delete", refused)
    with pytest.raises(StoreError, match=r"shard [02] cannot be done again \(Read-only file system\): .*same command"):
        run(make_bad(bad=()), retry_quarantined=True)
    assert contents(tmp_path / "store") == before

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError
from spaceclip.extract.sources.synthetic import ENCODER_SEED, EncoderSettings, SyntheticSettings, SyntheticSource
from spaceclip.extract.sources.synthetic.camera import place_camera
from spaceclip.extract.sources.synthetic.synthetic_source import KINDS

SMALL = SyntheticSettings(scenes=8, views_per_scene=2, height=48, width=64)


@pytest.fixture(scope="module")
def source():
    return SyntheticSource(SMALL)


@pytest.fixture(scope="module")
def samples(source):
    return [source.load(index) for index in range(len(source.entries))]


def same(first, second):
    return first.image.tobytes() == second.image.tobytes() and first.depth.tobytes() == second.depth.tobytes()


def test_entries_name_rooms_and_streets_in_turn(source):
    assert [entry.id for entry in source.entries[:5]] == [
        "room-0000/00",
        "room-0000/01",
        "street-0000/00",
        "street-0000/01",
        "room-0001/00",
    ]
    assert len({entry.id for entry in source.entries}) == 16
    assert sum(entry.scene.startswith("room") for entry in source.entries) == 8
    assert all(entry.id.startswith(f"{entry.scene}/") for entry in source.entries)


def test_samples_carry_their_entry_and_the_types_of_a_source(source, samples):
    for entry, sample in zip(source.entries, samples, strict=True):
        assert (sample.id, sample.scene) == (entry.id, entry.scene)
        assert (sample.image.shape, sample.image.dtype) == ((48, 64, 3), np.uint8)
        assert (sample.depth.shape, sample.depth.dtype) == ((48, 64), np.float32)
    assert source.depth_sizes() == [(48, 64)] * 16
    assert source.depth_unit == 0.001


def test_order_and_threads_change_nothing(samples):
    again = SyntheticSource(SMALL)
    backwards = [again.load(index) for index in reversed(range(len(samples)))]
    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(again.load, range(len(samples))))
    assert all(map(same, samples, reversed(backwards)))
    assert all(map(same, samples, threaded))


def test_more_scenes_leave_the_others_as_they_are(samples):
    larger = SyntheticSource(SMALL.model_copy(update={"scenes": 9, "views_per_scene": 3}))
    ids = [entry.id for entry in larger.entries]
    for sample in samples[:4]:
        index = ids.index(sample.id)
        assert same(larger.load(index), sample)


def test_pictures_are_the_samples_with_a_map_of_what_they_show(source, samples):
    for index in (0, 3, 6, 9):
        picture, sample = source.picture(index), samples[index]
        assert picture.kind == sample.scene.split("-")[0]
        assert picture.image.tobytes() == sample.image.tobytes()
        assert picture.depth.tobytes() == sample.depth.tobytes()
        assert (picture.things.shape, picture.things.dtype) == ((48, 64), np.int16)
        assert picture.things.max() < len(picture.names)
        assert (picture.depth[picture.things == -1] == 0).all()
        assert (picture.things == -1).any() <= (picture.kind == "street")
        assert sum(seen.share for seen in picture.seen) == pytest.approx(np.mean(picture.things >= 0))


def test_every_thing_built_has_a_name():
    nouns = {"room": {"wall", "floor", "ceiling", "window"}, "street": {"road", "pavement", "house"}}
    for kind in KINDS:
        scene = KINDS[kind](np.random.default_rng(5))
        assert {solid.thing for solid in scene.solids} == set(range(len(scene.things)))
        assert nouns[kind] < {noun for noun, _ in scene.things}


def test_every_picture_is_another(samples):
    depths = [sample.depth for sample in samples]
    for i, first in enumerate(depths):
        for second in depths[:i]:
            assert np.mean(np.abs(first - second)) > 0.05
    assert not same(SyntheticSource(SMALL.model_copy(update={"seed": 43})).load(0), samples[0])


def test_rooms_are_closed_and_near(samples):
    for sample in samples:
        if sample.scene.startswith("room"):
            assert sample.depth.min() > 0.05
            assert sample.depth.max() < 10


def test_streets_reach_far_and_have_sky(samples):
    streets = [sample.depth for sample in samples if sample.scene.startswith("street")]
    assert max(depth.max() for depth in streets) > 20
    assert max(depth.max() for depth in streets) <= SMALL.max_depth
    assert any((depth == 0).any() for depth in streets)
    for depth in streets:
        assert np.mean(depth > 0) > 0.4


def test_pictures_are_neither_dark_nor_burnt_out_nor_flat(samples):
    for sample in samples:
        assert 40 < sample.image.mean() < 220
        assert np.mean(sample.image == 255) < 0.5
        assert sample.image.std() > 12


def test_cameras_stand_inside_their_room_at_a_persons_heights():
    for seed in range(12):
        scene = KINDS["room"](np.random.default_rng(seed))
        camera = place_camera(scene, 48, 64, np.random.default_rng(seed))
        walls = max(scene.solids, key=lambda solid: solid.half[2])
        assert scene.things[walls.thing][0] == "wall"
        assert abs(camera.position[0]) < walls.half[0]
        assert abs(camera.position[1]) < walls.half[1]
        assert 0.6 <= camera.position[2] <= 2.2
        assert np.deg2rad(-25.01) <= camera.pitch <= np.deg2rad(10.01)


@pytest.mark.parametrize("change", [{"seed": 7}, {"height": 49}, {"width": 65}, {"max_depth": 20.0}])
def test_stamp_changes_with_what_changes_the_content(source, change):
    changed = SyntheticSource(SMALL.model_copy(update=change))
    assert changed.entries[0].stamp != source.entries[0].stamp


def test_stamp_names_the_generators_version(source):
    assert "version 3," in source.entries[0].stamp


@pytest.mark.parametrize("seed", [ENCODER_SEED, ENCODER_SEED + 1, 2**31])
def test_scenes_that_the_encoder_learnt_from_are_refused_to_others(seed):
    with pytest.raises(ValidationError, match="less than 1000000"):
        SyntheticSettings(seed=seed)
    assert EncoderSettings(seed=seed).seed == seed


def test_encoder_takes_no_scenes_of_others():
    assert EncoderSettings().seed == ENCODER_SEED
    with pytest.raises(ValidationError, match="greater than or equal to 1000000"):
        EncoderSettings(seed=ENCODER_SEED - 1)
    first, others = SyntheticSource(EncoderSettings(height=48, width=64)), SyntheticSource(SMALL)
    assert first.entries[0].stamp != others.entries[0].stamp
    assert not same(first.load(0), others.load(0))


def test_stamp_stays_when_scenes_are_added(source):
    larger = SyntheticSource(SMALL.model_copy(update={"scenes": 20}))
    assert larger.entries[0] == source.entries[0]


@pytest.mark.parametrize("wrong", [{"scenes": 0}, {"height": 2}, {"max_depth": 0}, {"seed": -1}, {"rooms": 3}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SyntheticSettings.model_validate(wrong)

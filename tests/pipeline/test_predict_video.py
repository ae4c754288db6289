"""`spaceclip predict` on videos: frames, times, turns, colours, flicker, going on, and what is no video."""

import csv
import math
import os
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from spaceclip.pipeline.prediction import SpaceClip
from spaceclip.pipeline.prediction.video import VideoPrediction
from spaceclip.pipeline.prediction.video import clip as clips
from spaceclip.pipeline.prediction.video.clip import Clip
from spaceclip.pipeline.prediction.video.flicker import Change, TemporalFilter, mean_change
from videos import write_video


def scene(number, size=(36, 48)):
    """A smooth picture whose right half changes from frame to frame."""
    draw = np.random.default_rng(7)
    still = Image.fromarray(draw.integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize(size[::-1])
    picture = np.asarray(still).copy()
    picture[:, size[1] // 2 :] = np.random.default_rng(number).integers(0, 256, 3)
    return picture


def shown(path):
    """The frames of a video: when each is shown, and its picture."""
    with av.open(str(path)) as file:
        base = file.streams.video[0].time_base or 0
        return [((frame.pts or 0) * base, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]


def table(path="depth/clip.frames.csv"):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clip(trained):
    """A video of ten frames, at times of no fixed rate."""
    write_video("clip.mp4", [scene(number) for number in range(10)], [0, 33, 66, 200, 201, 240, 500, 533, 900, 1000])
    return trained / "clip.mp4"


@pytest.fixture
def model(trained, tiny):
    return SpaceClip.from_pretrained("results/tiny", backbone=tiny, device="cpu")


def test_every_frame_is_written_and_the_video_keeps_its_times(clip, predict, model):
    told = predict("clip.mp4", "--save", "npy,png,video", "--batch-size", "3")
    assert "depth/clip: 10 of 10 frames written (npy, png, video); colours span " in told
    frames = sorted(Path("depth/clip").iterdir())
    assert [file.name for file in frames[:3]] == ["000001.depth.png", "000001.npy", "000002.depth.png"]
    assert len(frames) == 20
    found, given = shown("depth/clip.side.mp4"), shown(clip)
    assert [time for time, _ in found] == [time for time, _ in given]
    assert [float(row["seconds"]) for row in table()] == pytest.approx([float(time) for time, _ in given])
    for number, ((_, picture), (_, drawn)) in enumerate(zip(given, found, strict=True), 1):
        expected = model.predict(picture).depth
        np.testing.assert_allclose(np.load(f"depth/clip/{number:06d}.npy"), expected, rtol=0.02)
        assert np.abs(drawn[62:98, :48].astype(int) - picture)[2:-2, 2:-2].mean() < 20  # beside its depth
    with Image.open("depth/clip/000004.depth.png") as picture:
        assert picture.info["Time"] == "0.200000 s"


def test_the_colours_of_one_video_are_of_one_range(clip, predict, monkeypatch):
    predict("clip.mp4", "--save", "png")
    scales = set()
    for file in Path("depth/clip").iterdir():
        with Image.open(file) as picture:
            scales.add(np.asarray(picture)[:, 50:].tobytes())
    assert len(scales) == 1


def test_the_duration_that_a_film_states_is_that_of_all_its_frames(trained, predict):
    times = [*range(0, 400, 40), 8000, 8040]
    write_video("clip.mkv", [scene(number) for number in range(len(times))], times)
    predict("clip.mkv", "--save", "video")
    with av.open("depth/clip.side.mp4") as file:
        stream = file.streams.video[0]
        seconds = float((stream.duration or 0) * (stream.time_base or 0))
    assert [float(time) for time, _ in shown("depth/clip.side.mp4")] == [time / 1000 for time in times]
    assert 8.04 <= seconds < 9.2


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_a_video_that_begins_late_is_not_taken_for_cut_short(trained, suffix):
    write_video(f"late.{suffix}", [scene(number) for number in range(9)], [1000 + 40 * number for number in range(9)])
    clip = Clip(Path(f"late.{suffix}"))
    assert len(list(clip.frames())) == 9
    assert clip.broken is None


@pytest.mark.parametrize(("quarters", "turned"), [(1, Image.Transpose.ROTATE_270), (2, Image.Transpose.ROTATE_180)])
def test_a_video_is_turned_as_it_asks(clip, quarters, turned):
    content = bytearray(clip.read_bytes())
    # The matrix that the standard puts into the track's header maps (x, y) to (ax + cy, bx + dy).
    a, b, c, d = {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1)}[quarters]
    start = content.index(b"tkhd") + 44
    for place, value in ((0, a), (4, b), (12, c), (16, d)):
        content[start + place : start + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    Path("turned.mp4").write_bytes(content)
    plain, found = (next(iter(Clip(Path(name)).frames())).picture() for name in ("clip.mp4", "turned.mp4"))
    np.testing.assert_array_equal(found, plain.transpose(turned))


def test_an_interrupted_video_goes_on_where_it_stopped(clip, predict, monkeypatch):
    whole = predict("clip.mp4", "--save", "npy", "--batch-size", "1").partition("flicker")[2]
    full = {file.name: file.read_bytes() for file in Path("depth/clip").iterdir()}
    Path("depth/clip/000007.npy").unlink()
    Path("depth/clip.frames.csv").rename("depth/clip.frames.csv.part")
    decoded, decode = [], SpaceClip.decode
    monkeypatch.setattr(SpaceClip, "decode", lambda self, x, **k: decoded.append(len(x)) or decode(self, x, **k))
    assert predict("clip.mp4", "--save", "npy", "--dry-run").startswith("depth/clip: about 10 frames, 6 are there")
    told = predict("clip.mp4", "--save", "npy", "--batch-size", "1")
    assert "4 of 10 frames written (npy), 6 were there" in told
    assert sum(decoded) == 5  # one that the seventh is compared with
    assert told.partition("flicker")[2] == whole
    assert {file.name: file.read_bytes() for file in Path("depth/clip").iterdir()} == full
    monkeypatch.setattr(SpaceClip, "backbone", None)  # nothing is left that would need it
    told = predict("clip.mp4", "--save", "npy")
    assert "0 of 10 frames written (npy), 10 were there" in told
    assert "not known of" not in told


def test_what_is_filtered_or_one_file_is_done_anew(clip, predict):
    for kinds in (("npy", "--smooth", "0.5"), ("video",)):
        shutil.rmtree("depth", ignore_errors=True)
        predict("clip.mp4", "--save", *kinds)
        Path("depth/clip.frames.csv").rename("depth/clip.frames.csv.part")
        assert "10 of 10 frames written" in predict("clip.mp4", "--save", *kinds)
        assert "0 of 10 frames written" in predict("clip.mp4", "--save", *kinds)
        assert not list(Path("depth").rglob("*.part"))


def interrupted_at(number, monkeypatch):
    """Ctrl-C once the frame of that number is to be written."""
    write = VideoPrediction._written

    def interrupted(self, found, **options):
        if found[0].number == number:
            raise KeyboardInterrupt
        return write(self, found, **options)

    monkeypatch.setattr(VideoPrediction, "_written", interrupted)
    return lambda: monkeypatch.setattr(VideoPrediction, "_written", write)


def test_a_second_format_that_was_interrupted_is_not_taken_for_done(clip, predict, monkeypatch):
    predict("clip.mp4", "--save", "npy")
    again = interrupted_at(6, monkeypatch)
    assert "interrupted" in predict("clip.mp4", "--save", "png", fails=True)
    again()
    assert len(list(Path("depth/clip").glob("*.png"))) < 10
    assert "frames written (png), " in predict("clip.mp4", "--save", "png")
    pictures = sorted(Path("depth/clip").glob("*.png"))
    assert len(pictures) == len(table()) == 10
    assert len({np.asarray(Image.open(file))[:, 50:].tobytes() for file in pictures}) == 1  # one range of colours
    assert "0 of 10 frames written (png), 10 were there" in predict("clip.mp4", "--save", "png")
    assert "0 of 10 frames written (npy), 10 were there" in predict("clip.mp4", "--save", "npy")
    again = interrupted_at(3, monkeypatch)
    predict("clip.mp4", "--save", "video", fails=True)
    again()
    assert not Path("depth/clip.side.mp4").exists()
    assert "10 of 10 frames written (video)" in predict("clip.mp4", "--save", "video")
    assert len(shown("depth/clip.side.mp4")) == 10


@pytest.mark.parametrize("kinds", ["npy", "png"])
def test_of_a_video_that_was_replaced_by_a_shorter_one_nothing_is_left(clip, predict, kinds):
    predict("clip.mp4", "--save", "npy,video")
    write_video("clip.mp4", [scene(number) for number in range(20, 24)])
    os.utime("clip.mp4", (0, 0))
    assert "4 of 4 frames written" in predict("clip.mp4", "--save", kinds)
    suffix = {"npy": "npy", "png": "depth.png"}[kinds]
    assert [file.name for file in sorted(Path("depth/clip").iterdir())] == [f"{at:06d}.{suffix}" for at in range(1, 5)]
    assert not Path("depth/clip.side.mp4").exists()
    assert len(table()) == 4


def test_flicker_is_measured_where_the_image_stays_and_smoothing_lowers_it(clip, predict, model):
    told = predict("clip.mp4", "--save", "npy", "--smooth", "0.8")
    rows, pictures = table(), [picture for _, picture in shown(clip)]
    seen = [model.prepare(Image.fromarray(picture)).astype(int) for picture in pictures]
    depths = model.decode(np.stack(seen).astype(np.uint8)).numpy()
    each = np.ones([depth // image for depth, image in zip(depths.shape[1:], seen[0].shape[:2], strict=True)], bool)
    changed = [
        np.pad(np.abs(after - before).max(-1).astype(float), 2, mode="constant", constant_values=np.nan)
        for before, after in pairwise(seen)
    ]
    around = [np.nanmean(sliding_window_view(one, (5, 5)), (2, 3)) for one in changed]
    still = [np.kron(one <= 3, each) for one in around]
    moved = [np.abs(after - before) for before, after in pairwise(depths)]
    assert rows[0]["flicker"] == "nan"
    for row, same, change in zip(rows[1:], still, moved, strict=True):
        assert float(row["unchanged"]) == pytest.approx(same.mean(), abs=1e-5)
        assert float(row["flicker"]) == pytest.approx(change[same].mean(), rel=0.05, abs=1e-4)
        assert float(row["smoothed"]) < float(row["flicker"])
    flicker = np.concatenate([change[same] for same, change in zip(still, moved, strict=True)]).mean()
    said = told.partition("; flicker: where the picture stands still (")[2]
    assert float(said.partition("depth changes by ")[2].split()[0]) == pytest.approx(flicker, rel=0.05)
    assert "m a frame, with --smooth" in said
    assert "with --smooth 0.8" in told


def test_the_filter_averages_what_stays_and_leaves_what_moves():
    pixels = np.zeros((20, 20, 3), np.uint8)
    moved = pixels.copy()
    moved[0, 0, 1], moved[:, 17:, 2] = 200, 9
    temporal, ones = TemporalFilter(0.75), torch.ones(4, 4)
    first, change = temporal(pixels, ones)
    assert first.eq(1).all()
    assert math.isnan(change.flicker)
    second, change = temporal(moved, 5 * ones)
    where = [[5, 2, 2, 5], *[[2, 2, 2, 5]] * 3]  # of depth pixels of 5 x 5 the corner's, and the last column
    assert second.tolist() == where
    assert change == Change(11 / 16, 4.0, 1.0)
    third, change = temporal(moved, 5 * ones)
    assert third.tolist() == [[5 if depth == 5 else 2.75 for depth in row] for row in where]
    assert change.flicker == 0
    assert change.smoothed == pytest.approx(0.75 * 11 / 16)
    assert mean_change([Change(0.75, 4, 1), Change(), Change(0.25, 0, 1)]) == pytest.approx((1 / 3, 3, 1))
    assert all(math.isnan(value) for value in mean_change([Change()])[1:])


def filtered(frames, depths, smooth=0.8):
    """Of each frame of a video the filtered depth, and what changed."""
    temporal = TemporalFilter(smooth)
    return [temporal(frame, depth) for frame, depth in zip(frames, depths, strict=True)]


def test_at_a_cut_and_where_the_camera_moves_no_pixel_is_dragged():
    draw = np.random.default_rng(0)
    views = [Image.fromarray(draw.integers(40, 220, (7, 7), np.uint8)).resize((64, 64)) for _ in range(12)]
    cuts = [np.repeat(np.asarray(view)[..., None], 3, -1) for view in views]
    assert any((np.abs(a.astype(int) - b).max(-1) <= 2).any() for a, b in pairwise(cuts))  # by chance
    wide = draw.integers(0, 40, (64, 128, 3), np.uint8)
    panned = [wide[:, 2 * step : 2 * step + 64] for step in range(12)]
    depths = [torch.full((48, 64), 1.0 + step) for step in range(12)]
    for frames in (cuts, panned):
        for (found, change), depth in zip(filtered(frames, depths), depths, strict=True):
            assert found.equal(depth)
            assert change.unchanged == 0
            assert math.isnan(change.flicker)


def test_of_a_camera_that_stands_still_depth_is_smoothed_though_its_pixels_are_noisy():
    draw = np.random.default_rng(0)
    still = draw.integers(20, 230, (64, 64, 3))
    frames = [(still + draw.normal(0, 1.2, still.shape).round()).astype(np.uint8) for _ in range(12)]
    depths = [2 + torch.from_numpy(draw.normal(0, 0.1, (48, 64))) for _ in frames]
    for _, change in filtered(frames, depths)[1:]:
        assert change.unchanged > 0.9
        assert change.smoothed < 0.4 * change.flicker


def test_a_video_where_all_moves_has_no_flicker(trained, predict):
    write_video("clip.mp4", [np.full((36, 48, 3), 60 * number, np.uint8) for number in range(4)])
    assert "flicker: no pixel of the picture stands still" in predict("clip.mp4", "--save", "npy")


@pytest.mark.parametrize(("name", "kept"), [("cut.mp4", 0.7), ("cut.mkv", 0.6)])
def test_of_a_video_that_is_cut_short_the_rest_is_predicted(trained, predict, name, kept):
    options = {"movflags": "faststart"} if name == "cut.mp4" else {}
    noise = np.random.default_rng(0).integers(0, 256, (30, 36, 48, 3), dtype=np.uint8)
    write_video(name, list(noise), options=options)
    os.truncate(name, int(kept * Path(name).stat().st_size))
    for attempt in range(2):
        told = predict(name, "--save", "npy", code=3)
        frames = len(list(Path("depth/cut").iterdir()))
        assert 10 < frames < 25
        assert told.count("broken") == 1
        assert f"{name}: broken after {frames} frames, " in told
        assert " of 1.20 s (" in told
        assert ("depth/cut: 0 of " in told) == (attempt == 1)  # what was there is not computed again


def test_a_folder_of_images_leaves_videos_alone_and_a_pattern_takes_them(clip, predict):
    Path("mixed").mkdir()
    os.link("clip.mp4", "mixed/clip.mp4")
    Image.fromarray(scene(0)).save("mixed/a.png")
    assert "depth: 1 of 1 image written (npy)" in predict("mixed", "--save", "npy")
    told = predict("mixed/*", "--save", "npy,video")
    assert "depth/clip: 10 of 10 frames" in told
    assert "depth: 0 of 1 image written (npy), 1 were there" in told


def test_a_gif_is_a_video(trained, predict):
    pictures = [Image.fromarray(scene(number)) for number in range(3)]
    pictures[0].save("clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert "depth/clip: 3 of 3 frames" in predict("clip.gif", "--save", "npy")


def broken_videos():
    with av.open("sound.mp4", "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    Path("empty.mp4").touch()
    Path("junk.mp4").write_bytes(b"no video" * 100)
    Path("list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.mp4\n#EXT-X-ENDLIST\n")
    Path("coding.mp4").write_bytes(Path("clip.mp4").read_bytes().replace(b"avc1", b"zzzz"))
    write_video("head.mkv", [scene(0)])
    shutil.copy("head.mkv", "end.mkv")
    os.truncate("head.mkv", 300)
    os.truncate("end.mkv", 45)
    os.truncate("clip.mp4", 600)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sound.mp4", "sound.mp4 holds no video"),
        ("empty.mp4", "empty.mp4 cannot be read as a video"),
        ("junk.mp4", "junk.mp4 cannot be read as a video (Invalid data found when processing input)"),
        ("list.mp4", "list.mp4 "),
        ("clip.mp4", "clip.mp4 cannot be read as a video"),
        ("head.mkv", "head.mkv cannot be read as a video (Input/output error): damaged, cut short or none"),
        ("end.mkv", "end.mkv cannot be read as a video (End of file)"),
        ("coding.mp4", "coding.mp4 is of a coding that is not known, or damaged"),
    ],
)
def test_what_is_no_video_is_one_line(clip, predict, name, said):
    broken_videos()
    told = predict(name, "--save", "npy", code=3)
    assert told.startswith(said)
    assert told.count("\n") == 1
    assert not Path("depth").exists()


def test_beside_videos_that_are_none_the_others_are_done(clip, predict):
    shutil.copy("clip.mp4", "whole.mp4")
    broken_videos()
    given = ("junk.mp4", "coding.mp4", "end.mkv", "whole.mp4")
    for options in (["--dry-run"], []):
        told = predict(*given, "--save", "npy", *options, code=3)
        assert "depth/whole: " in told
        assert told.count("\n") == 4 + ("camera" in told) + ("trained on" in told)
    assert len(table("depth/whole.frames.csv")) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("a.png", "--save", "png,video"),
            "--save video is of videos, and a.png is none: leave it out, or give a video",
        ),
        (("a.png", "--smooth", "0.5"), "--smooth is of videos, and a.png is none"),
        (("a.png", "clip.mp4", "--save", "video"), "a.png is none: say what to write of it (--save png,video)"),
        (("clip.mp4", "in"), "clip.mp4 and in/clip/1.png would both be written to depth/clip/1"),
        (("a.png", "--smooth", "1"), "1.0 is not in the range 0<=x<1"),
    ],
)
def test_what_does_not_go_together_is_refused(clip, predict, arguments, said):
    Path("in/clip").mkdir(parents=True)
    for name in ("a.png", "in/clip/1.png"):
        Image.fromarray(scene(0)).save(name)
    assert said in predict(*arguments, fails=True)


def test_a_camera_is_a_video_of_so_many_frames(trained, predict, monkeypatch):
    assert "camera:0 never ends: say how many frames to take (--frames)" in predict("camera:0", fails=True)
    write_video("clip.mp4", [scene(0)])
    assert "--frames is of cameras" in predict("clip.mp4", "--frames", "3", fails=True)
    assert "camera:7 cannot be read (No such file or directory)" in predict("camera:7", "--frames", "3", code=3)
    monkeypatch.setattr(clips, "_place", lambda path: ("testsrc=size=64x48:rate=50", "lavfi"))
    told = predict("camera:0", "--frames", "20", "--save", "npy,video")
    assert "depth/camera0: 20 of 20 frames written (npy, video); colours span " in told
    assert [time for time, _ in shown("depth/camera0.side.mp4")] == [Fraction(number, 50) for number in range(20)]
    assert len(list(Path("depth/camera0").iterdir())) == 20
    told = predict("camera:0", "--frames", "3", "--save", "png16")
    assert "depth/camera0: 3 of 3 frames written (png16 in millimetres)" in told
    assert len(list(Path("depth/camera0").iterdir())) == 3


def test_a_video_of_too_many_pixels_is_refused(clip, predict, monkeypatch):
    monkeypatch.setattr(clips, "_MOST_PIXELS", 100)
    assert "clip.mp4 has frames of 36 x 48: expected at most 100 pixels" in predict("clip.mp4", code=3)


def test_times_that_do_not_increase_or_are_not_known_are_set_apart(clip, monkeypatch):
    with av.open(str(clip)) as file:
        frames = list(file.decode(video=0))[:4]
    for frame, ticks in zip(frames, (5, 5, 3, None), strict=True):
        frame.pts = ticks
    monkeypatch.setattr(clips, "_decoded", lambda _container, _stream: frames)
    rate = 10 / 1.1
    found = [frame.ticks for frame in Clip(clip).frames()]
    assert found[:3] == [5, 6, 7]
    assert found[3] * Clip(clip).time_base == pytest.approx(3 / rate, rel=0.1)

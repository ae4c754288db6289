import contextlib
import hashlib
import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.extract.fetch.catalogue import load_catalogue
from spaceclip.extract.fetch.fetch import Fetch
from spaceclip.extract.fetch.plan import BY_HAND, FETCH, THERE, UNPACK, plan_fetch

DRIVES = ("2011_09_26_drive_0001", "2011_10_03_drive_0034")
DEPTH = "{}_sync/proj_depth/groundtruth/image_02/{:010}.png"


def image_name(drive, frame):
    return f"{drive[:10]}/{drive}_sync/image_02/data/{frame:010}.png"


def png(number):
    content = io.BytesIO()
    Image.fromarray(np.full((2, 3), number, np.uint16)).save(content, "png")
    return content.getvalue()


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def sum_of(content):
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def silent(_label, _unit):
    yield lambda _done, _total: None


# Two drives of which frames 5 and 6 are listed for training, and 7, without ground truth, for testing.
TRAIN = "".join(
    f"{image_name(drive, frame)} {DEPTH.format(drive, frame)} 721.5\n" for drive in DRIVES for frame in (5, 6)
)
TEST = f"{image_name(DRIVES[0], 7)} None 721.5\n"
IMAGES = {drive: {image_name(drive, frame): png(frame) for frame in range(10)} for drive in DRIVES}
MAPS = {
    f"{split}/{DEPTH.format(drive, frame)}": png(100 + frame)
    for split, drive in zip(("train", "val"), DRIVES, strict=True)
    for frame in range(10)
}
WANTED = [image_name(DRIVES[0], 7), *(image_name(drive, frame) for drive in DRIVES for frame in (5, 6))]
WANTED_MAPS = [name for name in MAPS if name.endswith(("5.png", "6.png"))]


class Kitti:
    """The data set on a server, and the fetch of it."""

    def __init__(self, root, web):
        self.root, self.web, self.told = root, web, []
        web.files |= {"/train.txt": TRAIN.encode(), "/test.txt": TEST.encode()}
        web.files |= {f"/raw/{drive}.zip": zipped(IMAGES[drive]) for drive in DRIVES}
        web.files["/depth.zip"] = zipped(MAPS)
        self.urls = {
            "train_list": web.url("/train.txt"),
            "test_list": web.url("/test.txt"),
            "images": web.url("/raw/{drive}.zip"),
            "depth": web.url("/depth.zip"),
        }
        self.sums = {"train_list": sum_of(TRAIN.encode()), "test_list": sum_of(TEST.encode())}

    def catalogue(self):
        return load_catalogue("kitti", urls=self.urls, sums=self.sums)

    def plan(self, *only, **options):
        catalogue = self.catalogue()
        return plan_fetch(catalogue, self.root, catalogue.choose(only), **options)

    def fetch(self, *only, given=None, keep_archives=False, progress=silent):
        plan = self.plan(*only, given=given, keep_archives=keep_archives)
        Fetch(progress, self.told.append, keep_archives, pause=lambda _seconds: None).run(plan)

    def fails(self, *only, **options):
        with pytest.raises(SpaceClipError) as caught:
            self.fetch(*only, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def files(self):
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(found)


LISTS = ["kitti_eigen_test_files_with_gt.txt", "kitti_eigen_train_files_with_gt.txt"]


@pytest.fixture
def kitti(tmp_path, web):
    return Kitti(tmp_path / "kitti", web)


def test_kitti_comes_in_its_layout_and_nothing_else_does(kitti):
    kitti.fetch()
    assert kitti.files() == sorted([*LISTS, "checksums.txt", *WANTED, *WANTED_MAPS])
    for drive in DRIVES:
        for name in set(IMAGES[drive]) & set(WANTED):
            assert (kitti.root / name).read_bytes() == IMAGES[drive][name]
    for name in WANTED_MAPS:
        assert (kitti.root / name).read_bytes() == MAPS[name]
    assert {name.split("/")[0] for name in WANTED_MAPS} == {"train", "val"}
    assert kitti.told == []


def test_a_second_run_loads_nothing(kitti):
    kitti.fetch()
    asked = len(kitti.web.asked)
    assert {step.state for step in kitti.plan().steps} == {THERE}
    assert kitti.plan().load == kitti.plan().space == 0
    kitti.fetch()
    assert len(kitti.web.asked) == asked


def test_a_cut_drive_is_gone_on_from(kitti):
    big = np.random.default_rng(0).bytes(400_000)
    kitti.web.files["/raw/2011_09_26_drive_0001.zip"] = content = zipped({**IMAGES[DRIVES[0]], "big": big})
    kitti.web.cuts["/raw/2011_09_26_drive_0001.zip"] = [300_000]
    kitti.fetch("images")
    assert len(content) <= kitti.web.sent("/raw/2011_09_26_drive_0001.zip") < len(content) + (1 << 16)
    assert kitti.files() == sorted([*LISTS, "checksums.txt", *WANTED])


def test_only_what_is_chosen_is_loaded_with_the_lists_it_needs(kitti):
    kitti.fetch("lists")
    assert kitti.files() == ["checksums.txt", *LISTS]
    kitti.fetch("depth")
    assert [path for path, _, _ in kitti.web.asked] == ["/train.txt", "/test.txt", "/depth.zip"]


def test_frames_in_another_usual_layout_are_there(kitti):
    for name, content in {**IMAGES[DRIVES[0]], **IMAGES[DRIVES[1]], **MAPS}.items():
        file = kitti.root / ("data_depth_annotated" if name in MAPS else "raw") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    kitti.fetch()
    assert [path for path, _, _ in kitti.web.asked] == ["/train.txt", "/test.txt"]


def test_a_frame_that_is_missing_again_brings_only_its_drive(kitti):
    kitti.fetch()
    (kitti.root / image_name(DRIVES[1], 6)).unlink()
    asked = len(kitti.web.asked)
    plan = kitti.plan()
    assert [(step.name, step.detail) for step in plan.in_state(FETCH)] == [("images", "1 file of 1 drive")]
    kitti.fetch()
    assert [path for path, _, _ in kitti.web.asked[asked:]] == ["/raw/2011_10_03_drive_0034.zip"]


def test_killed_while_unpacking_the_same_command_goes_on(kitti):
    @contextlib.contextmanager
    def killing(label, _unit):
        def report(done, _total):
            if label == "unpack depth" and done == 2:
                raise KeyboardInterrupt

        yield report

    with pytest.raises(KeyboardInterrupt):
        kitti.fetch("depth", progress=killing)
    assert len([name for name in kitti.files() if "proj_depth" in name]) == 2
    step = next(step for step in kitti.plan("depth").steps if step.name == "depth")
    assert (step.state, step.detail, step.load) == (UNPACK, "2 files", 0)
    kitti.fetch("depth")
    assert kitti.web.sent("/depth.zip") == len(kitti.web.files["/depth.zip"])
    assert kitti.files() == sorted([*LISTS, "checksums.txt", *WANTED_MAPS])


def test_killed_while_a_file_is_written_nothing_half_is_left(kitti, monkeypatch):
    def killed(source, sink, _length):
        sink.write(source.read(3))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spaceclip.extract.fetch.unpack.shutil.copyfileobj", killed)
        with pytest.raises(KeyboardInterrupt):
            kitti.fetch("depth")
    assert kitti.files() == sorted([*LISTS, "checksums.txt", "data_depth_annotated.zip"])


def test_archives_are_kept_on_request_and_where_a_person_put_them(kitti):
    kitti.root.mkdir()
    own = kitti.root / "data_depth_annotated.zip"
    own.write_bytes(kitti.web.files["/depth.zip"])
    kitti.fetch(keep_archives=True)
    kitti.fetch()
    assert own.is_file()
    assert (kitti.root / f"{DRIVES[0]}_sync.zip").is_file()
    assert kitti.web.sent("/depth.zip") == 0


def test_sums_are_noted_and_hold_from_then_on(kitti):
    kitti.fetch(keep_archives=True)
    notes = (kitti.root / "checksums.txt").read_text().splitlines()
    zips = {f"{drive}_sync.zip": sum_of(kitti.web.files[f"/raw/{drive}.zip"]) for drive in DRIVES}
    zips["data_depth_annotated.zip"] = sum_of(kitti.web.files["/depth.zip"])
    assert set(notes) >= {f"{found}  {name}" for name, found in zips.items()}
    kitti.web.files["/depth.zip"] = zipped({**MAPS, "more": b"more"})
    (kitti.root / WANTED_MAPS[0]).unlink()
    (kitti.root / "data_depth_annotated.zip").unlink()
    text = kitti.fails()
    assert f"expected {zips['data_depth_annotated.zip']} (noted in checksums.txt when it was first loaded)" in text
    assert not (kitti.root / "data_depth_annotated.zip").exists()
    kitti.sums["depth"] = sum_of(kitti.web.files["/depth.zip"])
    kitti.fetch(keep_archives=True)
    notes = (kitti.root / "checksums.txt").read_text().splitlines()
    assert [line for line in notes if "annotated" in line] == [f"{kitti.sums['depth']}  data_depth_annotated.zip"]
    del kitti.sums["depth"]
    (kitti.root / WANTED_MAPS[0]).unlink()
    kitti.fetch()


def test_a_zip_put_in_the_place_of_one_loaded_here_is_left(kitti):
    kitti.fetch("depth")
    assert "annotated" not in (kitti.root / "checksums.txt").read_text()
    (kitti.root / WANTED_MAPS[0]).unlink()
    own = kitti.root / "data_depth_annotated.zip"
    own.write_bytes(kitti.web.files["/depth.zip"])
    kitti.fetch("depth")
    assert (kitti.root / WANTED_MAPS[0]).is_file()
    assert own.is_file()


def test_a_file_of_the_user_s_own_that_is_given_its_sum_is_trusted_from_then_on(kitti):
    kitti.fetch("depth", keep_archives=True)
    own = kitti.root / "data_depth_annotated.zip"
    own.write_bytes(zipped({**MAPS, "more": b"more"}))
    (kitti.root / WANTED_MAPS[0]).unlink()
    assert "if you trust it give its sum (--sha256 depth=HEX)" in kitti.fails("depth")
    kitti.sums["depth"] = sum_of(own.read_bytes())
    kitti.fetch("depth")
    del kitti.sums["depth"]
    (kitti.root / WANTED_MAPS[0]).unlink()
    kitti.fetch("depth")
    assert own.is_file()
    assert kitti.files() == sorted([*LISTS, "checksums.txt", own.name, *WANTED_MAPS])


def test_each_file_that_is_loaded_is_hashed_once(kitti, monkeypatch):
    hashed = []

    def hashing(file):
        hashed.append(Path(file).name.removesuffix(".part"))
        return sum_of(Path(file).read_bytes())

    monkeypatch.setattr("pooch.file_hash", hashing)
    kitti.fetch()
    zips = ["data_depth_annotated.zip", *(f"{drive}_sync.zip" for drive in DRIVES)]
    assert sorted(hashed) == sorted([*LISTS, *zips])


def test_a_drive_s_own_address_and_sum(kitti):
    kitti.web.files["/else.zip"] = kitti.web.files.pop(f"/raw/{DRIVES[1]}.zip")
    assert f"{DRIVES[1]}: " in kitti.fails("images")
    kitti.urls[DRIVES[1]] = kitti.web.url("/else.zip")
    kitti.sums[f"{DRIVES[1]}_sync"] = "0" * 64
    assert f"expected {'0' * 64}; deleted" in kitti.fails("images")
    kitti.sums[f"{DRIVES[1]}_sync"] = sum_of(kitti.web.files["/else.zip"])
    kitti.fetch("images")
    assert set(WANTED) < set(kitti.files())


def test_an_archive_that_lacks_listed_frames_is_named_after_all_else_is_done(kitti):
    short = {name: data for name, data in IMAGES[DRIVES[0]].items() if not name.endswith("6.png")}
    kitti.web.files[f"/raw/{DRIVES[0]}.zip"] = zipped(short)
    text = kitti.fails()
    assert f"1 listed file not in {DRIVES[0]}_sync.zip: {image_name(DRIVES[0], 6)}" in text
    assert set(kitti.files()) > set(WANTED_MAPS) | (set(WANTED) - {image_name(DRIVES[0], 6)})


def test_a_damaged_archive_is_deleted_and_can_be_loaded_again(kitti):
    good = kitti.web.files["/depth.zip"]
    name = WANTED_MAPS[1].encode()
    start = good.index(name) + len(name)  # Of the packed bytes behind the member's own header.
    kitti.web.files["/depth.zip"] = (
        good[:start] + bytes(byte ^ 255 for byte in good[start : start + 9]) + good[start + 9 :]
    )
    text = kitti.fails("depth")
    assert "data_depth_annotated.zip is damaged" in text
    assert "run the same command again" in text
    assert not (kitti.root / "data_depth_annotated.zip").exists()
    kitti.web.files["/depth.zip"] = good
    kitti.fetch("depth")
    assert set(WANTED_MAPS) < set(kitti.files())


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damaged_bytes_of_every_packing_are_named(kitti, packing):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packing) as archive:
        for name, data in MAPS.items():
            archive.writestr(name, data)
    torn, name = bytearray(content.getvalue()), WANTED_MAPS[1].encode()
    start = torn.index(name) + len(name) + 12
    torn[start : start + 40] = b"\xff" * 40
    kitti.web.files["/depth.zip"] = bytes(torn)
    assert "data_depth_annotated.zip is damaged" in kitti.fails("depth")


def test_a_damaged_archive_of_the_user_s_own_is_left(kitti):
    kitti.root.mkdir()
    own = kitti.root / "data_depth_annotated.zip"
    own.write_bytes(kitti.web.files["/depth.zip"][:500])
    assert "put an intact one in its place" in kitti.fails("depth")
    assert own.is_file()


def test_a_wrong_list_is_not_taken(kitti):
    kitti.web.files["/train.txt"] += b"\n"
    text = kitti.fails("lists")
    assert f"train_list: {kitti.urls['train_list']} has SHA-256 {sum_of(kitti.web.files['/train.txt'])}" in text
    assert kitti.files() == []


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_a_list_given_by_path_serves_one_fetch_and_never_takes_the_released_one_s_place(kitti, tmp_path, suffix):
    mine = tmp_path / f"mine{suffix}"
    line = TRAIN.splitlines()[0]
    mine.write_text("image,depth,focal\n" + line.replace(" ", ",") if suffix == ".csv" else line + "\n")
    kitti.fetch("images", "depth", given={"train_list": mine})
    images = [image_name(DRIVES[0], 5), image_name(DRIVES[0], 7)]
    assert kitti.files() == sorted([LISTS[0], "checksums.txt", *images, f"train/{DEPTH.format(DRIVES[0], 5)}"])
    assert f"{mine} is not the released list" in kitti.told[0]
    assert f"set `train_list: {mine}` below `data:`" in kitti.told[1]
    kitti.fetch()
    assert (kitti.root / LISTS[1]).read_text() == TRAIN
    assert kitti.files() == sorted([*LISTS, "checksums.txt", *WANTED, *WANTED_MAPS])
    kitti.fetch(given={"train_list": mine})
    assert (kitti.root / LISTS[1]).read_text() == TRAIN


def test_another_list_at_the_root_is_said_to_differ(kitti):
    kitti.root.mkdir()
    (kitti.root / LISTS[1]).write_text(TRAIN.splitlines()[0] + "\n")
    kitti.fetch("lists")
    assert [f"{kitti.root / LISTS[1]} is not the released list" in line for line in kitti.told] == [True]


def test_a_given_list_that_is_none_is_refused(kitti, tmp_path):
    assert "no.txt does not exist: check the path" in kitti.fails(given={"train_list": tmp_path / "no.txt"})
    assert f"{tmp_path} is a folder, expected a file" in kitti.fails(given={"train_list": tmp_path})


@pytest.mark.parametrize("line", ["../../x_drive/a.png None", "2011_09_26/../../2011_09_26_drive_0001_sync/a.png None"])
def test_nothing_is_written_outside_the_root(kitti, tmp_path, line):
    mine = tmp_path / "mine.txt"
    mine.write_text(line + "\n")
    name = line.split()[0]
    kitti.web.files[f"/raw/{DRIVES[0]}.zip"] = zipped({name: b"evil"})
    before = sorted(tmp_path.rglob("*"))
    text = kitti.fails("images", given={"train_list": mine, "test_list": mine})
    assert f"1 listed name not below the data set's root: {name}" in text
    assert sorted(tmp_path.rglob("*")) == before


def test_a_list_of_another_data_set_is_refused_before_anything_is_loaded(kitti, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("kitchen/rgb_1.jpg kitchen/sync_depth_1.png 518.8\n")
    text = kitti.fails("images", given={"train_list": mine, "test_list": mine})
    assert "1 listed image of no KITTI drive: kitchen/rgb_1.jpg" in text
    assert kitti.web.asked == []


NYU_LIST = "/kitchen_0001/rgb_00000.jpg /kitchen_0001/sync_depth_00000.png 518.8579\n"
NYU_FILES = {"kitchen_0001/rgb_00000.jpg": b"jpg", "kitchen_0001/sync_depth_00000.png": png(3)}


@pytest.fixture
def nyu(tmp_path, web):
    web.files |= {"/train": NYU_LIST.encode(), "/test": b"a.jpg b.png\n", "/mat": b"MATLAB 7.3", "/splits": b"MATLAB 5"}
    paths = {"train_list": "/train", "test_list": "/test", "labelled": "/mat", "splits": "/splits"}
    sums = {name: sum_of(web.files[path]) for name, path in paths.items()}
    table = tmp_path / "table.yaml"
    parts = {name: {"url": web.url(path), "sha256": sums[name]} for name, path in paths.items()}
    table.write_text(yaml.safe_dump({"nyu": {"parts": parts}}))

    def fetch(*only, urls=None):
        catalogue = load_catalogue("nyu", table, urls)
        plan = plan_fetch(catalogue, tmp_path / "nyu", catalogue.choose(only))
        Fetch(silent, pytest.fail).run(plan)
        return {step.name: step.state for step in plan.steps}

    return fetch


def test_nyu_comes_in_its_layout_all_but_what_a_person_fetches(nyu, tmp_path):
    assert nyu() == dict.fromkeys(("train_list", "test_list", "labelled", "splits"), FETCH) | {"sync": BY_HAND}
    found = {path.name for path in (tmp_path / "nyu").iterdir()}
    lists = {"nyudepthv2_train_files_with_gt.txt", "nyudepthv2_test_files_with_gt.txt"}
    assert found == lists | {"nyu_depth_v2_labeled.mat", "splits.mat", "checksums.txt"}
    assert nyu() == dict.fromkeys(("train_list", "test_list", "labelled", "splits"), THERE) | {"sync": BY_HAND}


@pytest.mark.parametrize("top", ["sync/", ""])
@pytest.mark.parametrize("by_hand", [True, False])
def test_the_synchronised_set_is_unpacked(nyu, web, tmp_path, top, by_hand):
    archive = zipped({top + name: content for name, content in {**NYU_FILES, "other/rgb_00000.jpg": b"x"}.items()})
    root = tmp_path / "nyu"
    if by_hand:
        root.mkdir()
        (root / "sync.zip").write_bytes(archive)
        assert nyu("sync")["sync"] == UNPACK
    else:
        web.files["/sync.zip"] = archive
        assert nyu("sync", urls={"sync": web.url("/sync.zip")})["sync"] == FETCH
    assert {path.relative_to(root / "sync").as_posix() for path in (root / "sync").rglob("*.*")} == set(NYU_FILES)
    assert (root / "sync" / "kitchen_0001" / "sync_depth_00000.png").read_bytes() == png(3)
    assert (root / "sync.zip").exists() == by_hand
    assert nyu("sync")["sync"] == THERE


def test_a_file_that_is_there_but_wrong_is_never_overwritten(nyu, tmp_path):
    nyu("labelled")
    own = tmp_path / "nyu" / "nyu_depth_v2_labeled.mat"
    own.write_bytes(b"MATLAB cut")
    with pytest.raises(SpaceClipError, match="delete it to load it anew") as caught:
        nyu("labelled")
    assert f"{own} has SHA-256 {sum_of(b'MATLAB cut')}, expected {sum_of(b'MATLAB 7.3')}" in str(caught.value)
    assert own.read_bytes() == b"MATLAB cut"


def test_what_cannot_fit_is_refused(kitti, monkeypatch):
    plan = kitti.plan()
    assert plan.load == 189_003_100_000
    assert plan.space == 3_100_000 + 25_000_000_000 + 20_000_000_000
    assert kitti.plan(keep_archives=True).space == 3_100_000 + 25_000_000_000 + 189_000_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=10**9))
    with pytest.raises(SpaceClipError, match=r"45\.0 GB are needed and 1\.0 GB are free: make room"):
        kitti.plan().check_space()
    kitti.plan("lists").check_space()
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    with pytest.raises(SpaceClipError, match=r"3\.1 MB are needed and 0 bytes are free"):
        kitti.plan("lists").check_space()


def test_what_an_interrupted_load_has_is_not_counted_again(kitti):
    kitti.root.mkdir()
    with (kitti.root / "data_depth_annotated.zip.part").open("wb") as part:
        part.truncate(6_000_000_000)
    assert kitti.plan("depth").load == 8_003_100_000


def test_the_table_is_complete_and_pins_what_is_known():
    for name in ("kitti", "nyu"):
        dataset = load_catalogue(name)
        assert dataset.licence
        assert dataset.cite
        for part in dataset.parts.values():
            assert part.size > 0
            assert part.url or part.by_hand
    sums = {part.to: str(part.sha256) for name in ("kitti", "nyu") for part in load_catalogue(name).parts.values()}
    assert sums["kitti_eigen_train_files_with_gt.txt"].startswith("93ae5e70b3a2824e")
    assert sums["kitti_eigen_test_files_with_gt.txt"].startswith("8d0499af9ab4c0d1")
    assert sums["nyudepthv2_train_files_with_gt.txt"].startswith("66e2beb718a58c5c")
    assert sums["nyudepthv2_test_files_with_gt.txt"].startswith("e92c191d5835a225")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"urls": {"imagse": "http://x/{drive}"}}, "did you mean images?"),
        ({"urls": {"depth": "ftp://x/y"}}, "--url depth=ftp://x/y: expected an address that begins with http"),
        (
            {"urls": {"images": "http://x/a.zip"}},
            "--url images=http://x/a.zip: the address http://x/a.zip is of one file: expected {drive} in it",
        ),
        ({"sums": {"depth": "abc"}}, "--sha256 depth=abc: expected a SHA-256, 64 hexadecimal digits"),
        ({"sums": {"images": "0" * 64}}, "give it by the drive's name"),
        ({"sums": {"2011_09_26_drive_01": "0" * 64}}, "kitti has no such part"),
    ],
)
def test_wrong_addresses_and_sums_are_named(arguments, words):
    with pytest.raises(SpaceClipError) as caught:
        load_catalogue("kitti", **arguments)
    assert words in str(caught.value)
    assert "downloads.yaml" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kitti: {parts: {depth: {adress: x}}}", "kitti.parts.depth.adress: Extra inputs are not permitted"),
        ("kitti: {parts: {more: {what: x}}}", "kitti.parts.more.to: Field required"),
        ("kitti: {parts: {images: null}}", "kitti.parts.images: Input should be a valid dictionary"),
        ("kitti: {parts: [1]}", "kitti.parts: Input should be a valid dictionary"),
        ("kitti: {parts: {images: {drives: null}}}", "kitti.parts.images.drives: Input should be a valid dictionary"),
        ("kitti: {parts: {images: {archive: {of: {nope: [image]}}}}}", "'train_list' or 'test_list'"),
        ("kitti: {parts: {depth: {to: /depth.zip}}}", "kitti.parts.depth.to: found '/depth.zip', expected a place"),
        ("a: [", "not YAML"),
        ("- a", "expected the shape of downloads.yaml"),
        ("kitti: 3", "no data set 'kitti'"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, words):
    table = tmp_path / "table.yaml"
    table.write_text(text)
    with pytest.raises(SpaceClipError) as caught:
        load_catalogue("kitti", table, urls={"images": "http://x/{drive}", DRIVES[0]: "http://x"})
    assert words in str(caught.value)
    assert str(table) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_parts_are_named(kitti):
    with pytest.raises(SpaceClipError, match=r"no part 'image': did you mean images\?"):
        kitti.catalogue().choose(["image"])
    with pytest.raises(SpaceClipError, match="no part 'x': it has lists, train_list"):
        kitti.catalogue().choose(["x"])

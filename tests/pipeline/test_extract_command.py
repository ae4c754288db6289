"""What `spaceclip extract` says and how it exits: quarantine, dry runs, what held a run back."""

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from spaceclip.cache import FeatureCache, only_writer, stored_bytes
from spaceclip.extract import split_extraction
from spaceclip.pipeline.cli import main

CONFIG = ("extract", "--config", "configs/tiny.yaml")


@pytest.fixture
def broken(project, pictures):
    """The experiment over a copy of the pictures of which one is cut short; the whole one by its path."""
    shutil.copytree(pictures, project / "data")
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace(str(pictures), "data"))
    picture = project / "data/rgb/scene03/1.png"
    content = picture.read_bytes()
    picture.write_bytes(content[: len(content) // 2])
    return picture, content


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_the_help_names_each_form_of_an_encoder():
    told = " ".join(run("extract", "--help").output.split())
    assert "Hub id, local folder or embedded:clip-tiny; random:<any of these, or a config.json> for random" in told


def test_what_options_said_wrong_is_named_by_the_options(project, pictures, one_line):
    Path("flat/depth").mkdir(parents=True)
    for file in (pictures / "rgb").rglob("*.png"):
        name = f"{file.parent.name}-{file.name}"
        shutil.copy(file, f"flat/{name}")
        shutil.copy(pictures / "depth" / file.parent.name / file.name, f"flat/depth/{name}")
    flat = ("extract", "--images", "flat", "--depth", "flat/depth", "--depth-scale", "1000", "--out", "features/flat")
    told = one_line(*flat, "--val", "0.1")
    assert "without a scene" in told
    assert "name scenes by an expression (--scene) or in a list's scene column" in told
    assert told.endswith("or divide by samples (--split-by ratio)\n")
    told = one_line(*flat, "--split-by", "column")
    assert "Error: --split-by column needs a list with a split column" in told
    assert told.endswith("or divide by scenes (--split-by scene)\n")
    assert "options: --val: found 2.0; input should be less than 1" in one_line(*flat, "--val", "2")
    assert "options: data.split.val: found 2.0" in one_line(*CONFIG, "--val", "2")


def test_a_bad_picture_stops_the_run_unless_it_may_be_quarantined(broken, spaceclip):
    assert "scene03/1.png" in spaceclip(*CONFIG, fails=True).output
    found = run(*CONFIG, "--on-error", "quarantine")
    assert found.exit_code == 3
    assert "1 of " in found.output
    assert "images quarantined, in no batch: scene03/1: data/rgb/scene03/1.png" in found.output
    assert "--retry-quarantined" in found.output
    pointers = [f"features/tiny/{name}.json" for name in ("train", "val", "test")]
    (pointer,) = (pointer for pointer in pointers if FeatureCache.open(pointer).quarantined)
    told = spaceclip("cache", "info", pointer).output
    assert "1 of them quarantined" in told
    assert "quarantined scene03/1: data/rgb/scene03/1.png" in told
    again = run(*CONFIG)
    assert again.exit_code == 1  # the check before the run stops at it
    again = run(*CONFIG, "--on-error", "quarantine")
    assert again.exit_code == 3
    assert "(0 computed now)" in again.output
    assert "images quarantined, in no batch: scene03/1" in again.output


def test_a_mended_picture_costs_its_shard_and_the_status_is_good_again(broken, spaceclip):
    picture, content = broken
    assert run(*CONFIG, "--on-error", "quarantine").exit_code == 3
    picture.write_bytes(content)
    mended = spaceclip(*CONFIG, "--retry-quarantined")
    computed = [int(found) for found in re.findall(r"\((\d+) computed now\)", mended.output)]
    assert 0 < sum(computed) <= 8
    for split in ("train", "val", "test"):
        assert FeatureCache.open(f"features/tiny/{split}.json").quarantined == {}


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(project, spaceclip):
    told = spaceclip(*CONFIG, "--dry-run").output
    assert len(told.splitlines()) == 4
    assert re.fullmatch(r"features/tiny: about \d+\.\d kB in all \(.* GB free\)", told.splitlines()[3])
    line = r"features/tiny/train-\w{12}\.zarr: 14 of 14 images to compute \(2 of 2 shards\), about \d+\.\d kB "
    tried = r"\(tried 1 image in \d\.\d s; depth \d\.\d m \(\d\.\d to \d\.\d\)\)"
    assert re.match(line + rf"\(.* GB free\) and \d+ s without writing {tried}; on cpu in float32\n", told)
    assert not (project / "features").exists()
    spaceclip(*CONFIG)
    assert "0 of 14 images to compute (0 of 2 shards), about 0 bytes" in spaceclip(*CONFIG, "--dry-run").output


@pytest.mark.usefixtures("forked_workers")
def test_a_dry_run_for_a_cluster_asks_its_workers_and_says_no_time(project, spaceclip):
    told = spaceclip(*CONFIG, "--dry-run", "--workers", "1", "--split", "val").output
    assert re.search(r"about \d+\.\d kB \(.* GB free\) \(tried 1 image in .*\); on the cluster in float32\n$", told)
    assert not (project / "features").exists()


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_splits_that_fit_one_by_one_and_not_together_are_refused_before_the_first(project, spaceclip, monkeypatch, how):
    spaceclip(*CONFIG, "--out", "elsewhere")
    sizes = [stored_bytes(FeatureCache.open(f"elsewhere/{name}.json")) for name in ("train", "val", "test")]
    free = int(0.8 * sum(sizes))
    assert max(sizes) < 0.8 * free
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=free))
    told = spaceclip(*CONFIG, *how, fails=True).output
    assert re.search(r"features/tiny: the 3 stores need \d+\.\d kB more, \d+\.\d kB are free; make room", told)
    assert not (project / "features").exists()
    spaceclip(*CONFIG, "--split", "train", *how)


@pytest.mark.parametrize(("split", "shares"), [("train", ()), ("val", ()), ("test", ("--val", "0.3"))])
def test_a_split_that_these_images_lack_is_one_line(project, pictures, tiny, spaceclip, split, shares):
    options = ("--images", pictures / "rgb", "--backbone", tiny, "--layers", "0", "--out", "out", "--split", split)
    told = spaceclip("extract", *options, *shares, fails=True).output
    assert f"--split {split}: the data set has no such split, it has {'train, val' if shares else 'all'}" in told
    assert not Path("out").exists()


def test_a_split_that_an_experiment_lacks_is_nothing_to_do(project, spaceclip):
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("val: 0.2, ", ""))
    assert "none, the data set has no val split" in spaceclip(*CONFIG, "--split", "val").output


def test_what_should_be_known_of_the_images_is_said_once(pictures, tiny, spaceclip, tmp_path):
    images = shutil.copytree(pictures / "rgb", tmp_path / "rgb")
    (images / "scene00/IMG_1.heic").touch()
    told = spaceclip(
        *("extract", "--images", images, "--backbone", tiny, "--layers", "0", "--out", tmp_path / "out", "--val", 0.3)
    ).output
    assert told.count("data: 1 file skipped (1 .heic): scene00/IMG_1.heic; images end in .jpg") == 1


def test_a_run_says_what_it_will_take_and_what_held_it_back(project, spaceclip):
    told = spaceclip(*CONFIG, "--split", "train").output.splitlines()
    assert re.match(r"extract train: 14 of 14 images to compute \(2 of 2 shards\), about \d+\.\d kB \(", told[0])
    assert re.fullmatch(
        r"extract train: [\d,.]+ images/s, [\d,]+ MB/s; alone: decoding [\d,.]+ \(busy \d+%\), encoding [\d,.]+ "
        r"\(busy \d+%\), writing [\d,.]+ \(busy \d+%\) images/s; the host's threads took [\d.]+ ms an image; "
        r"(no stage binds|(decoding|encoding|writing) binds, busy \d+%).*",
        told[1],
    )
    assert len(told) == 3
    again = spaceclip(*CONFIG, "--split", "train").output.splitlines()
    assert len(again) == 1


def test_a_second_run_on_a_store_is_told_who_has_it(project, spaceclip):
    store = FeatureCache.open(_extracted(spaceclip)).path
    with only_writer(store):
        assert "(0 computed now)" in spaceclip(*CONFIG, "--split", "val").output  # there is nothing to write
        Path(str(store), "ledger/000000.json").unlink()
        told = spaceclip(*CONFIG, "--split", "val", fails=True).output
    assert re.search(r"process \d+ on \S+ is writing this store; wait for it, or end it", told)


def _extracted(spaceclip):
    spaceclip(*CONFIG, "--split", "val")
    return "features/tiny/val.json"


@pytest.mark.usefixtures("forked_workers")
def test_a_cluster_of_this_machine_leaves_the_same_store(project, spaceclip):
    alone = spaceclip("extract", "--config", "configs/tiny.yaml", "--split", "train", "--out", "alone").output
    together = spaceclip(
        *("extract", "--config", "configs/tiny.yaml", "--split", "train", "--out", "together", "--workers", "2")
    ).output
    assert ("dashboard: " in together) == (find_spec("bokeh") is not None)
    assert "bokeh" not in together
    assert together.splitlines()[-1].replace("together", "alone") == alone.splitlines()[-1]
    assert FeatureCache.open("together").digest == FeatureCache.open("alone").digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gpus",), "give --scheduler ADDRESS, or --workers N"),
        (("--scheduler", "tcp://127.0.0.1:1", "--workers", "2"), "give --scheduler ADDRESS, or --workers N"),
        (("--workers", "64", "--gpus"), "GPUs are here; give as many workers or fewer"),
        (("--workers", "2", "--device", "tpu"), "device 'tpu': not on this machine"),
        # The device is the workers': this machine needs to have none.
        (("--scheduler", "tcp://127.0.0.1:1", "--device", "cuda"), "tcp://127.0.0.1:1: no scheduler answers there"),
    ],
)
def test_a_cluster_that_cannot_be_is_one_line(project, spaceclip, monkeypatch, options, message):
    monkeypatch.setattr("spaceclip.cache.cluster.connection._CONNECT_SECONDS", 0.5)
    assert message in spaceclip("extract", "--config", "configs/tiny.yaml", *options, fails=True).output


def test_experiments_that_name_the_same_features_share_one_store(project, spaceclip):
    spaceclip(*CONFIG)
    config = project / "configs/wide.yaml"
    config.write_text(f"features: tiny\n{(project / 'configs/tiny.yaml').read_text().replace('[16,', '[24,')}")
    told = spaceclip("extract", "--config", config).output
    assert told.count("(0 computed now) in features/tiny/") == 3
    assert not list(project.glob("features/wide/*.zarr"))
    theirs, ours = (FeatureCache.open(f"features/{name}/train.json").path for name in ("tiny", "wide"))
    assert Path(str(ours)).samefile(str(theirs))
    assert "results/wide: " in spaceclip("train", "--config", config).output


def test_names_that_are_no_text_or_look_like_formulas_are_extracted(pictures, tiny, spaceclip, tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(pictures / "rgb/scene00", root / "a$b$c/$x$")
    options = ("--images", root, "--backbone", tiny, "--layers", "0", "--store", root / "stores")
    spaceclip("extract", *options, "--out", root / "out")
    assert FeatureCache.open(root / "out").sample_ids == ["a$b$c/$x$/0", "a$b$c/$x$/1"]


class TestAnotherDataSetInTheSameFolder:
    @pytest.fixture
    def changed(self, extracted):
        """The experiment once it keeps other layers and divides by another seed."""
        file = extracted / "configs/tiny.yaml"
        text = (
            file.read_text()
            .replace("layers: [0, 1, 2, 3]", "layers: [1, 2, 3]")
            .replace("by: scene,", "by: scene, seed: 3,")
        )
        file.write_text(text)
        return extracted / "features/tiny"

    def test_a_run_stopped_in_a_later_split_leaves_no_pointer_of_the_old(self, changed, spaceclip, monkeypatch):
        fill = split_extraction._fill

        def interrupted(source, *rest):
            if rest[2].path.name.startswith("test-"):
                raise KeyboardInterrupt
            return fill(source, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(split_extraction, "_fill", interrupted)
            spaceclip(*CONFIG, fails=True)
        assert sorted(file.name for file in changed.glob("*.json")) == ["train.json", "val.json"]
        again = spaceclip(*CONFIG).output
        assert "(0 computed now)" in again
        assert (changed / "test.json").exists()

    def test_a_failure_in_the_first_split_leaves_all_pointers(self, changed, spaceclip, monkeypatch, contents):
        before = {
            name: found for name, found in contents(changed).items() if name.endswith("n.json") and "/" not in name
        }

        def interrupted(*_arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(split_extraction, "_fill", interrupted)
        spaceclip(*CONFIG, fails=True)
        after = contents(changed)
        assert {name: after[name] for name in before} == before
        assert len(list(changed.glob("*.json"))) == 3

    def test_a_dry_run_names_the_store_that_each_pointer_means_now(self, changed, spaceclip):
        told = spaceclip(*CONFIG, "--dry-run").stderr
        for split in ("train", "val", "test"):
            assert f"features/tiny/{split}.json means features/tiny/{split}-" in told

    def test_scenes_that_move_between_splits_are_named(self, changed, spaceclip):
        held = {s: set(FeatureCache.open(changed / f"{s}.json").scenes) for s in ("train", "val", "test")}
        told = spaceclip(*CONFIG).stderr
        new = {s: set(FeatureCache.open(changed / f"{s}.json").scenes) for s in held}
        moved = {scene for s in held for scene in held[s] - new[s]}
        assert moved
        assert told.count("move between splits") == 1
        assert f"data: {2 * len(moved)} images of {len(moved)} scenes move between splits: " in told
        ((scene, old, now),) = re.findall(r"splits: (\w+) \((\w+) to (\w+)\)", told)
        assert scene in held[old]
        assert scene in new[now]
        assert "move between" not in spaceclip(*CONFIG).stderr


def test_quarantined_pictures_are_not_counted_as_computed(broken):
    found = run(*CONFIG, "--on-error", "quarantine")
    computed = [int(number) for number in re.findall(r"\((\d+) computed now\)", found.output)]
    assert sum(computed) == 23

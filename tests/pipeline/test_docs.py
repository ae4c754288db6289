"""Every command that README.md and docs/ tell a reader to type is typed here, on made-up data with a tiny encoder."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from distributed import Client
from documents import DOCUMENTS, ROOT, Reader, blocks, commands
from dvcproject import Project
from madeup import MadeUp, write_frame
from PIL import Image
from spaceclip.cache import FeatureCache
from spaceclip.pipeline.cli import main
from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel
from videos import write_video
from warm import command_folder

NOT_HERE = {"kubectl", "srun", "sbatch", "dask"}
"""Programs of clusters, which no test machine has; what they start is tested in tests/extract."""

ENCODER = "openai/clip-vit-base-patch16"
SMALL = {
    "decoder": {"hidden_size": 16, "channels": [8, 8, 8, 8], "film_hidden": 8},
    "train": {"epochs": 1, "batch_size": 2, "figures": 0},
    "evaluate": {"figures": 1},
}
TOY = [f"--set={name}.{key}={value}" for name in ("decoder", "train") for key, value in SMALL[name].items()]
DEMO = [
    f"--set={setting}"
    for setting in ("backbone.name=embedded:clip-tiny", "data.height=192", "data.width=256", "decoder.hidden_size=192")
]
SCENES = {"scenes": 8, "views_per_scene": 1, "height": 24, "width": 32}


@pytest.fixture(scope="session")
def somebody(tmp_path_factory) -> Path:
    """The folder of somebody who has pictures, depth, both data sets and an encoder, and has trained on NYU."""
    root = tmp_path_factory.mktemp("somebody")
    # As deep as ViT-B/16, and in a folder named as the default encoder is on the hub.
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    CLIPVisionModel(CLIPVisionConfig.from_dict(shape)).save_pretrained(root / ENCODER)
    (root / "configs").mkdir()
    for file in (ROOT / "configs").glob("*.yaml"):
        settings = yaml.safe_load(file.read_text())
        settings["backbone"] = {"name": ENCODER}
        settings["data"] |= SCENES if settings["data"]["kind"] == "synthetic" else {}
        for section, values in SMALL.items():
            settings[section] = {**settings.get(section, {}), **values}
        (root / "configs" / file.name).write_text(yaml.safe_dump(settings))
    (root / "configs/studies").mkdir()
    shutil.copy(ROOT / "configs/studies/dvc.yaml", root / "configs/studies")
    for file in {*(ROOT / "configs/studies").glob("*.yaml")} - {ROOT / "configs/studies/dvc.yaml"}:
        (root / "configs/studies" / file.name).write_text(
            yaml.safe_dump({**yaml.safe_load(file.read_text()), "seeds": [42]}, sort_keys=False)
        )
    shutil.copy(ROOT / "params.yaml", root)
    (root / "docs").mkdir()
    shutil.copy(ROOT / "docs/host_example.py", root / "docs")
    MadeUp.kitti(root / "data/kitti")
    MadeUp.nyu(root / "data/nyu", size=(480, 640))
    MadeUp.labelled(root / "data/nyu", frames=14, size=(480, 640))
    for number in range(20):
        name = f"{number // 2:02d}/{number % 2}.png"
        write_frame(root / "data/rgb" / name, root / "data/depth" / name, (48, 64), 1 + number / 20, 5, 1000)
    (root / "home/pictures/trip").mkdir(parents=True)
    for number in range(6):
        Image.fromarray(np.full((40, 60, 3), 40 * number, np.uint8)).save(root / f"home/pictures/trip/{number:03d}.jpg")
    shutil.copy(root / "home/pictures/trip/003.jpg", root / "photo.jpg")
    (root / "clips").mkdir()
    for name in ("clip.mp4", "clips/a.mov"):
        write_video(root / name, [np.full((40, 60, 3), 80 * number, np.uint8) for number in range(3)])
    # Where the record of a checkpoint, which knows a folder by its last name, finds the encoder.
    (root / Path(ENCODER).name).symlink_to(ENCODER)
    with contextlib.chdir(root):
        for command in ("extract", "train"):
            done = CliRunner().invoke(main, [command, "--config", "configs/nyu.yaml"])
            assert done.exit_code == 0, done.output
        for sample in FeatureCache.open("features/nyu/test.json").sample_ids:
            file = Path(f"maps/other/{sample}.npy")
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.full((48, 64), 2, np.float32))
    return root


class Slurm:
    """Stands for dask_jobqueue's cluster: there is no SLURM here."""

    scheduler_address = "tcp://head:8786"

    def __init__(self, **options: object) -> None:
        assert options["cores"]

    def scale(self, jobs: int) -> None:
        assert jobs


def is_typed_later(document: str, words: list[str]) -> bool:
    """Whether a later document has the same command: ablations and studies take seconds, and need not be made twice."""
    later = DOCUMENTS[DOCUMENTS.index(document) + 1 :]
    return any(words in commands(one.text) for name in later for one in blocks(name) if one.language == "sh")


@pytest.fixture
def reader(document, somebody, tmp_path, monkeypatch, spaceclip, s3):
    """Types what a document says, in a copy of that folder."""
    here = shutil.copytree(somebody, tmp_path / "here")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=Slurm))

    def make(words):
        subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)

    def run(words):
        if words[0] in ("study", "report", "probe") and is_typed_later(document, ["spaceclip", *words]):
            return
        words = [word.replace("/mnt/", f"{tmp_path}/mnt/") for word in words]
        if words[0] in ("predict", "export"):  # what `make demo` leaves
            shutil.copytree("results/nyu", "results/demo", dirs_exist_ok=True)
        if words[0] == "evaluate" and "results/demo" in words:
            for command in ("extract", "train"):
                spaceclip(command, "--config", "configs/demo.yaml", *DEMO)
        if words[:2] == ["data", "fetch"]:
            found = spaceclip(*words[:-1], "an/empty/disk", fails=True)
            assert "there is no terminal to ask on" in found.output
        elif {"--workers", "--scheduler"} & {*words}:
            at = words.index("--workers" if "--workers" in words else "--scheduler")
            with Client(n_workers=1, processes=False, dashboard_address=":0") as client:
                spaceclip(*words[:at], "--scheduler", client.scheduler_info()["address"])
        else:
            spaceclip(*words, *(TOY if words[0] == "train" and "--config" not in words else ()))

    with command_folder(tmp_path) as folder:
        project = Project(here, folder)

        def dvc(words):
            if words[:2] == ["exp", "run"] and is_typed_later(document, ["dvc", *words]):
                return
            if not (here / ".git").exists():
                project.lay_out()
            if words[:2] == ["queue", "start"]:
                assert project.dvc("queue", "status").count("Queued") == 4
            else:
                project.dvc(*words)
            if words[0] == "repro":
                project.commit()

        typed_elsewhere = dict.fromkeys((".", "export", *NOT_HERE), lambda words: None)
        yield Reader({"make": make, "spaceclip": run, "dvc": dvc, **typed_elsewhere}, {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_tells_to_type_works(document, reader):
    for block in blocks(document):
        reader.read(block)

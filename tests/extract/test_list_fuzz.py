"""Lists of files, mutated: whatever stands in them, one line or samples."""

import random

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.extract import FolderData, NyuData, open_splits

LISTS = {
    "list.txt": b"a/0.png a/0.npy 518.8\na/1.png None 518.8\nb/0.png b/0.npy 518.8\n",
    "list.csv": b"image,depth,scene,id,split,focal\na/0.png,a/0.npy,s,one,train,500\nb/0.png,,t,two,val,\n",
    "list.jsonl": b'{"image": "a/0.png", "split": "val"}\n{"image": "b/0.png", "id": 7, "depth": null, "focal": 5}\n',
}
ODD = b". .. / // \\ \0 $ $$ None NaN Infinity -1 1e999 \" ' , { } \xff \xc3\xa9 \xe2\x80\xa8 \xef\xbb\xbf \\ud800 \\n"
TOKENS = [*ODD.split(b" "), b"\r", b"\n", b" ", b"\t", b"9" * 5000, b"[" * 2000, b"a" * 300]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    for name in ("a/0", "a/1", "b/0"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(root / f"{name}.png")
        np.save(root / f"{name}.npy", np.ones((4, 6), np.float32))
    return root


def mutated(content: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 4)):
        start = draw.randint(0, len(content))
        stop = min(len(content), start + draw.choice([0, 0, 1, 3, 9]))
        content = content[:start] + draw.choice([*TOKENS, draw.randbytes(2)]) + content[stop:]
    return content


def used_or_refused(settings) -> None:
    message = ""
    try:
        for source in open_splits(settings).values():
            source.check()
            for index in range(len(source.entries)):
                source.load(index)
    except SpaceClipError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("name", LISTS)
def test_a_mutated_list_is_used_or_refused_in_one_line(images, tmp_path, name):
    draw = random.Random(f"{name} 1")
    for _ in range(60):
        (tmp_path / name).write_bytes(mutated(LISTS[name], draw))
        used_or_refused(FolderData(images=images, manifest=tmp_path / name, depth_scale=1000))


@pytest.mark.parametrize(
    "line", [". . 1", ".. .. 1", "/ / 1", "./. None 1", "a/.. a/0.npy 1", "a/0.png . 1", "a/0.png/ a 1"]
)
def test_lines_that_name_no_file_are_refused(images, tmp_path, line):
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(SpaceClipError, match=r"list\.txt:1: the path .* names no file|not found"):
        open_splits(FolderData(images=images, manifest=tmp_path / "list.txt"))


def test_a_mutated_list_of_a_data_set_is_used_or_refused_in_one_line(made_up, tmp_path):
    made_up.nyu(tmp_path / "nyu")
    file = next((tmp_path / "nyu").glob("*train*.txt"))
    content, draw = file.read_bytes(), random.Random(1)
    for _ in range(60):
        file.write_bytes(mutated(content, draw))
        used_or_refused(NyuData(root=tmp_path / "nyu"))

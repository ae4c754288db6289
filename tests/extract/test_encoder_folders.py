"""Encoder folders that are damaged, or meant to do harm: one line, whatever is in them."""

import json
import random
import shutil

import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.extract import load_backbone

ODD = [0, -1, 1, 3, 7, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, "32", "owner/repo", None, True, [], [32, 32], {}, "\0"]


def loaded_or_refused(folder) -> bool:
    """Whether it is refused; anything but a refusal in one line fails the test."""
    message = ""
    try:
        load_backbone(str(folder), precision="float32")
    except SpaceClipError as error:
        message = str(error)
    assert "\n" not in message
    return bool(message)


@pytest.fixture
def folder(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "tower")


def settings(content) -> list:
    """Every (dictionary, key) of a nested configuration."""
    inner = [pair for value in content.values() if isinstance(value, dict) for pair in settings(value)]
    return [(content, key) for key in content] + inner


@pytest.mark.parametrize("seed", range(12))
def test_odd_settings_are_refused_or_harmless(folder, seed):
    draw, file = random.Random(seed), folder / "config.json"
    content = json.loads(file.read_text())
    for _ in range(draw.randint(1, 3)):
        place, key = draw.choice(settings(content))
        place[key] = draw.choice(ODD)
    extra = ("attn_implementation", "_attn_implementation", "quantization_config", "auto_map", "dtype", "torch_dtype")
    content[draw.choice(extra)] = draw.choice(ODD)
    file.write_text(json.dumps(content))
    loaded_or_refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"vision_config": ' * 100_000,
        b'{"model_type": "clip", "vision_config": 3}',
        b'{"model_type": "clip_vision_model", "hidden_size": ' + b"9" * 5000 + b"}",
        b'{"model_type": ["clip"]}',
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_a_configuration_that_is_none_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    assert loaded_or_refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_refused_or_harmless(folder, name, seed):
    draw, file = random.Random(seed), folder / name
    content = bytearray(file.read_bytes())
    start = draw.randrange(min(len(content), 9000))  # safetensors' header comes first
    if draw.random() < 0.3:
        del content[start:]
    else:
        content[start : start + draw.randint(1, 8)] = draw.randbytes(draw.randint(0, 8))
    file.write_bytes(content)
    loaded_or_refused(folder)

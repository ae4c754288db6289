"""What an experiment's file may hold: plain values, each once; anything else is one line."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.extract import read_yaml
from spaceclip.pipeline.config import load_experiment

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!int xyz", "not YAML: line 1: tag tag:yaml.org,2002:int; give a plain value"),
        ("a: !!timestamp xyz", "give a plain value"),
        ("a: !!python/object/apply:os.getcwd []", "give a plain value"),
        (BOMB, "not YAML: line 2: alias *a; write the settings out"),
        ("a: " + "[" * 100_000, "over 100,000 bytes, expected a file of settings"),
        ("a: " + "[" * 5000, "not YAML: line 1: nested more than 20 deep"),
        ("{a: " * 5000, "not YAML: line 1: nested more than 20 deep"),
        ("train: {seed: 1}\ndata: {}\ntrain: {seed: 2}", "not YAML: line 3: train stands in line 1 already; keep one"),
        ("train:\n  seed: 1\n  seed: 2", "not YAML: line 3: seed stands in line 2 already; keep one"),
        ("train: {seed: 1, seed: 2}", "not YAML: line 1: seed stands in line 1 already; keep one"),
        ("a: " + "9" * 5000, "not YAML"),
        ("? [a]\n: 1", "not YAML: line 1: found unhashable key"),
        ("a: b: c", "not YAML: line 1: mapping values are not allowed here"),
        ("\x00", "not YAML"),
        ("a: 1\n---\nb: 2", "not YAML"),
    ],
)
def test_what_is_no_settings_is_one_line(file, text, message):
    file.write_text(text)
    with pytest.raises(SpaceClipError) as raised:
        read_yaml(file)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["1e-3", "3E4", "-1e+3", ".5e-2", "2.e3", "1.0e+9"])
def test_a_number_with_an_exponent_is_a_number(file, text):
    file.write_text(f"a: {text}")
    assert read_yaml(file) == {"a": float(text)}


@pytest.mark.parametrize("text", ["e3", "1e", "1e-3x", "0xe3", "'1e-3'"])
def test_what_only_begins_like_a_number_stays_text(file, text):
    file.write_text(f"a: [{text}]")
    assert read_yaml(file)["a"] in (["e3"], ["1e"], ["1e-3x"], [0xE3], ["1e-3"])


@pytest.mark.parametrize("value", ["2026-01-01", "2026-01-01T10:00:00", "2026-13-45"])
def test_a_date_for_a_number_is_named_like_any_other_wrong_value(file, value):
    file.write_text(f"data: {{kind: synthetic}}\ntrain: {{seed: {value}}}")
    with pytest.raises(SpaceClipError, match=rf"train\.seed: found '{value}'; input should be a valid integer"):
        load_experiment(file)


def test_bytes_that_are_no_text_and_a_folder_are_one_line(file, tmp_path):
    file.write_bytes(b"a: \xff\xfe")
    with pytest.raises(SpaceClipError, match="not YAML"):
        read_yaml(file)
    with pytest.raises(SpaceClipError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path)


_WORDS = [
    *("data", "kind", "synthetic", "folder", "train", "seed", "split", "images", "!!int", "!!set", "<<", "null"),
    *("2026-01-01", "1e999", ".nan", "0x", "1:30", "yes"),
]
_PIECES = st.sampled_from([*"[]{}:,-?&*!|>%@#'\"\n \t=~<\x85\u2028", "  ", ": ", "- ", *_WORDS])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(_PIECES, max_size=25))
def test_no_text_is_a_traceback(file, pieces):
    file.write_text("".join(pieces), encoding="utf-8")
    with suppress(SpaceClipError):
        load_experiment(file)

"""`spaceclip report`: the page of a run, made again from what lies in its folder."""

import json
import re
import shutil
from pathlib import Path

import pytest

CONFIG = ("--config", "configs/tiny.yaml")


@pytest.fixture
def evaluated(trained, spaceclip):
    spaceclip("evaluate", *CONFIG)
    return trained


def test_the_page_is_that_of_the_evaluation_with_as_many_images_as_asked_for(evaluated, spaceclip):
    page, numbers = Path("results/tiny/report.html"), Path("results/tiny/results.json")
    written, before = page.read_text(), numbers.read_bytes()
    page.unlink()
    assert spaceclip("report", "results/tiny").output == f"{page}\n"
    assert page.read_text() == written
    assert numbers.read_bytes() == before
    spaceclip("report", "results/tiny", "--images", 3)
    assert len(re.findall("<figure", written)) == json.loads(before)["rows"][0]["images"] == 6
    assert re.findall('data-group="(.*?)"', page.read_text()) == ["best", "median", "worst"]


def test_a_run_is_refused_in_one_line_where_its_page_could_not_be_made_whole(evaluated, spaceclip, one_line):
    written = Path("results/tiny/report.html").read_bytes()
    Path("empty").mkdir()
    assert "empty: holds neither results.json nor study.json" in one_line("report", "empty")
    Path("features").rename("moved")
    assert "features/tiny: the features are not there" in one_line("report", "results/tiny")
    assert "other samples than were scored" in one_line("report", "results/tiny", "--features", "moved/tiny/val.json")
    spaceclip("report", "results/tiny", "--features", "moved/tiny")
    assert Path("results/tiny/report.html").read_bytes() == written


def test_weights_that_were_replaced_are_not_shown_with_the_numbers_of_others(evaluated, spaceclip, one_line):
    spaceclip("train", *CONFIG, "--seed", 5, "--out", "other")
    for name in ("checkpoint.json", "checkpoint.safetensors"):
        shutil.copy(f"other/{name}", f"results/tiny/{name}")
    assert "was trained anew since results/tiny was written" in one_line("report", "results/tiny")

"""`spaceclip report`: the page of a run, made again from what lies in its folder."""

import base64
import io
import json
import os
import platform
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import FeatureCache
from spaceclip.evaluate import FeatureViews
from spaceclip.train import provenance

CONFIG = ("--config", "configs/tiny.yaml")


@pytest.fixture
def evaluated(trained, spaceclip):
    spaceclip("evaluate", *CONFIG)
    return trained


def test_the_page_is_that_of_the_evaluation_with_the_time_of_training_and_as_many_images_as_asked_for(
    evaluated, spaceclip
):
    page, numbers = Path("results/tiny/report.html"), Path("results/tiny/results.json")
    written, before = page.read_text(), numbers.read_bytes()
    page.unlink()
    assert spaceclip("report", "results/tiny").output == f"{page}\n"
    before_time, time, after = page.read_text().partition("<details>\n<summary>Time of the training run</summary>")
    assert time
    assert before_time + after.partition("</details>\n")[2] == written
    assert numbers.read_bytes() == before
    spaceclip("report", "results/tiny", "--images", 3)
    assert len(re.findall("<figure", written)) == json.loads(before)["rows"][0]["images"] == 6
    assert re.findall('data-group="(.*?)"', page.read_text()) == ["best", "median", "worst"]


def test_the_page_shows_what_every_layer_holds_of_some_images_patch_by_patch(evaluated):
    val = FeatureCache.open("features/tiny/test.json")
    views = FeatureViews.of(val, range(len(val)), val.layers)
    section = Path("results/tiny/report.html").read_text().partition("What the layers hold")[2].partition("</table>")[0]
    header, *rows = re.findall("<tr>(.*?)</tr>", section, re.DOTALL)
    assert re.findall('col">(.*?)<', header)[:2] == ["image", "depth"]
    assert len(rows) == 6
    for row in rows:
        (name,) = re.findall('row">(.*?)<', row)
        pictures = [base64.b64decode(content) for content in re.findall('base64,(.*?)"', row)]
        for view, content in zip(views.layers, pictures[2:], strict=True):
            found = np.asarray(Image.open(io.BytesIO(content)))
            expected = view.colours[val.sample_ids.index(name)].astype(int)
            assert np.abs(found - expected).max() <= 1  # images in another order give other last bits


def test_a_run_is_refused_in_one_line_where_its_page_could_not_be_made_whole(evaluated, spaceclip, one_line):
    spaceclip("report", "results/tiny")
    written = Path("results/tiny/report.html").read_bytes()
    Path("empty").mkdir()
    assert "empty: holds neither results.json nor study.json" in one_line("report", "empty")
    Path("features").rename("moved")
    assert "features/tiny: the features are not there" in one_line("report", "results/tiny")
    assert "not those that were scored" in one_line("report", "results/tiny", "--features", "moved/tiny/val.json")
    spaceclip("report", "results/tiny", "--features", "moved/tiny")
    assert Path("results/tiny/report.html").read_bytes() == written


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Has this code lie in another commit, with other libraries, on another machine."""

    def move(commit):
        git = tmp_path / "bin" / "git"
        git.parent.mkdir(exist_ok=True)
        git.write_text(f"#!/bin/sh\necho {commit}\n")
        git.chmod(0o755)
        monkeypatch.setenv("PATH", str(git.parent), prepend=os.pathsep)
        provenance._commit.cache_clear()
        monkeypatch.setattr(platform, "python_version", lambda: f"3.{commit[:2]}")

    yield move
    provenance._commit.cache_clear()


def test_the_page_of_the_same_files_is_the_same_in_another_commit_and_on_another_machine(
    evaluated, spaceclip, elsewhere
):
    page = Path("results/tiny/report.html")
    of_evaluate = page.read_bytes()
    spaceclip("report", "results/tiny")
    of_report = page.read_bytes()
    for commit in ("11" * 20, "22" * 20):
        elsewhere(commit)
        spaceclip("report", "results/tiny")
        assert page.read_bytes() == of_report
    spaceclip("evaluate", *CONFIG)
    assert page.read_bytes() == of_evaluate


def test_the_page_names_the_commit_that_trained_the_weights_and_not_the_one_that_draws_it(
    extracted, spaceclip, elsewhere
):
    elsewhere("33" * 20)
    spaceclip("train", *CONFIG)
    elsewhere("44" * 20)
    spaceclip("evaluate", *CONFIG)
    text = Path("results/tiny/report.html").read_text()
    assert f"commit {'33' * 20}" in text
    assert "3.33 on" in text
    assert "44" * 20 not in text


def test_weights_that_were_replaced_are_not_shown_with_the_numbers_of_others(evaluated, spaceclip, one_line):
    spaceclip("train", *CONFIG, "--seed", 5, "--out", "other")
    for name in ("checkpoint.json", "checkpoint.safetensors"):
        shutil.copy(f"other/{name}", f"results/tiny/{name}")
    assert "was trained anew since results/tiny was written" in one_line("report", "results/tiny")

"""The page of `spaceclip app`, in a real browser where Gradio is installed."""

import signal
import socket
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from browser import BROWSER, Browser
from PIL import Image
from spaceclip import SpaceClip

needs_page = pytest.mark.skipif(not (find_spec("gradio") and BROWSER), reason="needs Gradio and Chromium")

TEXTS = "[...document.querySelectorAll('textarea, input[type=text]')].map(text => text.value)"
PICTURE = "[...document.querySelectorAll('img')].find(image => image.src.endsWith('.png') && image.naturalWidth > 240)"


def test_without_gradio_one_line_names_the_extra(trained_once, one_line, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    told = one_line("app", trained_once / "results/tiny")
    assert told == "Error: gradio is not installed, which this needs: pip install 'spaceclip[app]'\n"


@pytest.fixture(scope="module")
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def command(trained_once, tiny, port):
    run = "import sys; from spaceclip.pipeline.cli import main; main()"
    return [
        sys.executable,
        "-c",
        run,
        "app",
        str(trained_once / "results/tiny"),
        f"--backbone={tiny}",
        f"--port={port}",
    ]


@pytest.fixture(scope="module")
def server(command, port):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == f"http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        yield f"http://127.0.0.1:{port}"
        running.send_signal(signal.SIGINT)


@pytest.fixture
def page(server, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.call("Page.navigate", url=server)
        browser.wait_for("document.querySelector('input[type=file]') !== null")
        yield browser


def box(page, element):
    """Left, top, width and height of an element, pixels."""
    return [page.evaluate(f"{element}.getBoundingClientRect().{side}") for side in ("left", "top", "width", "height")]


@needs_page
def test_a_photograph_gives_depth_metres_at_a_click_and_points(page, trained_once, tiny, tmp_path):
    photo = np.random.default_rng(3).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    depth = SpaceClip.from_pretrained(trained_once / "results/tiny", backbone=tiny, device="cpu").predict(photo).depth

    page.choose_file("input[type=file]", tmp_path / "photo.png")
    said = page.wait_for(f"{TEXTS}.find(text => text.startsWith('DepthMap'))")
    assert f"DepthMap 200 x 240, {depth.min():.2f} to {depth.max():.2f} metres" in said
    assert "points are drawn for 60 degrees" in said
    before = page.wait_for(f"{PICTURE}?.src")

    left, top, width, _ = box(page, PICTURE)
    shown = width / page.evaluate(f"{PICTURE}.naturalWidth")
    page.click(left + 60.5 * shown, top + 50.5 * shown)
    told = page.wait_for(f"{TEXTS}.find(text => text.includes(' m at column'))")
    metres, _, _, _, column, _, row = told.replace(",", "").split()
    assert abs(int(column) - 60) <= 1
    assert abs(int(row) - 50) <= 1
    assert metres == f"{depth[int(row), int(column)]:.2f}"

    page.wait_for("performance.getEntriesByType('resource').some(one => one.name.endsWith('points.glb'))")
    page.wait_for("document.querySelector('canvas') !== null")
    left, top, width, height = box(page, "document.querySelectorAll('input[type=range]')[1]")
    page.click(left + 0.9 * width, top + height / 2)
    page.wait_for(f"{PICTURE}?.src !== undefined && {PICTURE}.src !== {before!r}")


@needs_page
def test_what_cannot_be_read_is_one_line_on_the_page(page, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-900])
    page.choose_file("input[type=file]", tmp_path / "cut.png")
    page.wait_for("document.body.innerText.includes('damaged or cut short; copy it again')")


@needs_page
def test_a_port_that_is_taken_is_one_line(server, command, port):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: port {port} of 127.0.0.1 is not free; give another --port\n"

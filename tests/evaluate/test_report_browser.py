"""The page in a real browser."""

import shutil
import subprocess

import numpy as np
import pytest
from spaceclip.evaluate import Example, Results, Row, run_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed")

KEYS = """
<script>
const told = [];
function press(key, target = document.body) {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  told.push(document.querySelector("figure[aria-current] b")?.textContent ?? "none");
}
function choose(name, value) {
  const menu = document.querySelector(`select[name=${name}]`);
  menu.value = value;
  menu.dispatchEvent(new Event("change"));
  told.push(document.querySelector("output").textContent);
}
press("ArrowRight");
press("ArrowRight");
press("ArrowRight", document.querySelector(".wide"));
press("ArrowLeft");
press("ArrowLeft");
told.push(document.activeElement === document.querySelector("figure"));
choose("group", "worst");
press("ArrowRight");
press("ArrowLeft");
choose("scene", document.querySelector("figure[aria-current]").dataset.scene);
choose("group", "");
document.body.dataset.told = told.join("|");
</script>
</body>
"""


@pytest.fixture
def make_page(make_maps, scored, facts):
    """Makes a page of some images, two of each scene; gives it, and the images in the order of their AbsRel."""

    def make(count):
        maps = make_maps(count)
        scores = scored(maps)
        by_id = {image.sample_id: image for image in scores.images}
        examples = {group: [] for group in ("best", "median", "worst")}
        ordered = sorted(scores.images, key=lambda image: image.metrics["abs_rel"])
        maps_by_id = {one.sample_id: one for one in maps}
        for number, image in enumerate(ordered):
            one, picture = maps_by_id[image.sample_id], np.full((6, 8, 3), 5 * number, np.uint8)
            found = Example(by_id[image.sample_id], picture, one.depths["plain"].numpy(), one.truths[None])
            examples[list(examples)[3 * number // count]].append(found)
        results = Results(rows=(Row.of(scores, {}, split="test"),), **facts)
        return run_page(results, examples), ordered

    return make


@pytest.fixture
def page(make_page):
    """A page of six images of three scenes, and the images in the order of their AbsRel."""
    return make_page(6)


@pytest.fixture
def browse(tmp_path):
    """Opens a page; gives it as it then is, and what the console says."""

    def opened(text, *options):
        file = tmp_path / "page.html"
        file.write_text(text)
        done = subprocess.run(
            [
                *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions"),
                *(options or ["--dump-dom"]),
                "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", file.as_uri(),
            ],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return opened


def test_the_page_opens_without_a_word_in_the_console_and_may_load_nothing(page, browse):
    text, _ = page
    found, told = browse(text)
    assert "6 of 6 images" in found
    assert told == []
    other = '<img src="http://127.0.0.1:9/x.png"><script>document.title = "taken over"</script></body>'
    found, told = browse(text.replace("</body>", other))
    assert "<title>Depth evaluation" in found
    assert len(told) == 2
    assert all("Content Security Policy" in line for line in told)


def test_arrow_keys_go_from_image_to_image_and_the_filters_choose_which(page, browse):
    text, ordered = page
    policy = text[text.index('<meta http-equiv="Content') :].partition("\n")[0]
    found, told = browse(text.replace(policy, "").replace("</body>", KEYS))
    assert told == []
    names = [image.sample_id for image in ordered]
    same_scene = [image for image in ordered[4:] if image.scene == ordered[4].scene]
    assert found.partition('data-told="')[2].partition('"')[0].split("|") == [
        *(names[0], names[1], names[1], names[0], names[0], "true"),
        *("2 of 6 images", names[4], names[4]),
        *(f"{len(same_scene)} of 6 images", "2 of 6 images"),
    ]


WATCHED = """
<script>
window.IntersectionObserver = class {
  constructor(tell) { this.watched = []; this.tell = tell; window.near = this; }
  observe(figure) { this.watched.push(figure); }
};
</script>
</head>
"""
NEAR = """
<script>
const pictures = (of) => document.querySelectorAll(`${of} img[src]`).length;
const told = [near.watched.length, pictures("figure")];
near.tell(near.watched.map((target, number) => ({ target, isIntersecting: number === 44 })));
told.push(pictures("figure:last-of-type"), pictures("figure"));
document.body.dataset.told = told.join("|");
</script>
</body>
"""


def test_pictures_of_the_gallery_are_made_as_they_come_near_and_not_before_the_page_has_loaded(make_page, browse):
    text, _ = make_page(45)
    policy = text[text.index('<meta http-equiv="Content') :].partition("\n")[0]
    changed = text.replace(policy, "").replace("</head>", WATCHED).replace("</body>", NEAR)
    found, told = browse(changed)
    assert told == []
    assert found.partition('data-told="')[2].partition('"')[0] == "45|0|4|4"


def test_print_has_every_picture(make_page, browse, tmp_path):
    text, _ = make_page(45)
    pdf = tmp_path / "page.pdf"
    browse(text, f"--print-to-pdf={pdf}")
    assert pdf.read_bytes().count(b"/Subtype /Image") >= 4 * 45

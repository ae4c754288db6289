"""Captions are checked word by word against the map of things and the depth, with measures of the test's own."""

import colorsys
import re
from dataclasses import replace

import numpy as np
import pytest
from spaceclip.extract.sources.synthetic import SKY, SyntheticSettings, SyntheticSource, Thing, caption, phrase, streets
from spaceclip.extract.sources.synthetic.camera import Camera, place_camera
from spaceclip.extract.sources.synthetic.furniture import CLOTHS, WOODS
from spaceclip.extract.sources.synthetic.materials import paint
from spaceclip.extract.sources.synthetic.picture import with_names
from spaceclip.extract.sources.synthetic.raycast import render
from spaceclip.extract.sources.synthetic.rooms import WALLS
from spaceclip.extract.sources.synthetic.shading import Scene, radiance
from spaceclip.extract.sources.synthetic.site import Site, vary
from spaceclip.extract.sources.synthetic.street_objects import FRONTS, PAINTS
from spaceclip.extract.sources.synthetic.synthetic_source import KINDS
from spaceclip.extract.sources.synthetic.things import colour_word

HOURS = ("morning", "noon", "evening", "overcast", "night")
NOUNS = {
    **{noun: noun for noun in ("floor", "ceiling", "road", "grass", "door", "window", "lamp", "chair", "table", "bed")},
    **{noun: noun for noun in ("bookcase", "crate", "ball", "box", "vase", "car", "van", "tree", "person", "bollard")},
    "sofa": "sofa",
    "couch": "sofa",
    "picture": "picture",
    "painting": "picture",
    "television": "television",
    "tv": "television",
    "cupboard": "cupboard",
    "sideboard": "cupboard",
    "wardrobe": "wardrobe",
    "closet": "wardrobe",
    "plant": "plant",
    "potted plant": "plant",
    "rug": "rug",
    "carpet": "rug",
    "house": "house",
    "building": "house",
    "lamp post": "lamp post",
    "street lamp": "lamp post",
    "litter bin": "litter bin",
    "waste bin": "litter bin",
    "traffic sign": "traffic sign",
    "road sign": "traffic sign",
    "pavement": "pavement",
    "sidewalk": "pavement",
    "garden wall": "garden wall",
    "brick wall": "garden wall",
}
PLURALS = {noun + "s": kind for noun, kind in NOUNS.items()}
PLURALS |= {"people": "person", "boxes": "box", "couches": "sofa", "walls": "wall"}
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
SIDES = {"left": "left", "right": "right", "middle": "middle", "centre": "middle"}
RANGES = {"close by": "near", "near the camera": "near", "in the foreground": "near"}
RANGES |= {"far away": "far", "in the background": "far", "in the distance": "far"}
HUES = {"red", "pink", "orange", "brown", "beige", "yellow", "green", "blue", "purple"}
WORD = rf"(?:(?:light|dark) )?(?:white|grey|black|{'|'.join(sorted(HUES))})"
COLOUR = rf"{WORD}(?: and {WORD})?(?: striped| checked)?"
FACT = re.compile(
    rf"\b(?P<count>an?|several|{'|'.join(NUMBERS)})? ?\b(?P<colour>{COLOUR})? ?"
    rf"\b(?P<noun>{'|'.join(sorted([*NOUNS, *PLURALS], key=len, reverse=True))})\b(?! light)(?: in (?P<coat>{WORD}))?"
    r"(?: is| are)?(?P<places>(?: (?:(?:on|at|in) the (?:left|right|middle|centre)(?: side)?|"
    rf"{'|'.join(RANGES)}))*)"
)


@pytest.fixture(scope="module")
def pictures():
    source = SyntheticSource(SyntheticSettings(scenes=24, views_per_scene=1, height=96, width=128))
    return [source.picture(index) for index in range(24)]


def holds(picture, index, places):
    """Whether the words for a place are true of a thing."""
    here = picture.things == index
    columns = np.nonzero(here)[1] / (picture.things.shape[1] - 1)
    depth = np.median(np.where(picture.depth > 0, picture.depth, np.inf)[here])
    near, far = (1.8, 4) if picture.kind == "room" else (6, 16)
    truths = {
        "left": np.mean(columns < 0.5) > 0.94 and np.mean(columns) < 0.45,
        "right": np.mean(columns > 0.5) > 0.94 and np.mean(columns) > 0.55,
        "middle": 0.3 < np.mean(columns) < 0.7 and np.ptp(np.quantile(columns, [0.05, 0.95])) < 0.61,
        "near": depth < near,
        "far": depth > far,
    }
    words = [SIDES[word] for word in re.findall("left|right|middle|centre", places)]
    words += [meaning for word, meaning in RANGES.items() if word in places]
    return all(truths[word] for word in words)


def check(picture, fact):
    """Raise if a fact of a caption is false of its picture."""
    noun, colour = fact["noun"], fact["colour"] or fact["coat"]
    kind = NOUNS.get(noun) or PLURALS[noun]
    shown = [k for k, thing in enumerate(picture.names) if thing.noun == kind and (picture.things == k).any()]
    clear = [k for k in shown if np.mean(picture.things == k) >= 0.004]
    fitting = [k for k in clear if colour in (None, picture.names[k].colour) and holds(picture, k, fact["places"])]
    if fact["count"] in ("a", "an") or noun in ("grass", "walls"):
        assert fitting
    else:
        assert fitting == clear
        assert len(fitting) >= (3 if fact["count"] == "several" else 2)
    if fact["count"] in NUMBERS:
        assert len(shown) == NUMBERS[fact["count"]]


def test_captions_are_true_of_what_is_visible(pictures):
    checked, kinds, placed = 0, set(), 0
    for number, picture in enumerate(pictures):
        for seed in range(30):
            text = caption(picture, np.random.default_rng([number, seed]))
            facts = list(FACT.finditer(text))
            for fact in facts:
                check(picture, fact)
            checked += len(facts)
            placed += sum(bool(fact["places"]) for fact in facts)
            kinds |= {fact["noun"] for fact in facts}
    assert checked > 1000
    assert placed > 300
    assert len(kinds) > 40


def test_captions_are_lower_case_words_and_commas_of_a_fair_length(pictures):
    for picture in pictures:
        for seed in range(30):
            text = caption(picture, np.random.default_rng(seed))
            assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", text), text
            assert 6 <= len(text.split()) <= 40


def test_one_picture_has_many_captions_and_one_seed_has_one(pictures):
    texts = [caption(pictures[1], np.random.default_rng(seed)) for seed in range(60)]
    assert len(set(texts)) > 55
    assert texts == [caption(pictures[1], np.random.default_rng(seed)) for seed in range(60)]


def test_light_is_that_of_the_scene(pictures):
    words = {"morning": "morning", "noon": "noon|midday", "evening": "evening|sunset|late in the day"}
    words |= {"overcast": "overcast|cloudy|dull|grey sky", "night": "night|dark,|dark |dark$"}
    words |= {"daylight": "daylight|by day|daytime|from outside", "lamp light": "lamp light|electric light"}
    for picture in pictures:
        heard = set()
        for seed in range(30):
            text = re.sub(rf"dark (?={WORD})", "", caption(picture, np.random.default_rng(seed)))
            heard |= {light for light, pattern in words.items() if re.search(rf"\b(?:{pattern})", text)}
        assert picture.light in heard <= {picture.light} | ({"evening"} if picture.light == "lamp light" else set())


def test_picture_of_nothing_in_particular_has_a_caption(pictures):
    empty = replace(pictures[1], things=np.full_like(pictures[1].things, -1))
    assert "street" in caption(empty, np.random.default_rng(0)) or "outdoor" in caption(empty, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (Thing("car", "red"), "a red car"),
        (Thing("crate", "orange"), "an orange crate"),
        (Thing("floor", ""), "the floor"),
        (Thing("road", "dark grey"), "the dark grey road"),
        (Thing("person", "blue"), "a person in blue"),
        (Thing("person", ""), "a person"),
        (SKY, "sky"),
    ],
)
def test_regions_are_named_without_their_distance(thing, words):
    assert phrase(thing) == words


def looks(word, colour):
    """Whether a display colour may be called by one colour word; generous at the borders."""
    hue, _, value = colorsys.rgb_to_hsv(*colour)
    degrees, chroma = hue * 360, max(colour) - min(colour)
    match word.split()[-1]:
        case "white":
            fits = chroma < 0.15 and value > 0.75
        case "grey":
            fits = chroma < 0.15 and 0.2 < value < 0.9
        case "black":
            fits = value < 0.3
        case "red":
            fits = (degrees < 25 or degrees > 330) and chroma > 0.15
        case "pink":
            fits = (degrees < 30 or degrees > 300) and value > 0.55
        case "orange":
            fits = 8 < degrees < 48 and chroma > 0.2
        case "brown":
            fits = (degrees < 50 or degrees > 340) and value < 0.8
        case "beige":
            fits = 10 < degrees < 75 and value > 0.5 and chroma < 0.45
        case "yellow":
            fits = 30 < degrees < 75 and chroma > 0.2
        case "green":
            fits = 60 < degrees < 185
        case "blue":
            fits = 170 < degrees < 265
        case _:
            fits = 225 < degrees < 340
    bright = {"light": value > 0.5, "dark": value < 0.62}.get(word.split()[0], True)
    return fits and bright


def test_colour_words_agree_with_hue_and_brightness():
    rng = np.random.default_rng(0)
    drawn = [vary(rng, colours, 0.08) for colours in (WOODS, CLOTHS, FRONTS, PAINTS, WALLS) for _ in range(200)]
    assert np.mean([looks(colour_word(colour), colour) for colour in drawn]) > 0.98
    assert len({colour_word(colour) for colour in drawn}) > 15
    assert colour_word((0.2, 0.35, 0.7)) == "blue"
    assert colour_word((0.7, 0.1, 0.1)) == "red"
    assert colour_word((0.5, 0.5, 0.5)) == "grey"


def test_colour_is_named_only_where_enough_of_it_shows():
    site, bark, leaves = Site(), paint((0.36, 0.28, 0.21)), paint((0.3, 0.46, 0.2))
    tree = site.named("tree", leaves)
    tree.cylinder((3, 0, 0), 0.2, 3, bark)
    tree.ball((3, 0, 3.5), (0.6, 0.6, 0.6), leaves)
    scene = Scene("street", ((0, 0, 0), (0, 0, 0)), site.solids, site.things, (), (1, 1, 1), (1, 1, 1))

    def shown(pitch):
        camera = Camera((0.0, 0.0, 1.5), 0.0, pitch, 0.0, 0.8, 48, 64)
        return with_names(scene, *render(scene, camera, 40.0, np.random.default_rng(0))).seen[0].thing

    assert shown(-0.1) == Thing("tree")
    assert shown(0.5) == Thing("tree", "green")


@pytest.mark.parametrize("kind", ["room", "street"])
@pytest.mark.parametrize("seed", range(4))
def test_colour_words_are_those_of_the_surfaces_in_white_light(kind, seed):
    rng = np.random.default_rng(seed)
    scene = KINDS[kind](rng)
    camera = place_camera(scene, 96, 128, rng)
    white = replace(scene, lamps=(), above=(1.0, 1.0, 1.0), below=(1.0, 1.0, 1.0), haze=0.0)
    rows, columns = np.divmod(np.arange(96 * 128, dtype=np.float32), 128)
    origin = np.array(camera.position, np.float32)
    light, _, index = radiance(white, origin, camera.rays(rows + 0.5, columns + 0.5), 1 / camera.focal)
    shown = light.clip(0, 1) ** (1 / 2.2)
    picture = with_names(
        white, np.zeros((96, 128, 3), np.uint8), np.ones((96, 128), np.float32), index.reshape(96, 128)
    )
    for k, thing in enumerate(picture.names):
        here = np.flatnonzero(picture.things == k)[::5]
        if len(here) < 20:
            continue
        words = re.findall(WORD, thing.colour)
        fits = np.array([[looks(word, colour) for colour in shown[:, here].T] for word in words])
        if words:  # a fifth of the thing shows its colours, and each of them takes a fair part of that
            assert fits.any(axis=0).mean() > 0.18, (thing, np.median(shown[:, here], axis=1))
            assert fits.mean(axis=1).min() > 0.18 / 3 ** (len(words) - 1), thing


def test_hours_of_the_day_look_different(monkeypatch):
    pixels: dict[str, list[np.ndarray]] = {light: [] for light in HOURS}
    skies: dict[str, list[np.ndarray]] = {light: [] for light in HOURS}
    hours = dict(streets._HOURS)
    assert set(hours) == set(HOURS)
    for light in HOURS:
        monkeypatch.setattr(streets, "_HOURS", {light: hours[light]})
        for seed in (0, 1, 2):  # the same three streets at every hour
            scene = KINDS["street"](np.random.default_rng(seed))
            camera = Camera((0.0, -5.0, 1.6), np.pi / 2, 0.0, 0.0, 1.1, 24, 32)
            image, _, solids = render(scene, camera, 40.0, np.random.default_rng(0))
            pixels[light].append(image.reshape(-1, 3))
            skies[light].append(image[solids == -1])
    red, _, blue = np.array([np.concatenate(pixels[light]).mean(axis=0) for light in HOURS]).T
    brightness = dict(zip(HOURS, (red + blue) / 2, strict=True))
    warmth = dict(zip(HOURS, red / blue, strict=True))
    assert brightness["night"] < 0.75 * brightness["evening"]
    assert brightness["evening"] < 0.9 * brightness["noon"]
    assert warmth["evening"] > 1.1 * warmth["morning"]
    assert warmth["morning"] > 1.03 * warmth["noon"]
    red, _, blue = np.array([np.concatenate(skies[light]).mean(axis=0) for light in HOURS]).T
    blueness = dict(zip(HOURS, blue - red, strict=True))
    assert blueness["noon"] > blueness["overcast"] + 15
    assert abs(blueness["overcast"]) < 15


def test_windows_are_bright_by_day_and_dark_in_lamp_light():
    brightness: dict[str, list[float]] = {"daylight": [], "lamp light": []}
    for seed in range(8):
        scene = KINDS["room"](np.random.default_rng(seed))
        for quarter in range(4):
            camera = Camera((0.0, 0.0, 1.5), quarter * np.pi / 2, 0.0, 0.0, 1.3, 24, 32)
            picture = with_names(scene, *render(scene, camera, 40.0, np.random.default_rng(0)))
            panes = [seen.index for seen in picture.seen if seen.thing.noun == "window" and seen.share > 0.01]
            brightness[picture.light] += [float(picture.image[picture.things == index].mean()) for index in panes]
    assert min(map(len, brightness.values())) > 2
    assert min(brightness["daylight"]) > 140 > max(brightness["lamp light"])

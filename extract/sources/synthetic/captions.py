"""Captions of pictures, true of what is visible, in many wordings."""

from collections.abc import Sequence

import numpy as np

from .picture import Picture, Seen
from .shading import Kind
from .site import pick
from .things import SKY, Thing

_VISIBLE = 0.004  # the share of a picture's pixels from which on a thing is worth a word
_WORDS = (6, 40)
_NEAR_AND_FAR: dict[Kind, tuple[float, float]] = {"room": (1.8, 4.0), "street": (6.0, 16.0)}  # metres

_SURROUNDINGS = ("floor", "wall", "ceiling", "road", "pavement", "grass")
_PLURALS = {"person": "people", "box": "boxes", "couch": "couches"}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six")
_SYNONYMS = {
    "sofa": ("sofa", "couch"),
    "picture": ("picture", "painting"),
    "television": ("television", "television", "tv"),
    "cupboard": ("cupboard", "sideboard"),
    "wardrobe": ("wardrobe", "closet"),
    "plant": ("plant", "potted plant"),
    "rug": ("rug", "carpet"),
    "house": ("house", "building"),
    "lamp post": ("lamp post", "street lamp"),
    "litter bin": ("litter bin", "waste bin"),
    "traffic sign": ("traffic sign", "road sign"),
    "pavement": ("pavement", "sidewalk"),
    "garden wall": ("garden wall", "brick wall"),
}
_VIEWS = {
    "room": ("a room", "a room", "an indoor scene", "a furnished room", "the inside of a room", "an interior"),
    "street": ("a street", "a street", "a street scene", "a town street", "a view down a street", "an outdoor scene"),
}
_LIGHTS = {
    "morning": ("in the morning", "in the early morning", "in morning light", "on a bright morning"),
    "noon": ("at noon", "at midday", "around midday", "in the noonday sun"),
    "evening": ("in the evening", "at sunset", "in evening light", "late in the day"),
    "overcast": ("on an overcast day", "under a grey sky", "on a cloudy day", "in dull weather"),
    "night": ("at night", "after dark", "in the dark of the night", "late at night"),
    "daylight": ("in daylight", "by day", "in light from outside", "in the daytime"),
    "lamp light": ("in lamp light", "lit by electric light", "in the evening under lamp light", "in electric light"),
}
_PLACES = {
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "middle": ("in the middle", "in the centre"),
    "near": ("close by", "near the camera", "in the foreground"),
    "far": ("far away", "in the background", "in the distance"),
}
_FORMS = (
    "{view} {light} with {things}",
    "{view} {light}, {things}",
    "{view} with {things}",
    "{light}, {view} with {things}",
    "{things} in {view} {light}",
    "{things} in {view}",
    "{things}, {light}",
    "an image of {things}",
    "an image of {view} with {things}",
    "a photo of {view} {light}, with {things}",
    "{light} one sees {things} in {view}",
    "{view} {light} where {clauses}",
    "{clauses} in {view} {light}",
    "{clauses}, {light}",
    "in {view} {light}, {clauses}",
)
_BARE = ("an image of {view} {light}", "a photo of {view} {light}", "{view} {light}, nothing else in particular")


def phrase(thing: Thing) -> str:
    """A region's caption: "a red car", "the grey road", "sky"; never how far it is."""
    if thing == SKY:
        return thing.noun
    words = _with_colour(thing.noun, thing.colour)
    return f"the {words}" if thing.noun in _SURROUNDINGS else _with_article(words)


def caption(picture: Picture, rng: np.random.Generator) -> str:
    """One true description of a picture: 6 to 40 lower-case words of ASCII letters, and commas.

    Args:
        picture: What is described; only what at least 0.4 % of its pixels show is mentioned.
        rng: Draws which facts are told, in which order and words.
    """
    while True:
        facts = _facts(picture, rng)
        form = pick(rng, _FORMS if facts else _BARE)
        text = form.format(
            view=pick(rng, _VIEWS[picture.kind]),
            light=pick(rng, _LIGHTS[picture.light]),
            things=_joined(rng, [f"{words} {place}".strip() for words, _, place in facts]),
            clauses=_joined(rng, [f"{words} {verb} {place or 'visible'}" for words, verb, place in facts]),
        )
        if _WORDS[0] <= len(text.split()) <= _WORDS[1]:
            return text


def _facts(picture: Picture, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Up to four kinds of things, large ones more often: name with colour and count, "is" or "are", place or ""."""
    kinds: dict[str, list[Seen]] = {}
    for seen in picture.seen:
        kinds.setdefault(seen.thing.noun, []).append(seen)
    clear = {noun: [seen for seen in all_seen if seen.share >= _VISIBLE] for noun, all_seen in kinds.items()}
    nouns = [noun for noun, some in clear.items() if some]
    weights = np.array([sum(seen.share for seen in clear[noun]) for noun in nouns]) ** 0.3
    count = min(len(nouns), int(rng.integers(1, 5)))
    chosen = rng.choice(len(nouns), count, replace=False, p=weights / weights.sum()) if count else []
    return [_fact(picture, rng, clear[nouns[k]], len(kinds[nouns[k]])) for k in chosen]


def _fact(picture: Picture, rng: np.random.Generator, clear: list[Seen], all_of_kind: int) -> tuple[str, str, str]:
    """One fact of things of one kind that are clearly visible: of one of them, or of all of them together."""
    if len(clear) > 1 and rng.random() < 0.35:
        clear, all_of_kind = [pick(rng, clear)], 0
    noun, colours = clear[0].thing.noun, {seen.thing.colour for seen in clear}
    name: str = pick(rng, _SYNONYMS.get(noun, (noun,)))
    colour = colours.pop() if len(colours) == 1 and rng.random() < 0.75 else ""
    if noun == "wall":
        return _with_colour("walls", colour), "are", ""
    if noun == "grass":
        return _with_colour(noun, colour), "is", ""
    place = "" if noun in _SURROUNDINGS else _place(rng, clear, picture.kind)
    if len(clear) == 1:
        return _with_article(_with_colour(name, colour)), "is", place
    counts = ["several"] if len(clear) > 2 else [""]
    if len(clear) == all_of_kind < len(_COUNTS):
        counts += [_COUNTS[len(clear)]] * 3
    words = _with_colour(_PLURALS.get(name, name + "s"), colour)
    return f"{pick(rng, counts)} {words}".strip(), "are", place


def _place(rng: np.random.Generator, things: Sequence[Seen], kind: Kind) -> str:
    """Words for where all of the things are: none, the side, the distance, or both."""
    common = set.intersection(*(_places(seen, *_NEAR_AND_FAR[kind]) for seen in things))
    return " ".join(pick(rng, words) for place, words in _PLACES.items() if place in common and rng.random() < 0.6)


def _places(seen: Seen, near: float, far: float) -> set[str]:
    middle = (seen.left + seen.right) / 2
    truths = {
        "left": middle < 0.4 and seen.right < 0.5,
        "right": middle > 0.6 and seen.left > 0.5,
        "middle": 0.4 < middle < 0.6 and seen.left > 0.2 and seen.right < 0.8,
        "near": seen.distance < near,
        "far": seen.distance > far,
    }
    return {place for place, holds in truths.items() if holds}


def _with_colour(noun: str, colour: str) -> str:
    if noun in ("person", "people"):
        return f"{noun} in {colour}" if colour else noun
    return f"{colour} {noun}".strip()


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _joined(rng: np.random.Generator, parts: list[str]) -> str:
    """The parts with commas, and perhaps "and" before the last."""
    if len(parts) < 2 or rng.random() < 0.3:
        return ", ".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"

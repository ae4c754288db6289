"""What chance, a bad disk and an attacker do to a file."""

import re
from collections.abc import Callable
from random import Random

Mutation = Callable[[bytearray, Random], bytes]

NASTY = (
    *(b"nan", b"-1", b"0", b"1e999", b"99999999999999999999", b"null", b"true", b"''", b"[]", b"{}"),
    *(b"[" * 9000, b"../../etc/passwd", b"2001-01-01", b"!!int xyz", b"&a [*a, *a]", b"\xff\xfe", b"\x00", b"=1+1"),
    *(b"s3:///x", b"a$b$c"),
)


def flip(content: bytearray, draw: Random) -> bytes:
    for _ in range(draw.choice((1, 1, 4, 32))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def cut(content: bytearray, draw: Random) -> bytes:
    return bytes(content[: draw.randrange(len(content))])


def remove(content: bytearray, draw: Random) -> bytes:
    start = draw.randrange(len(content))
    del content[start : start + draw.choice((1, 4, 60, 1000))]
    return bytes(content)


def blank(content: bytearray, draw: Random) -> bytes:
    start, count = draw.randrange(len(content)), draw.choice((1, 8, 512))
    content[start : start + count] = draw.choice((b"\x00", b"\xff")) * len(content[start : start + count])
    return bytes(content)


def repeat(content: bytearray, draw: Random) -> bytes:
    start = draw.randrange(len(content))
    part = content[start : start + draw.choice((1, 20, 400))]
    return bytes(content[:start] + part * draw.choice((1, 2, 50)) + content[start:])


def noise(content: bytearray, draw: Random) -> bytes:
    start = draw.randrange(len(content))
    return bytes(content[:start] + draw.randbytes(draw.choice((1, 4, 64))) + content[start:])


def words(content: bytearray, draw: Random) -> bytes:
    """A word of a text in place of another, or what no word should be."""
    found = list(re.finditer(rb"[\w.+/-]+", content))
    if not found:
        return bytes(content)
    at = draw.choice(found)
    new = draw.choice(NASTY) if draw.random() < 0.7 else draw.choice(found).group()
    return bytes(content[: at.start()] + new + content[at.end() :])


MUTATIONS: tuple[Mutation, ...] = (flip, cut, remove, blank, repeat, noise)


def mutate(content: bytes, draw: Random, *, text: bool) -> bytes:
    """One mutation of a file that is not empty; texts mostly get other words."""
    mutation = words if text and draw.random() < 0.6 else draw.choice(MUTATIONS)
    return mutation(bytearray(content), draw)

"""The blocks of README.md and docs/, and running what they tell a reader to type, in one process."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a document and the line that it starts at."""

    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _BLOCK.finditer(text)]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell block as words; `&&`, `;` and `&` part them, comments and continued lines are known."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";&>")
        words.whitespace_split, words.commenters = True, "#"
        command: list[str] = []
        for word in words:
            if word in ("&&", ";", "&"):
                yield command
                command = []
            else:
                command.append(word)
        if command:
            yield command


class Reader:
    """Types what a document says, in the current folder.

    Args:
        programs: What to do for the words after a program's name; a program that is not named fails.
        python: Names that Python blocks find, beside those of earlier blocks.
    """

    def __init__(self, programs: dict[str, Callable[[list[str]], object]], python: dict[str, object]) -> None:
        self.programs, self.python = programs, python

    def read(self, block: Block) -> None:
        if block.language == "python":
            exec(compile(block.text, f"line {block.line}", "exec"), self.python)
        elif block.language == "sh":
            for command in commands(block.text):
                self._type(command)
        else:
            assert block.language in ("text", "yaml"), f"a block of {block.language} that no test knows"

    def _type(self, command: list[str]) -> None:
        if ">" in command:
            words, (file,) = command[: command.index(">")], command[command.index(">") + 1 :]
            assert words[0] == "echo"
            Path(file).write_text(" ".join(words[1:]) + "\n")
            return
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            name, _, value = command[0].partition("=")
            os.environ.setdefault(name, value)
            command = command[1:]
        if command:
            assert command[0] in self.programs, f"no test knows how to run {command[0]}"
            self.programs[command[0]](
                [str(Path(word).expanduser()) if word.startswith("~") else word for word in command[1:]]
            )

"""What a page says, and the page as HTML that needs nothing beside it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..text import printable
from .gallery import Gallery, Picture

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first of a row names it.

    Attributes:
        header: Of the columns.
        rows: Each as long as the header.
        caption: What must be known to read it.
        marked: Numbers of the rows that stand out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A drawing (see `charts.chart`), and what it shows, for those who do not see it."""

    address: str
    label: str


@dataclass(frozen=True)
class PictureRow:
    """Pictures of one thing beside each other, each as wide as its frame (`4 / 3`) is against its height."""

    name: str
    frame: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class PictureTable:
    """Rows of pictures below the titles of their columns."""

    header: Sequence[str]
    rows: Sequence[PictureRow]


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty in it is left out.

    Attributes:
        title: Its heading.
        text: Paragraphs.
        tables: Below them.
        charts: Beside each other.
        pictures: In rows.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    pictures: PictureTable | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see; text that is of tables says nothing where they have no rows."""
        seen = any(table.rows for table in self.tables) if self.tables else self.text
        return not (seen or self.charts or self.pictures)


@dataclass(frozen=True)
class Page:
    """Everything that a page says.

    Attributes:
        title: Its heading.
        asked: The question, in a line.
        measured: On what, and how, in a line.
        answered: What was found, in a line.
        sections: In their order; the gallery follows them.
        details: The sections behind it.
        notices: What makes the numbers mean less than they seem to.
        headlines: Label, value, and what stands beside it, of the numbers that most readers look for.
        gallery: Images with predictions.
        provenance: Facts by name, under a title each: settings, features, versions, times.
    """

    title: str
    asked: str
    measured: str
    answered: str
    sections: Sequence[Section]
    details: Sequence[Section] = ()
    notices: Sequence[str] = ()
    headlines: Sequence[tuple[str, str, str]] = ()
    gallery: Gallery | None = None
    provenance: Mapping[str, Mapping[str, str]] | None = None


def render(page: Page) -> str:
    """The page as HTML; the same page gives the same text.

    It loads nothing: its policy forbids it to, and lets no script run but its own.
    """
    from jinja2 import Environment, StrictUndefined

    template, style, script = ((_HERE / name).read_text(encoding="utf-8") for name in _PARTS)
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    text = made.from_string(template).render(
        page=page, style=style, script=script, digest=digest, provenance=page.provenance or {}
    )
    return printable(text)


_PARTS = ("page.html.j2", "page.css", "page.js")

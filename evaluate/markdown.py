"""Tables in Markdown, padded, so that they can be read on a terminal too."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text, and the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        [header[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(header[1:], widths[1:], strict=True))],
        ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])],
        *(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            for row in rows
        ),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""Tables in LaTeX, for documents with the package booktabs."""

from collections.abc import Iterable, Sequence

_SPELLED = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "“": "``",
    "”": "''",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "δ": r"$\delta$",
    "²": "$^2$",
    "³": "$^3$",
}


def latex_text(text: str) -> str:
    """Plain text as LaTeX sets it."""
    return "".join(_SPELLED.get(character, character) for character in text)


def latex_file(tables: Iterable[str]) -> str:
    """Some tables, and what they need."""
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(tables)


def latex_table(
    caption: str, columns: str, head: Sequence[str], groups: Sequence[Sequence[Sequence[str]]], notes: Sequence[str]
) -> str:
    """A `table*`.

    Args:
        caption: Plain text.
        columns: As a tabular has them: `l` or `r` for each.
        head: Plain text.
        groups: Rows of cells, in LaTeX; a rule parts the groups.
        notes: Paragraphs below it, in LaTeX.
    """
    lines = [
        r"\begin{table*}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(map(latex_text, head)),
        r"\midrule",
        "\n\\midrule\n".join("\n".join(map(_row, group)) for group in groups),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\medskip\raggedright\footnotesize"] if notes else []),
        *(rf"{note}\par" for note in notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"

"""Our results beside published ones."""

from .files import compare_results, write_comparison
from .formats import cells, comma_separated, latex, markdown, terminal
from .published import CONSTRAINTS, Constraint
from .rows import Section, comparison

__all__ = [
    "CONSTRAINTS",
    "Constraint",
    "Section",
    "cells",
    "comma_separated",
    "compare_results",
    "comparison",
    "latex",
    "markdown",
    "terminal",
    "write_comparison",
]

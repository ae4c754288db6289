"""Our results beside published ones."""

from .files import compare_results, named_folders, write_comparison
from .formats import cells, comma_separated, latex, markdown, terminal
from .published import CONSTRAINTS, Constraint
from .rows import Section, SeedRuns, comparison

__all__ = [
    "CONSTRAINTS",
    "Constraint",
    "Section",
    "SeedRuns",
    "cells",
    "comma_separated",
    "compare_results",
    "comparison",
    "latex",
    "markdown",
    "named_folders",
    "terminal",
    "write_comparison",
]

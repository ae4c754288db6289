"""Our results beside published ones."""

from .formats import comma_separated, latex, markdown, terminal
from .published import CONSTRAINTS, Constraint
from .rows import Section, comparison

__all__ = [
    "CONSTRAINTS",
    "Constraint",
    "Section",
    "comma_separated",
    "comparison",
    "latex",
    "markdown",
    "terminal",
]

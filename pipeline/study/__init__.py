"""Studies: arms of one experiment, each trained with several seeds, compared on the validation split."""

from .design import Design, prepare
from .results import StudyResults
from .study import outlook, run_study
from .tables import markdown

__all__ = ["Design", "StudyResults", "markdown", "outlook", "prepare", "run_study"]

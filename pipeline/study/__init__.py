"""Studies: arms of one experiment, each trained with several seeds, compared on the validation split."""

from .compared import read_seed_runs
from .decoded import decode_arms, study_gallery
from .design import Design, prepare
from .dry_run import outlook
from .page import study_page
from .results import FILES, STUDY, StudyResults, read_study
from .study import run_study
from .terminal import WIDTH, study_tables

__all__ = [
    "FILES",
    "STUDY",
    "WIDTH",
    "Design",
    "StudyResults",
    "decode_arms",
    "outlook",
    "prepare",
    "read_seed_runs",
    "read_study",
    "run_study",
    "study_gallery",
    "study_page",
    "study_tables",
]

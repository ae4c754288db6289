"""Getting the data sets of the field: what there is, what is there already, and loading the rest."""

from .catalogue import load_catalogue
from .fetch import Fetch
from .plan import BY_HAND, FETCH, Plan, plan_fetch

__all__ = [
    "BY_HAND",
    "FETCH",
    "Fetch",
    "Plan",
    "load_catalogue",
    "plan_fetch",
]

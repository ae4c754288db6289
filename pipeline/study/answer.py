"""What a study found, in a few sentences: true of whatever is trained by now."""

from collections.abc import Iterator

from .arm_results import ArmResult, Spread
from .naming import named, quoted, seeds_text
from .notes import CHOSEN_BY
from .results import StudyResults
from .tables import spread_text


def answer(results: StudyResults) -> str:
    """The arm of the lowest AbsRel, how each differs from the first, and which runs are missing."""
    first = results.arms[0]
    if not any(arm.metrics for arm in results.arms):
        return " ".join(("Nothing yet: no run is trained.", *_missing(results)))
    parts = [_lowest(results)]
    apart = [_difference(arm, first, len(results.seeds)) for arm in results.arms[1:] if arm.differences]
    if apart:
        parts.append(f"Difference to {quoted(first.name)}, paired by seed: {'; '.join(apart)}.")
    return " ".join((*parts, *_no_better(results), *_missing(results)))


def _no_better(results: StudyResults) -> Iterator[str]:
    best = results.image_free.get(CHOSEN_BY)
    arms = [arm.name for arm in results.arms if best and arm.metrics and arm.metrics[CHOSEN_BY].mean >= best]
    if arms:
        which = "every arm" if len(arms) == len(results.arms) else ", ".join(map(quoted, arms))
        yield f"No better than the best prediction without an image ({best:.4f}): {which}."


def chance(results: StudyResults) -> str:
    """How likely it is that all seeds of an arm agree though there is no difference, by the seeds that it has."""
    paired = [spread.seeds for arm in results.arms[1:] if (spread := arm.differences.get(CHOSEN_BY))]
    cases = [f"{2.0 ** (1 - count):.0%} ({count} seeds)" for count in sorted({*paired}, reverse=True) if count > 1]
    points = "A point is a seed; beside the points their mean and sample deviation."
    if cases:
        agree = "Were there no difference, all seeds of an arm would still agree in sign in this share of cases"
        return f"{points} {agree}: {', '.join(cases)}."
    return points if len(results.seeds) > 1 else "A point is a seed. One seed says little."


def _lowest(results: StudyResults) -> str:
    """Compares means over the same seeds: of the arms that have all, or of all arms over those that they share."""
    found = {
        arm.name: {run.seed: run.metrics[CHOSEN_BY] for run in arm.runs if run.metrics}
        for arm in results.arms
        if arm.metrics
    }
    every = {seed for values in found.values() for seed in values}
    whole = {name: values for name, values in found.items() if values.keys() == every}
    compared = whole if len(whole) > 1 else found
    shared = every.intersection(*compared.values())
    means = {name: Spread.of([values[seed] for seed in shared]) for name, values in compared.items()}
    known = {name: spread for name, spread in means.items() if spread}
    if not known:
        return "Lowest AbsRel on validation: not known, as no seed is trained in every arm."
    least = min(spread.mean for spread in known.values())
    names = [name for name, spread in known.items() if spread.mean == least]
    seeds = f"{len(shared)} seeds" if len(shared) > 1 else "1 seed"
    if len(shared) < len(results.seeds):
        seeds = seeds_text(sorted(shared))
    of = f", of the {len(whole)} arms that have them all" if 1 < len(whole) < len(found) else ""
    told = f"{' and '.join(map(quoted, names))}, {spread_text(known[names[0]])} ({seeds}{of})"
    return f"Lowest AbsRel on validation: {told}."


def _difference(arm: ArmResult, first: ArmResult, seeds: int) -> str:
    spread, values = arm.differences[CHOSEN_BY], arm.apart(first, CHOSEN_BY)
    if all(one.same for one in arm.differences.values()):
        over = "every seed" if spread.seeds == seeds else f"each of {spread.seeds} seeds"
        return f"{quoted(arm.name)} no difference, the same numbers in {'one seed' if spread.seeds == 1 else over}"
    told = f"{quoted(arm.name)} {spread_text(spread, '+')}"
    if len(values) == 1:
        return f"{told} in one seed"
    lower = spread.mean < 0
    count = sum(value < 0 if lower else value > 0 for value in values)
    return f"{told}, {'lower' if lower else 'higher'} in {count} of {len(values)} seeds"


def _missing(results: StudyResults) -> Iterator[str]:
    for status, said in (("failed", "Failed"), ("open", "Not trained yet")):
        if runs := [(arm.name, run.seed) for arm in results.arms for run in arm.runs if run.status == status]:
            yield f"{said}: {named(runs, results.runs)}."

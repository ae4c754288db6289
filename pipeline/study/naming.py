"""Runs of a study in a sentence: as few words as name them all."""

from collections.abc import Collection, Sequence

Run = tuple[str, int]
"""Arm and seed."""


def quoted(arm: str) -> str:
    """An arm's name in a sentence: `both` and `none` are names too."""
    return f"“{arm}”"


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds by their numbers."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def named(chosen: Collection[Run], every: Sequence[Run]) -> str:
    """Some of the runs.

    >>> runs = [(arm, seed) for arm in ("both", "film") for seed in (1, 2)]
    >>> named([("both", 2), ("film", 1), ("film", 2)], runs)
    'all runs but “both” seed 1'
    >>> named([("both", 2), ("film", 2)], runs)
    'seed 2 of all arms'

    Args:
        chosen: They.
        every: All that they are chosen from, arm by arm.
    """
    rest = [run for run in every if run not in chosen]
    if not rest:
        return "all runs"
    if 3 * len(rest) <= len(chosen):
        return f"all runs but {_listed(rest, every)}"
    return _listed(chosen, every)


def _listed(chosen: Collection[Run], every: Sequence[Run]) -> str:
    arms, seeds = (list(dict.fromkeys(found)) for found in zip(*every, strict=True))
    whole = [seed for seed in seeds if len(arms) > 1 and all(run in chosen for run in every if run[1] == seed)]
    parts = [f"{seeds_text(whole)} of all arms"] if whole else []
    for arm in arms:
        own = [seed for seed in seeds if (arm, seed) in chosen and seed not in whole]
        if own:
            parts.append(f"{quoted(arm)} {'in every seed' if own == seeds and len(own) > 1 else seeds_text(own)}")
    return ", ".join(parts)

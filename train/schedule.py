"""The learning rate of each step: a linear warm-up, then half a cosine."""

import math


def learning_rate(step: int, total_steps: int, base: float, smallest: float, warmup: float) -> float:
    """Learning rate of a step (arXiv 2601.17657, section IV).

    Args:
        step: Index of the step, from 0.
        total_steps: Steps of the whole run.
        base: Highest rate.
        smallest: Rate at the end.
        warmup: Share of all steps with a rising rate.
    """
    rising = int(total_steps * warmup)
    if step < rising:
        return base * (step + 1) / rising
    done = (step - rising) / max(total_steps - rising, 1)
    return smallest + (base - smallest) * 0.5 * (1 + math.cos(math.pi * done))

"""What a study will take, before anything of it is run."""

from collections.abc import Iterator
from pathlib import Path

import torch

from ...cache import size_text
from ...extract import counted, duration
from ...train import CheckpointInfo, at_once, loaded_bytes, state_bytes
from ..device import choose_device
from .design import Design
from .results import STUDY, read_study
from .tables import own_settings


def outlook(design: Design, out: Path, device: str) -> Iterator[str]:
    """What a study will take, and what of it is done; nothing is written.

    Raises:
        SpaceClipError: As `run_study`.
    """
    place = choose_device(device)
    done = design.done(out, place)
    arms = read_study(out).arms if (out / STUDY).exists() else []
    failed = {(arm.name, run.seed) for arm in arms for run in arm.runs if run.status == "failed"}
    open_runs = left = trained = 0
    took = dict.fromkeys(design.seeds, 0.0)
    for arm in design.arms:
        steps, states = arm.settings.epochs * design.steps, []
        for seed in design.seeds:
            match done[arm.name, seed]:
                case CheckpointInfo(receipt=receipt):
                    states.append(f"seed {seed} done")
                    trained += steps if receipt else 0
                    # Arms that were trained together each took the time of all.
                    took[seed] = max(took[seed], receipt.seconds if receipt else 0)
                case at:
                    begun = f"at step {at:,}" if at else "to do"
                    states.append(f"seed {seed} {begun}{', failed before' if (arm.name, seed) in failed else ''}")
                    open_runs, left = open_runs + 1, left + steps - at
        size = f"{arm.parameters:,} parameters, {steps:,} steps a seed"
        yield f"{arm.name} ({own_settings(arm.own)}): {size}; {', '.join(states)}"
    if open_runs:
        yield _memory(design, {arm for (arm, _), state in done.items() if isinstance(state, int)}, place)
    if design.test:
        unscored, facts = sum(not design.test.row(plan.out) for plan in design.plans(out).values()), design.test.facts()
        runs = f"{unscored} of {len(done)} runs to score once all have ended, less those that fail"
        yield f"{runs}: {facts.protocol.label}; {facts.looks}"
    size, time = design.arms[0].settings.batch_size, "; the time is known once a run is done" if left else ""
    if left and trained:
        time = f", about {duration(left * sum(took.values()) / trained)} one seed after another, as those done took"
    yield f"{out}: {open_runs} of {len(done)} runs to do, {left:,} steps at batch {size}{time}"


def _memory(design: Design, names: set[str], device: torch.device) -> str:
    """What is exact of the memory that the arms of a seed take, trained side by side in one process."""
    arms = [arm for arm in design.arms if arm.name in names]
    held = sum(state_bytes(arm.decoder) for arm in arms)
    layers = sorted({layer for arm in arms for layer in arm.decoder.layers})
    features = loaded_bytes(design.training, layers, design.arms[0].settings, device)
    loaded = f", {size_text(features)} for the training features, which are loaded once" if features else ""
    steps = at_once(len(design.arms), device)
    activations = f"{steps} decoders at once" if steps > 1 else "one decoder"
    decoders = f"{counted(len(arms), 'decoder')}{' side by side' if arms[1:] else ''}"
    return (
        f"memory: {size_text(held)} for weights, gradients, moments and averages of {decoders}{loaded}; "
        f"the activations of one step of {activations} come on top"
    )

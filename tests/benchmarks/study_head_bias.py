"""What the two starts of the depth head do: ten seeds of each, trained together on the real NYU sample.

    python tests/benchmarks/study_head_bias.py --root data/nyu

The encoder is a full-size ViT-B/16 with RANDOM weights, the decoder that of configs/nyu_sample.yaml, the training
target 240 x 320: what is seen is how starts die, and not how good SPACE-CLIP is.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from spaceclip.cache import Batches, FeatureCache, SpaceClipError
from spaceclip.evaluate import Protocol, validate
from spaceclip.pipeline.cli import main as spaceclip
from spaceclip.pipeline.config import Experiment, load_experiment
from spaceclip.train import Callbacks, Candidate, DepthDecoder, Epoch, Plan, feed, fit

CONFIG = Path(__file__).parents[2] / "configs" / "nyu_sample.yaml"
STARTS = (2.0, "pytorch")
CPU = torch.device("cpu")
_DEAD = 0.5

Row = dict[str, Any]


def features(changes: Mapping[str, Any], out: Path) -> tuple[FeatureCache, FeatureCache]:
    """Training and validation features of the sample."""
    options = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    for split in ("train", "val"):
        arguments = ["extract", "--config", str(CONFIG), "--out", str(out), "--split", split, *options]
        spaceclip(arguments, standalone_mode=False)
    return FeatureCache.open(out / "train.json"), FeatureCache.open(out / "val.json")


@torch.no_grad()
def zero_at_start(plan: Plan, batches: Batches) -> float:
    """Share of the valid pixels of the first batch at which the untrained decoder predicts 0 m."""
    torch.manual_seed(plan.settings.seed)
    decoder = DepthDecoder(plan.decoder)
    inputs = next(iter(feed(batches.epoch(0), CPU)))
    depth = decoder(inputs.states, inputs.pooled, (inputs.depth.shape[-2], inputs.depth.shape[-1])).depth
    valid = (inputs.depth > plan.settings.min_depth) & (inputs.depth < plan.settings.max_depth)
    return float((depth[valid] <= 0).float().mean())


def study(experiment: Experiment, training: FeatureCache, validation: FeatureCache, seeds: int, out: Path) -> list[Row]:
    """Train all decoders on one read; how each began and ended."""
    recipe = experiment.train.model_copy(update={"order_seed": 42})
    protocol = experiment.evaluate.model_copy(update={"flip_average": False}).protocol(
        "validation", validation.about, recipe.min_depth, recipe.max_depth
    )
    batches = Batches(training, recipe.batch_size, experiment.decoder.layers, seed=42)
    plans, rows = list[Plan](), dict[Path, Row]()
    for bias in STARTS:
        for seed in range(seeds):
            decoder = experiment.decoder.model_copy(update={"head_bias": bias})
            settings = recipe.model_copy(update={"seed": seed})
            plan = Plan(out / f"{bias}-{seed}", decoder, settings, protocol.model_dump())
            plans.append(plan)
            rows[plan.out] = {"start": bias, "seed": seed, "zero_at_start": zero_at_start(plan, batches)}

    def each_epoch(plan: Plan, epoch: Epoch) -> None:
        rows[plan.out] |= {"zero_at_end": epoch.zero, "loss": epoch.loss}
        print(plan.out.name, epoch, file=sys.stderr, flush=True)

    def score(candidates: Sequence[Candidate]) -> list[dict[str, float] | SpaceClipError]:
        trials = [
            (one.decoder, Protocol.model_validate(one.plan.protocol), one.plan.settings.precision) for one in candidates
        ]
        return validate(trials, validation)

    infos = fit(
        training, plans, score=score, device=CPU, validation=validation, callbacks=Callbacks(each_epoch=each_epoch)
    )
    for plan, info in zip(plans, infos, strict=True):
        rows[plan.out] |= {"abs_rel": info.metrics["abs_rel"], "steps": recipe.epochs * len(batches)}
    return list(rows.values())


def table(rows: Sequence[Row]) -> str:
    """Means and sample deviations over the seeds of each start."""
    lines = ["| `head_bias` | dead at step 0 | dead in the last epoch | its loss | kept AbsRel |", "| --- " * 5 + "|"]
    for bias in STARTS:
        some = [row for row in rows if row["start"] == bias]
        dead = [f"{sum(row[when] > _DEAD for row in some)} of {len(some)}" for when in ("zero_at_start", "zero_at_end")]
        values = [[row[what] for row in some] for what in ("loss", "abs_rel")]
        found = [f"{statistics.mean(one):.3f} ± {statistics.stdev(one):.3f}" for one in values]
        lines.append(f"| {' | '.join([str(bias), *dead, *found])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="NYU, as `spaceclip data check nyu` wants it.")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="Keep features, runs and study.json here.")
    given = parser.parse_args()
    changes = {
        "data.root": str(given.root.resolve()),
        "extract.target_size": [240, 320],
        "train.epochs": given.epochs,
        "train.batch_size": given.batch_size,
    }
    with tempfile.TemporaryDirectory() as place:
        out = given.out or Path(place)
        experiment = load_experiment(CONFIG, changes)
        rows = study(experiment, *features(changes, out / "features"), given.seeds, out)
        if given.out:
            (out / "study.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{rows[0]['steps']} steps of {experiment.train.batch_size} real frames, encoder of RANDOM weights:")
    print(table(rows))


if __name__ == "__main__":
    main()

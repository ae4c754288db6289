"""What the small CLIP's training is worth: its features against those of random weights in the same shape.

    python tests/benchmarks/study_clip_tiny.py
    python tests/benchmarks/study_clip_tiny.py --config configs/nyu_sample.yaml --set data.root=data/nyu

The same decoder on each, three seeds, AbsRel on the test split beside the strongest prediction without an image.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from spaceclip.pipeline.cli import main as spaceclip

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
SPLITS = ("train", "val", "test")
ENCODERS = ("embedded:clip-tiny", "embedded:clip-tiny, int8", "random:embedded:clip-tiny")


def command(*words: str | Path | int) -> None:
    spaceclip([str(word) for word in words], standalone_mode=False)


def abs_rel(config: Path, options: list[str], encoder: str, seeds: int, out: Path) -> tuple[list[float], float]:
    """AbsRel of each seed's decoder on the test split, and of the best prediction without an image."""
    features = out / "features"
    name, _, storage = encoder.partition(", ")
    named = ["--set", f"backbone.name={name}"]
    for split in SPLITS:
        command("extract", "--config", config, "--split", split, "--out", features, *options, *named)
        if storage:
            command("cache", "copy", features / f"{split}.json", out / storage, "--precision", storage)
    features = out / storage if storage else features
    found, baseline = [], 0.0
    for seed in range(42, 42 + seeds):
        run = out / str(seed)
        given = ["--config", config, "--features", features, *options, *named]
        command("train", *given, "--out", run, "--seed", seed)
        command("evaluate", *given, "--checkpoint", run)
        row = json.loads((run / "results.json").read_text())["rows"][0]
        found.append(row["metrics"]["abs_rel"])
        baseline = min(one["abs_rel"] for one in row["baselines"].values())
    return found, baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encoders", nargs="*", default=ENCODERS)
    given = parser.parse_args()
    options = [word for setting in given.settings for word in ("--set", setting)]
    print("| encoder | AbsRel | each seed | below the best prediction without an image |")
    print("| --- | --- | --- | --- |")
    for encoder in given.encoders:
        with tempfile.TemporaryDirectory() as place:
            found, baseline = abs_rel(given.config, options, encoder, given.seeds, Path(place))
        mean, each = statistics.mean(found), " ".join(f"{value:.3f}" for value in found)
        print(f"| {encoder} | {mean:.3f} | {each} | {1 - mean / baseline:.0%} of {baseline:.3f} |", flush=True)


if __name__ == "__main__":
    main()

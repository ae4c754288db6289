"""Makes the small CLIP: renders its pairs, trains it, tests it, and writes its vision tower."""

import math
from pathlib import Path

import click

from ...cache import SpaceClipError
from ..sources.synthetic import EncoderSettings
from .pairs import render
from .pretrain import Recipe, pretrain
from .retrieval import retrieval
from .saving import save

_UNSEEN, _CANDIDATES = 1, 200  # added to the seed; pictures among which a caption is looked for
_LEAST_SCENES = math.ceil(Recipe().batch_size / Recipe().views_per_scene)  # of one batch


@click.command()
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("clip-tiny"),
    show_default=True,
    help="Pairs, state and log.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tower.")
@click.option(
    "--scenes",
    type=click.IntRange(_LEAST_SCENES),
    default=Recipe().scenes,
    show_default=True,
    help="Fewer for a trial.",
)
@click.option("--steps", type=click.IntRange(1), default=Recipe().steps, show_default=True, help="Fewer for a trial.")
@click.option("--until", type=click.IntRange(1), default=None, help="Stop after this step; the same command goes on.")
def main(work: Path, out: Path, scenes: int, steps: int, until: int | None) -> None:
    """Train the embedded encoder anew: two cores, under two hours; it can be interrupted and goes on."""
    if until is not None and until > steps:
        raise click.ClickException(
            f"--until {until} lies beyond the last step, {steps}: give that or fewer, or leave it out"
        )
    _prepare(work, out)
    recipe = Recipe(scenes=scenes, steps=steps)
    trained = EncoderSettings(scenes=recipe.scenes, views_per_scene=recipe.views_per_scene)
    pairs = render(work / "pairs", trained, recipe.captions)
    try:
        model, tokenizer = pretrain(pairs, recipe, work, until)
    except SpaceClipError as error:
        raise click.ClickException(str(error)) from error
    if until is not None and until < recipe.steps:
        return
    unseen = EncoderSettings(scenes=_CANDIDATES, views_per_scene=1, seed=trained.seed + _UNSEEN)
    found = retrieval(model, tokenizer, render(work / "unseen", unseen, 1))
    save(model, recipe, found, work / "log.csv", out)
    for name, share in found.items():
        click.echo(f"{name} of {_CANDIDATES}: {share:.3f}")


def _prepare(work: Path, out: Path) -> None:
    """Refuse folders that cannot take what is written hours later, or hold what it would replace."""
    for folder in (work, out):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{folder}: cannot be a folder ({error.strerror}); choose another") from error
    if any(out.iterdir()) and not (out / "recipe.json").exists():
        raise click.ClickException(
            f"{out}: holds other files, expected an empty folder or an earlier tower; choose another --out"
        )


if __name__ == "__main__":
    main()

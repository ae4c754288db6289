"""Trains the small CLIP."""

import copy
import csv
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer
from torch import Tensor

from ...cache import SpaceClipError, keep_freed_memory
from . import objectives, words
from .augment import Batch, Batches
from .model import GRID, TinyClip
from .pairs import Pairs, batches

_PATCHES = GRID * GRID
_SAVE_EVERY, _LOG_EVERY = 200, 20  # steps


class Recipe(BaseModel):
    """How the small CLIP is trained.

    Attributes:
        scenes: Scenes that are rendered, rooms and streets in turn.
        views_per_scene: Pictures of each.
        captions: Of each picture.
        batch_size: Pairs a step.
        steps: In all.
        whole: The last share of the steps, in which the tower sees all patches and nothing is predicted.
        visible: The share of the patches that it sees before that.
        learning_rate: Of AdamW, reached after `warmup` of the steps, then down to 0 along a cosine.
        warmup: Share of the steps.
        weight_decay: On matrices.
        contrast: Weight of CLIP's symmetric cross-entropy.
        regions: Weight of the names of regions.
        masked: Weight of masked prediction.
        seed: Of start, order, augmentation and masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: int = 2400
    views_per_scene: int = 3
    captions: int = 4
    batch_size: int = 128
    steps: int = 3000
    whole: float = 0.05
    visible: float = 0.25
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    contrast: float = 1.0
    regions: float = 1.0
    masked: float = 1.0
    seed: int = 0

    def work(self, steps: int) -> float:
        """What the first steps take together, in steps that see a share of the patches."""
        return steps + max(0, steps - self.whole_from) * (1 / self.visible - 1)

    @property
    def whole_from(self) -> int:
        """The first step in which the tower sees all patches."""
        return round((1 - self.whole) * self.steps)


def pretrain(pairs: Pairs, recipe: Recipe, folder: Path, until: int | None = None) -> tuple[TinyClip, Tokenizer]:
    """Train from the pairs, or go on from the state that an earlier run has left in the folder.

    Args:
        pairs: Pictures, captions and regions.
        recipe: How.
        folder: Gets `log.csv` and `state.pt`.
        until: Stop after this step; a later call goes on.

    Returns:
        The model and the tokenizer of its captions.

    Raises:
        SpaceClipError: The folder holds the state of another recipe or other pairs, or there are fewer pairs than a
            batch takes.
    """
    if len(pairs.pictures) < recipe.batch_size:
        raise SpaceClipError(
            f"{len(pairs.pictures)} pairs, expected a batch of {recipe.batch_size} at least: more --scenes"
        )
    keep_freed_memory()
    torch.manual_seed(recipe.seed)
    tokenizer = words.learn([text for captions in pairs.captions for text in captions] + pairs.phrases)
    model = TinyClip(tokenizer.get_vocab_size())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
    )
    learned_from = {"recipe": recipe.model_dump(), "captions": _digest(pairs)}
    state, first = folder / "state.pt", 0
    if state.exists():
        held = torch.load(state, weights_only=True)
        for what, found in learned_from.items():
            if held[what] != found:
                raise SpaceClipError(f"{state} does not fit the {what}; give its settings again, or another --work")
        model.load_state_dict(held["model"])
        optimizer.load_state_dict(held["optimizer"])
        first = held["step"]
    _keep_rows(folder / "log.csv", first)
    # The weights are kept in float32, and in the type that is fastest for the passes.
    fast = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    working = copy.deepcopy(model).to(fast)
    draw, phrases = Batches(pairs, tokenizer), words.tokens(tokenizer, pairs.phrases)
    order = batches(len(pairs.pictures), recipe.batch_size, recipe.seed, first)
    last = recipe.steps if until is None else min(until, recipe.steps)
    sums, begun = [], time.perf_counter()
    for step in range(first, last):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(recipe, step)
        rng = np.random.default_rng([recipe.seed, 1, step])
        whole = step >= recipe.whole_from
        found = _losses(working, draw(next(order), rng), phrases, None if whole else recipe.visible, rng)
        loss = recipe.contrast * found[0] + recipe.regions * found[1]
        if not whole:
            loss = loss + recipe.masked * found[2]
        loss.backward()
        _step(model, working, optimizer)
        sums.append([value.item() for value in found])
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == last:
            _log(folder / "log.csv", step + 1, recipe, np.mean(sums, axis=0))
            took, work = time.perf_counter() - begun, recipe.work(step + 1)
            left = took * (recipe.work(last) - work) / (work - recipe.work(first))
            rate = (step + 1 - first) * recipe.batch_size / took
            click.echo(f"{rate:.0f} pictures/s, {left / 60:.0f} min left", err=True)
            sums = []
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == last:
            reached = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            _save(state, reached | learned_from)
    return model.eval(), tokenizer


def _losses(
    model: TinyClip, batch: Batch, phrases: Tensor, share: float | None, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The three losses, and the share of pictures whose own caption is the nearest in the batch.

    Of all patches the tower sees a share, and as many of the others are predicted; without one it sees all, and the
    third loss is not a number.
    """
    visible, hidden = None, None
    if share is not None:
        shuffled = torch.from_numpy(rng.random((len(batch.pixels), _PATCHES), dtype=np.float32).argsort(1))
        visible, hidden = shuffled[:, : (seen := round(share * _PATCHES))], shuffled[:, seen : 2 * seen]
    tokens = model.picture_tokens(batch.pixels.to(model.region_scale.dtype), visible)
    cells = batch.cells if visible is None else batch.cells.gather(1, visible[..., None].expand(-1, -1, 16))
    named, cells = cells.unique(return_inverse=True)
    contrast, accuracy = objectives.contrast(
        model.picture_vectors(tokens), model.text_vectors(batch.texts), model.clip.logit_scale
    )
    regions = objectives.region_names(
        model.region_vectors(tokens), model.text_vectors(phrases[named]), cells, model.region_scale
    )
    masked = torch.tensor(torch.nan)
    if visible is not None and hidden is not None:
        predicted = model.reconstruction(tokens[:, 1:], visible, hidden)
        masked = objectives.reconstruction(predicted, batch.pixels, hidden)
    return contrast, regions, masked, accuracy


def _step(model: TinyClip, working: TinyClip, optimizer: torch.optim.Optimizer) -> None:
    """One step of the weights, by the gradients of their copy that works."""
    weights = list(model.parameters())
    both = list(zip(weights, working.parameters(), strict=True))
    for weight, made in both:
        weight.grad, made.grad = None if made.grad is None else made.grad.float(), None
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    with torch.no_grad():
        for weight, made in both:
            made.copy_(weight)


def _learning_rate(recipe: Recipe, step: int) -> float:
    done = (step + 1) / recipe.steps
    warm = min(1.0, done / recipe.warmup)
    return recipe.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2


def _log(file: Path, step: int, recipe: Recipe, means: Any) -> None:
    names = ("contrast", "regions", "masked", "nearest_caption")
    row = {"step": step, "pictures": step * recipe.batch_size} | {
        name: "" if math.isnan(value) else f"{value:.4f}" for name, value in zip(names, means, strict=True)
    }
    fresh = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    losses = ", ".join(f"{name} {row[name]}" for name in names if row[name])
    click.echo(f"step {step} of {recipe.steps}: {losses}; ", err=True, nl=False)


def _keep_rows(file: Path, steps: int) -> None:
    """Take out the rows of steps that are done again."""
    if file.exists():
        header, *rows = file.read_text().splitlines(keepends=True)
        file.write_text("".join([header, *(row for row in rows if int(row.split(",")[0]) <= steps)]))


def _digest(pairs: Pairs) -> str:
    """Of all words, and so of the number that each has as a token."""
    return hashlib.sha256(json.dumps([pairs.captions, pairs.phrases]).encode()).hexdigest()


def _save(file: Path, state: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.replace(file)

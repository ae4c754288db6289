"""Batches of the small CLIP's pairs, each picture cropped, mirrored and coloured anew."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ..preprocess import INPUT_SIZE
from ..towers.clip import MEAN, STD
from . import words
from .objectives import by_patch
from .pairs import CELLS, Pairs

_AREA = (0.6, 1.0)
_GREY = 0.1
_MEAN, _STD = (torch.tensor(values).view(1, 3, 1) for values in (MEAN, STD))
_LEVELS = (torch.arange(256) / 255).clamp(min=1e-4)


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: [B, 3, 224, 224] float32, normalised.
        texts: Token ids of a caption of each picture, [B, L].
        cells: What the 16 cells of each patch show, indices into the phrases, [B, 196, 16].
    """

    pixels: Tensor
    texts: Tensor
    cells: Tensor


class Batches:
    """Draws batches of pairs.

    Args:
        pairs: The pairs.
        tokenizer: Of their captions.
    """

    def __init__(self, pairs: Pairs, tokenizer: Tokenizer) -> None:
        self._pictures = torch.from_numpy(pairs.pictures)
        self._regions = torch.from_numpy(pairs.regions)
        self._texts = [words.tokens(tokenizer, captions) for captions in zip(*pairs.captions, strict=True)]
        self._mirrored = [words.mirrored(tokenizer, texts) for texts in self._texts]

    def __call__(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The pairs of some indices [B], augmented as `rng` says."""
        pixels = torch.empty(len(chosen), 3, INPUT_SIZE, INPUT_SIZE, dtype=torch.uint8)
        regions = torch.empty(len(chosen), CELLS, CELLS, dtype=torch.int16)
        texts = torch.full((len(chosen), words.LENGTH), words.PADDING)
        for place, index in enumerate(chosen.tolist()):
            side = round(INPUT_SIZE * float(rng.uniform(*_AREA)) ** 0.5)
            top, left = rng.integers(INPUT_SIZE - side + 1, size=2)
            window = self._pictures[index : index + 1, :, top : top + side, left : left + side]
            picture = F.interpolate(window, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear")[0]
            rows, columns = (
                ((start + (torch.arange(CELLS) + 0.5) * side / CELLS) * CELLS / INPUT_SIZE).long()
                for start in (top, left)
            )
            cells = self._regions[index][rows][:, columns]
            mirror, told = rng.random() < 0.5, int(rng.integers(len(self._texts)))
            ids = (self._mirrored if mirror else self._texts)[told][index]
            pixels[place] = picture.flip(-1) if mirror else picture
            regions[place] = cells.flip(-1) if mirror else cells
            texts[place, : len(ids)] = ids
        longest = int((texts != words.PADDING).sum(1).max())
        return Batch(_coloured(pixels, rng), texts[:, :longest], by_patch(regions).long())


def normalised(pixels: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] uint8 as the tower wants them."""
    return (pixels.float().flatten(2) / 255 - _MEAN).div(_STD).view(pixels.shape)


def _coloured(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [B, 3, S, S] uint8 with another gamma and balance, some of them grey, normalised as CLIP's input."""
    count = len(pixels)
    gamma = torch.from_numpy(rng.uniform(0.75, 1.35, (count, 1, 1))).float()
    balance = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 3, 1))).float()
    table = ((_LEVELS**gamma * balance).clamp(max=1) - _MEAN) / _STD
    grey = torch.from_numpy(rng.random(count) < _GREY)
    pixels[grey] = pixels[grey].float().mean(1, keepdim=True).to(torch.uint8).expand(-1, 3, -1, -1)
    return table.gather(2, pixels.flatten(2).long()).view(pixels.shape)

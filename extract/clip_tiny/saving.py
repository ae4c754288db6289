"""Writes the vision tower with its card and its log."""

import hashlib
import shutil
from pathlib import Path

import safetensors.torch
import torch
from transformers.models.clip import CLIPVisionConfig

from ..towers.embedded import CHECKSUM, WEIGHTS
from .model import VISION, TinyClip
from .pretrain import Recipe

_CARD = """# clip-tiny

The vision tower of a small CLIP (ViT-Ti/16, 12 blocks, 192 wide, 3 heads, 224 x 224, float16).

Learnt from {pictures:,} pictures of {scenes:,} rooms and streets that the generator in `extract/sources/synthetic`
renders, with captions and names of their parts. No photograph, and no depth map; distance only as captions
say it ("far away").

By contrast of pictures and captions, names of regions for patches, prediction of hidden patches; {steps:,} steps
of {batch} pairs; `python -m spaceclip.extract.clip_tiny`, settings in `recipe.json`, course in `log.csv`.

Proof that it is a CLIP: among the captions of 200 unseen scenes a picture's own is the nearest in {caption_top1:.0%}
and among the nearest five in {caption_top5:.0%}; among the pictures that of a caption in {picture_top1:.0%} and
{picture_top5:.0%}. Chance is 0.5 % and 2.5 %.

For: demos, tests and studies without a network, on scenes of this generator that it was not trained on.

Not for: photographs. Its numbers stand beside no number of OpenAI's CLIP or of the paper.
"""


def save(model: TinyClip, recipe: Recipe, retrieval: dict[str, float], log: Path, folder: Path) -> None:
    """Write `config.json`, `model.safetensors`, its checksum, `README.md`, `recipe.json` and `log.csv` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    CLIPVisionConfig(**VISION).save_pretrained(folder)
    tensors = {
        f"vision_model.{name}": tensor.to(torch.float16).contiguous()
        for name, tensor in model.clip.vision_model.state_dict().items()
    }
    content = safetensors.torch.save(tensors, {"format": "pt"})
    (folder / WEIGHTS).write_bytes(content)
    (folder / CHECKSUM).write_text(f"{hashlib.sha256(content).hexdigest()}  {WEIGHTS}\n")
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n")
    shutil.copyfile(log, folder / "log.csv")
    (folder / "README.md").write_text(
        _CARD.format(
            pictures=recipe.scenes * recipe.views_per_scene,
            scenes=recipe.scenes,
            steps=recipe.steps,
            batch=recipe.batch_size,
            **retrieval,
        )
    )

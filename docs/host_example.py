"""A tiny LLaVA-style host that answers a question about a photograph and gives its depth, in one pass of its tower.

    python docs/host_example.py photo.jpg --checkpoint results/demo

Its language model has random weights: the answer means nothing. Its vision tower is the encoder of `make demo`, whose
decoder is attached. `docs.host_example:make_host` is what `spaceclip extract --host` takes.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from spaceclip import attach
from spaceclip.extract import load_backbone
from transformers.models.clip import CLIPImageProcessor
from transformers.models.llama import LlamaConfig
from transformers.models.llava import LlavaConfig, LlavaForConditionalGeneration

QUESTION = ["how", "far", "is", "the", "nearest", "thing", "?"]
WORDS = ["<image>", "<s>", *QUESTION, "very", "near", "a", "wall", "chair", "left", "right", "<e>"]


def make_host(encoder: str = "embedded:clip-tiny") -> tuple[LlavaForConditionalGeneration, CLIPImageProcessor]:
    """A host, and the processor that brings whole frames to its tower."""
    vision: Any = load_backbone(encoder, precision="float32")
    words = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    config = LlavaConfig(vision_config=vision.model.config, text_config=words, image_token_id=WORDS.index("<image>"))
    host: Any = LlavaForConditionalGeneration(config).eval()
    host.model.vision_tower.load_state_dict(vision.model.state_dict())
    side = {"height": vision.input_size, "width": vision.input_size}
    return host, CLIPImageProcessor(size=side, do_center_crop=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the answer, and write the coloured depth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--checkpoint", default="results/demo")
    parser.add_argument("--encoder", default="embedded:clip-tiny")
    parser.add_argument("--out", default="depth.png")
    options = parser.parse_args(arguments)
    host, processor = make_host(options.encoder)
    photo = Image.open(options.photo).convert("RGB")
    with torch.inference_mode(), attach(host, options.checkpoint, processor=processor) as head:
        print(head)
        pixels = processor(images=head.prepare(photo), return_tensors="pt")["pixel_values"]
        words = ["<s>", *["<image>"] * head.tower.patches, *QUESTION]
        prompt = torch.tensor([[WORDS.index(word) for word in words]])
        answer = host.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            pixel_values=pixels,
            min_new_tokens=6,
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=0,
        )
        depth = head.depth_map(photo)
    print("answer:", " ".join(WORDS[word] for word in answer[0, prompt.shape[1] :]))
    print(depth)
    depth.save(options.out)


if __name__ == "__main__":
    main()

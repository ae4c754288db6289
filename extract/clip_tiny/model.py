"""The small CLIP, and the two heads that teach its patches and are thrown away."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.clip import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from . import words

PATCH, GRID = 16, 14

# ViT-Ti/16: as many blocks as ViT-B/16, so that the paper's lists of layers fit.
VISION: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 3,
    "image_size": GRID * PATCH,
    "patch_size": PATCH,
    "hidden_act": "gelu",
    "projection_dim": 256,
}
_TEXT: dict[str, Any] = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 3}
_JOINT, _DECODER = VISION["projection_dim"], 128


class TinyClip(nn.Module):
    """CLIP's two towers with a common space for pictures and captions, and a second one for regions and their names.

    Args:
        vocabulary: So many tokens.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        text = CLIPTextConfig(
            **_TEXT,
            projection_dim=_JOINT,
            vocab_size=vocabulary,
            max_position_embeddings=words.LENGTH,
            pad_token_id=words.PADDING,
            bos_token_id=words.START,
            eos_token_id=words.END,
            hidden_act="gelu",
        )
        config = CLIPConfig(
            text_config=text.to_dict(), vision_config=CLIPVisionConfig(**VISION).to_dict(), projection_dim=_JOINT
        )
        self.clip: Any = CLIPModel(config)
        self.clip.set_attn_implementation("eager")  # on a CPU and so few tokens faster backwards than the fused one
        self.region_projection = nn.Linear(VISION["hidden_size"], _JOINT, bias=False)
        self.region_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value))
        self.reconstruction = Reconstruction()

    def picture_tokens(self, pixels: Tensor, visible: Tensor | None = None) -> Tensor:
        """The class token and the patches' tokens after the last LayerNorm.

        Args:
            pixels: [B, 3, 224, 224], normalised.
            visible: [B, V] numbers of the patches that the tower may see; all by default.

        Returns:
            [B, 1 + V, C].
        """
        tower = self.clip.vision_model
        tokens = tower.pre_layrnorm(tower.embeddings(pixels))
        if visible is not None:
            patches = tokens[:, 1:].gather(1, visible[..., None].expand(-1, -1, tokens.shape[2]))
            tokens = torch.cat([tokens[:, :1], patches], 1)
        return tower.post_layernorm(tower.encoder(inputs_embeds=tokens).last_hidden_state)

    def picture_vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors of pictures [B, D] in the space of captions."""
        return nn.functional.normalize(self.clip.visual_projection(tokens[:, 0]).float(), dim=-1)

    def region_vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors of patches [B, V, D] in the space of names."""
        return nn.functional.normalize(self.region_projection(tokens[:, 1:]).float(), dim=-1)

    def text_vectors(self, ids: Tensor) -> Tensor:
        """Unit vectors [N, D] of texts [N, L]."""
        pooled = self.clip.text_model(input_ids=ids, attention_mask=(ids != words.PADDING).long()).pooler_output
        return nn.functional.normalize(self.clip.text_projection(pooled).float(), dim=-1)


class Reconstruction(nn.Module):
    """Predicts the pixels of patches that the tower did not see, by cross-attention to those that it did."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(VISION["hidden_size"], _DECODER)
        self.position = nn.Parameter(torch.randn(GRID * GRID, _DECODER) * 0.02)
        self.hidden = nn.Parameter(torch.randn(_DECODER) * 0.02)
        self.blocks = nn.ModuleList(_CrossBlock() for _ in range(2))
        self.pixels = nn.Linear(_DECODER, 3 * PATCH**2)

    def forward(self, tokens: Tensor, visible: Tensor, wanted: Tensor) -> Tensor:
        """Normalised pixels [B, W, 768] of the patches `wanted` [B, W] from the tokens [B, V, C] of those `visible`."""
        seen, query = self.project(tokens) + self.position[visible], self.hidden + self.position[wanted]
        for block in self.blocks:
            query = block(query, seen)
        return self.pixels(query)


class _CrossBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(_DECODER), nn.LayerNorm(_DECODER)
        self.attention = nn.MultiheadAttention(_DECODER, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(_DECODER, 4 * _DECODER), nn.GELU(), nn.Linear(4 * _DECODER, _DECODER))

    def forward(self, query: Tensor, seen: Tensor) -> Tensor:
        query = query + self.attention(self.attention_norm(query), seen, seen, need_weights=False)[0]
        return query + self.mlp(self.mlp_norm(query))

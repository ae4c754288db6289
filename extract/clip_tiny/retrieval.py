"""Does the small CLIP know which caption belongs to which picture?"""

import torch
from tokenizers import Tokenizer

from . import words
from .augment import normalised
from .model import TinyClip
from .pairs import Pairs


@torch.inference_mode()
def retrieval(model: TinyClip, tokenizer: Tokenizer, pairs: Pairs) -> dict[str, float]:
    """Share of pairs that are found among all, by the nearest and the nearest five.

    Args:
        model: The trained model.
        tokenizer: Of its captions.
        pairs: Pictures it has not seen, one caption each.
    """
    pictures = torch.cat(
        [
            model.picture_vectors(model.picture_tokens(normalised(torch.from_numpy(some))))
            for some in (pairs.pictures[start : start + 50] for start in range(0, len(pairs.pictures), 50))
        ]
    )
    texts = model.text_vectors(words.tokens(tokenizer, [captions[0] for captions in pairs.captions]))
    similar = pictures @ texts.T
    found = {}
    for name, table in (("caption", similar), ("picture", similar.T)):
        rank = (table >= table.diagonal()[:, None]).sum(1) - 1  # of equals the last: what tells nothing finds nothing
        found |= {f"{name}_top{k}": float((rank < k).float().mean()) for k in (1, 5)}
    return found

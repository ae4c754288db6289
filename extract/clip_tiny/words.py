"""The words of the captions as numbers: one token a word."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Punctuation, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordLevelTrainer
from torch import Tensor

LENGTH = 48
PADDING, START, UNKNOWN, END = range(4)  # transformers reads an end of 2 as "the highest number is the end"


def learn(texts: Sequence[str]) -> Tokenizer:
    """A tokenizer of all words in the texts, with a start, an end and padding to `LENGTH`."""
    tokenizer = Tokenizer(WordLevel(unk_token="<unknown>"))
    tokenizer.pre_tokenizer = InTurn([WhitespaceSplit(), Punctuation()])
    tokenizer.train_from_iterator(
        texts, WordLevelTrainer(special_tokens=["<padding>", "<start>", "<unknown>", "<end>"], show_progress=False)
    )
    tokenizer.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", START), ("<end>", END)]
    )
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(pad_id=PADDING, pad_token="<padding>")
    return tokenizer


def tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Texts as token ids [N, L], L that of the longest."""
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(texts))])


def mirrored(tokenizer: Tokenizer, ids: Tensor) -> Tensor:
    """The same texts of the mirrored picture: left is right and right is left."""
    left, right = tokenizer.token_to_id("left"), tokenizer.token_to_id("right")
    return torch.where(ids == left, right, torch.where(ids == right, left, ids)) if left and right else ids

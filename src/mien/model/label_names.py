"""Labels that a description names.

A prompt that lists the labels gets them back in the answer. That the word "Anger" in a description speaks for
the label "Anger" need not be learned from samples, of which a rare label has few.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["LabelTokens", "NamedLabels"]

LabelTokens = Sequence[Sequence[Sequence[int]]]
"""Per label, the token ids of each of its names."""


class NamedLabels(nn.Module):
    """Adds to the logit of each label that a text names; how much is learned, and begins at 1.

    A name counts wherever its tokens stand, also behind a "not" and at the beginning of a longer word.

    Args:
        label_tokens: Per label, the token ids of each of its names.
    """

    def __init__(self, label_tokens: LabelTokens) -> None:
        super().__init__()
        self.label_tokens = [[list(name) for name in names] for names in label_tokens]
        self.bonus = nn.Parameter(torch.ones(len(label_tokens)))

    def forward(self, text_ids: Int[Tensor, "batch text"]) -> Float[Tensor, "batch label"]:
        """What the logits of each label gain."""
        return self.find(text_ids).to(self.bonus.dtype) * self.bonus

    def find(self, text_ids: Int[Tensor, "batch text"]) -> Bool[Tensor, "batch label"]:
        """Which labels each text names."""
        found = [
            torch.stack([_contains(text_ids, name) for name in names]).any(dim=0)
            if names
            else text_ids.new_zeros(len(text_ids), dtype=torch.bool)
            for names in self.label_tokens
        ]
        return torch.stack(found, dim=1)


def _contains(text_ids: Int[Tensor, "batch text"], name: Sequence[int]) -> Bool[Tensor, " batch"]:
    """Whether the tokens of a name stand next to each other in each text."""
    num_places = text_ids.shape[1] - len(name) + 1
    if num_places <= 0:
        return text_ids.new_zeros(len(text_ids), dtype=torch.bool)
    parts = [text_ids[:, shift : shift + num_places] == token for shift, token in enumerate(name)]
    return torch.stack(parts).all(dim=0).any(dim=1)

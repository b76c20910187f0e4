"""A fusion outside of the package, as a user would write it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.model.fusion import Fusion
from mien.recipe import ModelOptions


class WordCountFusion(Fusion):
    """The mean image token and the number of words."""

    uses_image = True
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        assert image_dim is not None
        self.dim = options.width
        self.project = nn.Linear(image_dim + 1, self.dim)

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        assert text_mask is not None
        num_words = text_mask.sum(dim=1, keepdim=True)
        fused: Tensor = self.project(torch.cat((self.prepare_image(image).mean(dim=1), num_words), dim=1))
        return fused

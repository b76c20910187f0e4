"""Embeddings that tell the image tokens of a clip's frames, and of a subject's views, apart.

Attention has no order: without them, a clip is a bag of frames.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import UsageError

__all__ = ["FrameEmbedding"]

# Added to tokens of variance 1: large enough to be noticed at once, small enough to hide nothing.
_INITIAL_STD = 0.3


class FrameEmbedding(nn.Module):
    """Adds one learned vector per frame and one per view to image tokens.

    Args:
        image_dim: Width of an image token.
        num_frames: Frames per subject. With 1, frames have no vector.
        num_views: Views per frame. With 1, views have no vector.
    """

    def __init__(self, image_dim: int, *, num_frames: int, num_views: int) -> None:
        super().__init__()
        self.num_frames, self.num_views = num_frames, num_views
        self.frames = _vectors(num_frames, image_dim)
        self.views = _vectors(num_views, image_dim)

    def forward(
        self, image: Float[Tensor, "batch patch image_dim"]
    ) -> Float[Tensor, "batch patch image_dim"]:
        """Adds the vectors to the tokens of a batch.

        Args:
            image: Tokens in the order of `mien.features.encode`: view after view, and in each view frame
                after frame.

        Raises:
            UsageError: If the number of tokens is not a multiple of frames x views.
        """
        batch, tokens, dim = image.shape
        if tokens % (self.num_frames * self.num_views):
            raise UsageError(
                f"{tokens} image tokens are not {self.num_views} views of {self.num_frames} frames",
                hint="give clips of as many frames as the model was built for",
            )
        embedded = image.view(batch, self.num_views, self.num_frames, -1, dim)
        if self.frames is not None:
            embedded = embedded + self.frames[:, None, :]
        if self.views is not None:
            embedded = embedded + self.views[:, None, None, :]
        return embedded.reshape(batch, tokens, dim)


def _vectors(count: int, dim: int) -> nn.Parameter | None:
    return nn.Parameter(_INITIAL_STD * torch.randn(count, dim)) if count > 1 else None

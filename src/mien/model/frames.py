"""Which frame and which view an image token is of, told to whoever looks at the tokens.

Goes in: image tokens of a clip, one view after another and in each one frame after another, as
`mien.features.encode` makes them. Comes out: the same tokens, each with its place added.
Knows nothing about: pictures, encoders, what the tokens are used for.

Attention has no order of its own: without this, a clip is a bag of frames.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import UsageError

__all__ = ["Places"]

# Beside tokens of variance 1: a hint that is heard at once, and drowns nothing.
_INITIAL_SPREAD = 0.3


class Places(nn.Module):
    """A learned vector for each frame, and one for each view; what there is one of has none."""

    def __init__(self, image_dim: int, *, num_frames: int, num_views: int) -> None:
        super().__init__()
        self.num_frames, self.num_views = num_frames, num_views
        self.frames = _vectors(num_frames, image_dim)
        self.views = _vectors(num_views, image_dim)

    def forward(
        self, image: Float[Tensor, "batch patch image_dim"]
    ) -> Float[Tensor, "batch patch image_dim"]:
        """Raises UsageError if the tokens cannot be of that many frames and views."""
        batch, tokens, dim = image.shape
        if tokens % (self.num_frames * self.num_views):
            raise UsageError(
                f"{tokens} image tokens are not {self.num_views} views of {self.num_frames} frames",
                hint="give clips of as many frames as the model was built for",
            )
        placed = image.view(batch, self.num_views, self.num_frames, -1, dim)
        if self.frames is not None:
            placed = placed + self.frames[:, None, :]
        if self.views is not None:
            placed = placed + self.views[:, None, None, :]
        return placed.reshape(batch, tokens, dim)


def _vectors(count: int, dim: int) -> nn.Parameter | None:
    return nn.Parameter(_INITIAL_SPREAD * torch.randn(count, dim)) if count > 1 else None

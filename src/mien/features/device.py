"""The device that tensors live on.

Goes in: a name such as "cpu", "cuda", "cuda:1", "mps". Comes out: a device that was seen to work.
Knows nothing about: models, or what is computed.
"""

import torch

from mien.errors import EngineError

__all__ = ["open_device", "resolve_device"]


def resolve_device(name: str) -> str:
    """The name itself, or for "auto" the fastest device that is available: cuda, mps, else cpu."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_device(name: str) -> torch.device:
    """The device of this name; EngineError if torch knows none, or it cannot be used here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # AssertionError: what a torch without CUDA raises.
        reason = str(error).strip().splitlines()[0]
        raise EngineError(
            f"device {name!r} cannot be used: {reason}",
            hint="set run.device to one that is here, such as cpu",
        ) from error
    return device

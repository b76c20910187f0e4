"""The device that tensors are on."""

import torch

from mien.errors import EngineError, first_line

__all__ = ["open_device", "resolve_device"]


def resolve_device(name: str) -> str:
    """The name itself, or for "auto" the fastest device that is available: cuda, mps, else cpu."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_device(name: str) -> torch.device:
    """The device of this name ("cpu", "cuda", "cuda:1", "mps"), after a first tensor was put on it.

    Raises:
        EngineError: If torch does not know it, or it cannot be used.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # AssertionError: raised by a torch without CUDA.
        raise EngineError(
            f"device {name!r} cannot be used: {first_line(error)}",
            hint="set run.device to an available one, such as cpu",
        ) from error
    return device

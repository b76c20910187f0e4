"""What the exceptions of a model's libraries mean to us: the seam where they become errors of mien.

Goes in: an exception that transformers, torch or a model's own code raised. Comes out: ours, with a hint.
Knows nothing about: those libraries. It imports none of them, and goes by what an exception says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mien.describe.local.model_folder import ModelFolder
from mien.errors import EngineError, MienError, WeightsError

__all__ = ["first_line", "is_out_of_memory", "model_errors", "unloadable"]


@contextmanager
def model_errors(folder: ModelFolder) -> Iterator[None]:
    """Turns what a model or its device raises on a batch into an EngineError."""
    try:
        yield
    except MienError:
        raise
    except Exception as error:  # a model's own code raises anything; this is the seam
        if _tells_of_memory(error):
            raise EngineError(
                f"model {folder.name} ran out of memory", hint="set run.batch_size lower"
            ) from error
        raise EngineError(
            f"model {folder.name} failed: {type(error).__name__}: {first_line(error)}",
            hint="see whether the model takes such pictures and questions",
        ) from error


def is_out_of_memory(error: EngineError) -> bool:
    """Whether this error of ours stands for a device that had no room."""
    return error.__cause__ is not None and _tells_of_memory(error.__cause__)


def _tells_of_memory(error: BaseException) -> bool:
    # torch on a CPU raises a plain RuntimeError, Python's own allocator a MemoryError.
    return (
        type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        or "not enough memory" in str(error)
        or "out of memory" in str(error)
    )


def unloadable(folder: ModelFolder, error: Exception) -> WeightsError:
    """The error of a model that is there and cannot be loaded."""
    return WeightsError(
        f"model {folder.name} cannot be loaded from {folder.path}: {first_line(error)}",
        hint="give the folder of an image-text-to-text model with its processor, as safetensors",
    )


def first_line(error: Exception) -> str:
    """What an exception says, without the pages that follow."""
    return str(error).strip().partition("\n")[0]

"""The boundary to the model libraries: transformers imported late, and foreign exceptions as mien's errors.

What an exception means is read from its name and message, so that no library is imported for it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mien.errors import EngineError, MienError, WeightsError, first_line
from mien.weights.model_folder import ModelFolder

__all__ = [
    "cache_keyword",
    "device_identity",
    "is_out_of_memory",
    "load_error",
    "map_model_errors",
    "transformers_library",
]

_RENAMED: Final = (5, 24)  # the version of transformers that renames past_key_values


def transformers_library() -> Any:
    """The module `transformers`: as Any because its annotations are wrong, late because it takes seconds."""
    import transformers

    return transformers


def cache_keyword() -> str:
    """What models call their keys and values, as an argument and in their output."""
    version = tuple(int(part) for part in transformers_library().__version__.split(".")[:2])
    return "cache" if version >= _RENAMED else "past_key_values"


@contextmanager
def map_model_errors(folder: ModelFolder) -> Iterator[None]:
    """Maps any error of a model or its device on a batch to EngineError; errors of mien pass through."""
    try:
        yield
    except MienError:
        raise
    except Exception as error:  # a model's own code may raise anything
        if _mentions_memory(error):
            raise EngineError(
                f"model {folder.name} ran out of memory", hint="lower run.batch_size"
            ) from error
        raise EngineError(
            f"model {folder.name} failed: {first_line(error, with_type=True)}",
            hint="check that the model takes such images and prompts",
        ) from error


def is_out_of_memory(error: EngineError) -> bool:
    """Whether this error was caused by a device that ran out of memory."""
    return error.__cause__ is not None and _mentions_memory(error.__cause__)


def _mentions_memory(error: BaseException) -> bool:
    # torch on a CPU raises a plain RuntimeError, Python's own allocator a MemoryError.
    return (
        type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        or "not enough memory" in str(error)
        or "out of memory" in str(error)
    )


def device_identity(device: str) -> str:
    """The kind of a device: the name of a GPU, or the number of threads of a CPU."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads of {platform.machine()}"


def load_error(folder: ModelFolder, error: Exception) -> WeightsError:
    """The error of a model that exists but cannot be loaded."""
    reason = "a JSON file is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
    return WeightsError(
        f"model {folder.name} cannot be loaded from {folder.path}: {reason}",
        hint="give the folder of an image-text-to-text model with its processor, as safetensors",
    )

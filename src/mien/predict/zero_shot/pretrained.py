"""Loads pretrained encoders of text and images from a folder or the Hugging Face Hub."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Final

from safetensors import safe_open

from mien.errors import WeightsError, first_line
from mien.features.device import open_device
from mien.weights.build_limits import check_size
from mien.weights.model_folder import ModelFolder, find_encoder_folder
from mien.weights.quiet import quiet_transformers

__all__ = ["find_pretrained", "load_pretrained"]

_FILES: Final = ("*.json", "*.txt", "tokenizer.model", "spiece.model", "*.safetensors")


def find_pretrained(name: str) -> ModelFolder:
    """The folder of a model by its path or its Hugging Face id, which is downloaded if needed.

    Raises:
        WeightsError: It does not exist, cannot be downloaded, or has no safetensors.
    """
    found = find_encoder_folder(name, embedded_as="words", patterns=_FILES)
    if not any(found.path.glob("*.safetensors")):
        raise WeightsError(
            f"{found.path} contains no safetensors", hint="give a folder that save_pretrained wrote"
        )
    return found


def load_pretrained(folder: ModelFolder, device: str, *, optional: Collection[str] = ()) -> Any:
    """The model of a folder, in float32.

    Args:
        folder: Where it is.
        device: Where it will run.
        optional: Beginnings of the names of weights that may be missing.

    Raises:
        WeightsError: Its files are damaged or incomplete.
        EngineError: The device is not available.
    """
    import torch
    import transformers

    library: Any = transformers  # without annotations
    try:
        config = library.AutoConfig.from_pretrained(folder.path)
        check_size(lambda: library.AutoModel.from_config(config), _sizes(folder))
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            model, report = library.AutoModel.from_pretrained(
                folder.path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # a folder may hold anything, and then raises nearly anything in the library
        raise WeightsError(
            f"model {folder.name} cannot be loaded from {folder.path}: {first_line(error)}",
            hint="give a folder that save_pretrained wrote, or a Hugging Face id",
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(tuple(optional)))
    if missing:
        raise WeightsError(
            f"model {folder.name} lacks {len(missing)} weights, such as {missing[0]}",
            hint="copy the model again",
        )
    return model.eval().to(open_device(device))


def _sizes(folder: ModelFolder) -> list[int]:
    """The number of values of each tensor."""
    sizes = []
    for file in folder.path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            sizes += [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118
    return sizes

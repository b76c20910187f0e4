"""Loads pretrained encoders of text and images, from a folder, the Hugging Face Hub, or the package.

The embedded CLIP is in two folders: its vision tower is that of the embedded LLaVA.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import JsonValue
from safetensors import safe_open
from safetensors.torch import load_file

from mien.errors import WeightsError, first_line
from mien.features.device import open_device
from mien.features.vision_tower import identify_tower, load_tower
from mien.weights.build_limits import check_size
from mien.weights.model_folder import EMBEDDED, ModelFolder, find_encoder_folder
from mien.weights.quiet import quiet_transformers

__all__ = ["EmbeddedClip", "find_pretrained", "load_pretrained"]

_FILES: Final = ("*.json", "*.txt", "tokenizer.model", "spiece.model", "*.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedClip(ModelFolder):
    """The folder of the embedded CLIP, which has everything but the vision tower.

    Attributes:
        llava: The folder of the LLaVA that has the vision tower.
    """

    llava: Path

    def identity(self) -> Mapping[str, JsonValue]:
        """As for any folder, with the vision tower."""
        return {**ModelFolder.identity(self), "tower": identify_tower(self.llava)}


def find_pretrained(name: str, *, embedded_as: Literal["words", "clip"] = "words") -> ModelFolder:
    """The folder of a model by its path or its Hugging Face id, which is downloaded if needed.

    Args:
        name: A path, an id, or "playhouse".
        embedded_as: Which of the embedded models "playhouse" stands for.

    Raises:
        WeightsError: It does not exist, cannot be downloaded, or has no safetensors.
    """
    found = find_encoder_folder(name, embedded_as=embedded_as, patterns=_FILES)
    if name == EMBEDDED and embedded_as == "clip":
        llava = find_encoder_folder(name, embedded_as="llava", patterns=_FILES)
        found = EmbeddedClip(name=found.name, path=found.path, llava=llava.path)
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
    try:
        model, report = _load_clip(folder) if isinstance(folder, EmbeddedClip) else _load(folder)
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


def _load(folder: ModelFolder) -> tuple[Any, Mapping[str, Any]]:
    """The model on the CPU, and the library's report on its weights."""
    import torch
    import transformers

    library: Any = transformers  # without annotations
    config = library.AutoConfig.from_pretrained(folder.path)
    check_size(lambda: library.AutoModel.from_config(config), _sizes(folder))
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        model, report = library.AutoModel.from_pretrained(
            folder.path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    return model, report


def _load_clip(folder: EmbeddedClip) -> tuple[Any, Mapping[str, Any]]:
    """As `_load`, with the vision tower of the LLaVA. The norm after it is the folder's: LLaVA uses none."""
    import torch
    import transformers

    library: Any = transformers
    tower = load_tower(folder.llava).model.state_dict()
    weights = {f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in tower.items()}
    weights |= load_file(folder.path / "model.safetensors")
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        model, report = library.CLIPModel.from_pretrained(
            None,
            config=library.CLIPConfig.from_pretrained(folder.path),
            state_dict=weights,
            dtype=torch.float32,
            output_loading_info=True,
        )
    return model, report


def _sizes(folder: ModelFolder) -> list[int]:
    """The number of values of each tensor."""
    sizes = []
    for file in folder.path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            sizes += [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118
    return sizes

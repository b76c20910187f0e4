"""Loads vision towers from model folders: a ViT on its own, or the one inside a CLIP, SigLIP or LLaVA.

A tower is loaded with every weight that it uses, or not at all; no part stays random.
"""

import copy
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mien.documents import require_file
from mien.errors import WeightsError, first_line
from mien.weights.build_limits import check_size
from mien.weights.model_folder import read_json
from mien.weights.quiet import quiet_transformers

__all__ = ["Tower", "identify_tower", "load_tower"]

# Parts that make one vector per image. Patch tokens do not pass through them, and many files lack them.
_UNUSED: Final = ("pooler.", "head.")

# Every supported tower has a patch embedding, and only towers have one.
_LANDMARK: Final = "embeddings.patch_embedding"

# Towers that take patches instead of an image.
_TAKE_PATCHES: Final = ("siglip2_vision_model",)

# Entries of a config that do not change what is computed.
_IRRELEVANT: Final = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")

# Entries of a LLaVA's config that say how it reads its tower.
_VIEW: Final = ("vision_feature_layer", "vision_feature_select_strategy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A vision tower, and how it is read.

    Attributes:
        model: The tower, in float32 on the CPU.
        layers: Hidden states to read; empty for the last state.
        num_skipped: Tokens at the front to leave out.
        patch_size: Side of a patch in pixels; None if the config does not say.
        takes_patches: Whether the model takes patches, as SigLIP 2 in native resolution does.
    """

    model: nn.Module
    layers: tuple[int, ...]
    num_skipped: int
    patch_size: int | None
    takes_patches: bool


def identify_tower(folder: Path) -> dict[str, Any]:
    """JSON values that change with everything that changes the tower's tokens. Builds nothing."""
    config = read_json(folder / "config.json")
    tower = config.get("vision_config", config)
    relevant = {key: value for key, value in tower.items() if key not in _IRRELEVANT}
    return {
        "config": relevant,
        "view": {key: config.get(key) for key in _VIEW},
        "weights": _weights_digest(folder),
    }


def load_tower(folder: Path) -> Tower:
    """Loads the vision tower of a model folder, in float32 on the CPU.

    Raises:
        WeightsError: If files are missing, are not understood, or do not fit together.
    """
    config = _read_config(folder)
    # A model with several parts has the tower's config under this name.
    own_config = getattr(config, "vision_config", config)
    model = _build(own_config, folder)
    layers, num_skipped = _read_view(config)
    patch_size = getattr(own_config, "patch_size", None)
    return Tower(
        model=model,
        layers=layers,
        num_skipped=num_skipped,
        patch_size=patch_size if isinstance(patch_size, int) else None,
        takes_patches=own_config.model_type in _TAKE_PATCHES,
    )


def _read_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:  # as below
        raise WeightsError(
            f"{folder / 'config.json'} is not understood: {first_line(error)}",
            hint="check the file, or install a newer transformers",
        ) from error


def _read_view(config: Any) -> tuple[tuple[int, ...], int]:
    """(layers, num_skipped): as a LLaVA's config says; for any other model, all of the last state."""
    layer = getattr(config, "vision_feature_layer", None)
    if layer is None:
        return (), 0
    layers = (layer,) if isinstance(layer, int) else tuple(layer)
    # "default" leaves out the class token, "full" keeps it.
    return layers, int(getattr(config, "vision_feature_select_strategy", "default") == "default")


def _build(config: Any, folder: Path) -> nn.Module:
    """The tower with the folder's weights; WeightsError if one that is used would stay random."""
    from transformers import MODEL_MAPPING

    if type(config) not in MODEL_MAPPING:
        raise WeightsError(
            f"{folder} holds a {config.model_type!r}, which is not a supported vision tower",
            hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA with such an encoder",
        )
    model_class: Any = MODEL_MAPPING[type(config)]
    with _open_weights(folder) as tensors:
        weights = dict(tensors)
    try:
        sizes = [tensor.numel() for tensor in weights.values()]
        check_size(lambda: model_class(copy.deepcopy(config)), sizes)
        with quiet_transformers(), torch.random.fork_rng(devices=[]):  # unused parts are drawn at random
            # Through the library, because it knows the names that older versions saved.
            model, info = model_class.from_pretrained(
                None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # a config may hold anything, and then raises nearly anything in the library
        raise WeightsError(
            f"the weights in {folder} do not fit its config.json: {first_line(error)}",
            hint="copy the model again",
        ) from error
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(_UNUSED))
    if missing:
        raise WeightsError(
            f"{folder} lacks {len(missing)} of the tower's weights, such as {missing[0]}",
            hint="copy the model again",
        )
    built: nn.Module = model
    return built


def _weights_digest(folder: Path) -> str:
    """SHA-256 of the names and values of the tower's tensors, whichever files hold them."""
    sha = hashlib.sha256()
    with _open_weights(folder) as tensors:
        for name, tensor in tensors:
            if not name.startswith(_UNUSED):
                sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
                sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


@contextmanager
def _open_weights(folder: Path) -> Iterator[Iterator[tuple[str, Tensor]]]:
    """The tower's weights, one at a time, by their names in the tower alone."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(
            f"{folder} has no safetensors",
            hint="convert the weights; pickled ones (.bin, .pt) are not loaded",
        )
    try:
        for file in files:
            require_file(file)
        with ExitStack() as stack:
            readers = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
            reader_of = {key: reader for reader in readers for key in reader.keys()}  # noqa: SIM118
            prefix = _tower_prefix(reader_of, folder)
            names = sorted(key for key in reader_of if key.startswith(prefix))
            yield ((name.removeprefix(prefix), reader_of[name].get_tensor(name)) for name in names)
    except (SafetensorError, OSError, MemoryError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be read: {first_line(error)}", hint="copy the model again"
        ) from error


def _tower_prefix(keys: Iterable[str], folder: Path) -> str:
    """What precedes the tower's names in the files; it differs between models and library versions."""
    prefixes = sorted({key[: key.index(_LANDMARK)] for key in keys if _LANDMARK in key}, key=len)
    if not prefixes:
        raise WeightsError(
            f"{folder} holds no weights of a vision tower", hint="choose a CLIP-style ViT, or a LLaVA"
        )
    return prefixes[0]

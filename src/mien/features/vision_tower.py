"""Vision towers out of model folders: a ViT by itself, or the one inside of a CLIP, SigLIP or LLaVA.

Goes in: a folder with config.json and safetensors. Comes out: what identifies the tower, read without
building it; and the tower with every weight it uses, or a WeightsError, never one with a random part.
Knows nothing about: pictures, processors, caches.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.features.model_folders import quiet_transformers, read_json

__all__ = ["Tower", "identify_tower", "load_tower"]

# Parts that make one vector of a picture; patch tokens do not pass through them, and many files lack them.
_UNUSED: Final = ("pooler.", "head.")

# Where the patches enter: every supported tower has it, and only towers have.
_LANDMARK: Final = "embeddings.patch_embedding"

# Towers that are not given a picture but its patches.
_TAKE_PATCHES: Final = ("siglip2_vision_model",)

# What a config says about how it was written, not about what is computed.
_IRRELEVANT: Final = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")

# What a LLaVA says about how it looks at its tower.
_VIEW: Final = ("vision_feature_layer", "vision_feature_select_strategy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A ViT and how it is read. `layers`: hidden states to take, none for the last state; `num_skipped`:
    tokens at the front to leave out; `patch_size`: in pixels, None if the configuration does not say;
    `takes_patches`: the model is given patches cut out already, as SigLIP 2 in native resolution is."""

    model: nn.Module
    layers: tuple[int, ...]
    num_skipped: int
    patch_size: int | None
    takes_patches: bool


def identify_tower(folder: Path) -> dict[str, Any]:
    """JSON values that change with whatever changes the tower's tokens. Quick: nothing is built."""
    config = read_json(folder / "config.json")
    tower = config.get("vision_config", config)
    relevant = {key: value for key, value in tower.items() if key not in _IRRELEVANT}
    return {
        "config": relevant,
        "view": {key: config.get(key) for key in _VIEW},
        "weights": _weights_digest(folder),
    }


def load_tower(folder: Path) -> Tower:
    """The vision tower in a model folder, in float32 on the CPU."""
    config = _read_config(folder)
    # A model of several parts keeps the tower's own configuration under this name.
    own_config = getattr(config, "vision_config", config)
    model = _build(own_config, folder)
    layers, num_skipped = _view(config)
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
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{folder / 'config.json'} is not understood: {_first_line(error)}",
            hint="check the file, or install a newer transformers",
        ) from error


def _view(config: Any) -> tuple[tuple[int, ...], int]:
    """(layers, num_skipped): a LLaVA knows what it looks at; of any other model, all of the last state."""
    layer = getattr(config, "vision_feature_layer", None)
    if layer is None:
        return (), 0
    layers = (layer,) if isinstance(layer, int) else tuple(layer)
    # "default" leaves out the class token, "full" keeps it.
    return layers, int(getattr(config, "vision_feature_select_strategy", "default") == "default")


def _build(config: Any, folder: Path) -> nn.Module:
    """A tower with the folder's weights; WeightsError if one that is used would stay random."""
    from transformers import MODEL_MAPPING

    if type(config) not in MODEL_MAPPING:
        raise WeightsError(
            f"{folder} holds a {config.model_type!r}, which is no vision tower that can be built",
            hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA that sees through one",
        )
    model_class: Any = MODEL_MAPPING[type(config)]
    with _weights(folder) as tensors:
        weights = dict(tensors)
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):  # unused parts are drawn at random
            # By way of the library, because it knows the names under which older versions saved.
            model, found = model_class.from_pretrained(
                None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
            )
    except (RuntimeError, ValueError, ImportError) as error:
        raise WeightsError(
            f"the weights in {folder} do not fit its config.json: {_first_line(error)}",
            hint="copy the model again",
        ) from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(_UNUSED))
    if missing:
        raise WeightsError(
            f"{folder} lacks {len(missing)} of the tower's weights, such as {missing[0]}",
            hint="copy the model again",
        )
    built: nn.Module = model
    return built


def _weights_digest(folder: Path) -> str:
    """SHA-256 over names and values of the tower's tensors, whatever file of whatever model holds them."""
    sha = hashlib.sha256()
    with _weights(folder) as tensors:
        for name, tensor in tensors:
            if not name.startswith(_UNUSED):
                sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
                sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


@contextmanager
def _weights(folder: Path) -> Iterator[Iterator[tuple[str, Tensor]]]:
    """The tower's weights by name, one at a time, under the names that a tower alone gives them."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(
            f"{folder} has no safetensors",
            hint="convert the weights; pickled ones (.bin, .pt) are not loaded",
        )
    try:
        with ExitStack() as opened:
            readers = [opened.enter_context(safe_open(file, framework="pt")) for file in files]
            where = {key: reader for reader in readers for key in reader.keys()}  # noqa: SIM118
            prefix = _find_prefix(where, folder)
            names = sorted(key for key in where if key.startswith(prefix))
            yield ((name.removeprefix(prefix), where[name].get_tensor(name)) for name in names)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be read: {_first_line(error)}", hint="copy the model again"
        ) from error


def _find_prefix(keys: Iterable[str], folder: Path) -> str:
    """What stands before the tower's names in the files; it differs with the model and with who saved it."""
    found = sorted({key[: key.index(_LANDMARK)] for key in keys if _LANDMARK in key}, key=len)
    if not found:
        raise WeightsError(
            f"{folder} holds no weights of a vision tower", hint="choose a CLIP-style ViT, or a LLaVA"
        )
    return found[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

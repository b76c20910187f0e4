"""Vision towers out of model folders: a ViT by itself, or the one inside of a CLIP, SigLIP or LLaVA.

Goes in: a folder with config.json and safetensors. Comes out: the tower with every weight it uses, or a
WeightsError; never a tower of which a part is random.
Knows nothing about: pictures, processors, caches.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.features.folders import quiet_transformers

__all__ = ["Tower", "load_tower"]

# Parts that make one vector of a picture; patch tokens do not pass through them, and many files lack them.
_UNUSED: Final = ("pooler.", "head.")

# Where the patches enter: every supported tower has it, and only towers have.
_LANDMARK: Final = "embeddings.patch_embedding"

# What a config says about how it was written, not about what is computed.
_IRRELEVANT: Final = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A ViT and how it is read. `layers`: hidden states to take, none for the last state; `num_skipped`:
    tokens at the front to leave out; `config` and `weights_digest` say which tower it is."""

    model: nn.Module
    layers: tuple[int, ...]
    num_skipped: int
    config: Mapping[str, Any]
    weights_digest: str


def load_tower(folder: Path) -> Tower:
    """The vision tower in a model folder, in float32 on the CPU."""
    config = _read_config(folder)
    # A model of several parts keeps the tower's own configuration under this name.
    tower_config = getattr(config, "vision_config", config)
    model = _build(tower_config, _read_weights(folder), folder)
    layers, num_skipped = _view(config)
    relevant = {key: value for key, value in tower_config.to_diff_dict().items() if key not in _IRRELEVANT}
    return Tower(
        model=model,
        layers=layers,
        num_skipped=num_skipped,
        config=relevant,
        weights_digest=_weights_digest(model),
    )


def _read_config(folder: Path) -> Any:
    from transformers import AutoConfig

    if not (folder / "config.json").exists():
        raise WeightsError(f"{folder} has no config.json", hint="name the folder of a Hugging Face model")
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{folder / 'config.json'} is not understood: {_first_line(error)}",
            hint="check the file, or install a newer transformers",
        ) from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """The tower's weights, and nothing else of the files, under the names that a tower alone gives them."""
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
            return {
                key.removeprefix(prefix): reader.get_tensor(key)
                for key, reader in where.items()
                if key.startswith(prefix)
            }
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


def _build(config: Any, weights: Mapping[str, Tensor], folder: Path) -> nn.Module:
    """A tower with these weights; WeightsError if one that is used would stay random."""
    from transformers import MODEL_MAPPING

    if type(config) not in MODEL_MAPPING:
        raise WeightsError(
            f"{folder} holds a {config.model_type!r}, which cannot be built from weights alone",
            hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA that sees through one",
        )
    model_class: Any = MODEL_MAPPING[type(config)]
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):  # unused parts are drawn at random
            # By way of the library, because it knows the names under which older versions saved.
            model, found = model_class.from_pretrained(
                None, config=config, state_dict=dict(weights), dtype=torch.float32, output_loading_info=True
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


def _view(config: Any) -> tuple[tuple[int, ...], int]:
    """(layers, num_skipped): a LLaVA knows what it looks at; of any other model, all of the last state."""
    layer = getattr(config, "vision_feature_layer", None)
    if layer is None:
        return (), 0
    layers = (layer,) if isinstance(layer, int) else tuple(layer)
    # "default" leaves out the class token, "full" keeps it.
    return layers, int(getattr(config, "vision_feature_select_strategy", "default") == "default")


def _weights_digest(model: nn.Module) -> str:
    """SHA-256 over names and values of what is used, in whatever files and precision they were stored."""
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(_UNUSED):
            sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            sha.update(tensor.contiguous().numpy())
    return sha.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

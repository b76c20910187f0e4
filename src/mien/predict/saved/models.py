"""The models of others that a trained model uses: which of them a saved folder includes, and which it names.

A model on the Hugging Face Hub is named with its commit, and an embedded one is part of mien. Those in local
folders are copied, because they can be found nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from mien.errors import RunError, WeightsError
from mien.model.fusion import Fusion
from mien.predict.saved.layout import MODELS
from mien.recipe import Recipe
from mien.weights.model_folder import EMBEDDED, find_encoder_folder, find_model

__all__ = ["UsedModel", "UsedModelDict", "find_used_models", "include_models", "require_registered"]

Kind = Literal["hub", "embedded", "included", "server"]

_ENGINES_WITH_FOLDERS: Final = ("local", "vllm")
_PARTS: Final = ("faces", "expression", "pose")  # of the engine `cues`, besides `describe.model`
_COPIED: Final = (
    "*.json",
    "*.jinja",
    "*.safetensors",
    "*.txt",
    "tokenizer.model",
    "*.onnx",
    "LICENSE",
    "NOTICE",
)
_FOLDERS: Final = {
    "features.vision": "vision",
    "features.tokenizer": "tokenizer",
    "describe.model": "describe",
}


class UsedModelDict(TypedDict):
    """`UsedModel` as plain values, without places."""

    key: str
    kind: Kind
    name: str
    revision: str | None
    license: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedModel:
    """A model that predicting needs besides the trained classifier.

    Attributes:
        key: The key of the recipe that names the model.
        kind: "hub", "embedded", "included" (copied from a local folder), or "server" (a server has it).
        name: The id on the Hub, or the name of the folder or file.
        value: What the saved recipe says: the id with its commit, or a path in the folder.
        revision: The commit of a model on the Hub; None for others.
        license: The license, as the Hub names it; None if it is not known.
        path: What is copied.
    """

    key: str
    kind: Kind
    name: str
    value: str
    revision: str | None = None
    license: str | None = None
    path: Path | None = None

    def to_json(self) -> UsedModelDict:
        """What the folder's `config.json` says of it."""
        return {
            "key": self.key,
            "kind": self.kind,
            "name": self.name,
            "revision": self.revision,
            "license": self.license,
        }


def find_used_models(recipe: Recipe, fusion: Fusion) -> tuple[UsedModel, ...]:
    """The models that a prediction needs, one per key of the recipe.

    Raises:
        WeightsError: A model is not where the recipe says, or the Hub cannot be reached.
    """
    found = []
    if fusion.uses_image:
        found.append(_find("features.vision", recipe.features.vision))
    if fusion.uses_text:
        found.append(_find("features.tokenizer", recipe.features.tokenizer))
        found += _describing_models(recipe)
    return tuple(found)


def _describing_models(recipe: Recipe) -> list[UsedModel]:
    options = recipe.describe
    if options.engine == "cues":
        parts = {"describe.model": options.model}
        parts |= {
            f"describe.options.{key}": str(options.options[key]) for key in _PARTS if options.options.get(key)
        }
        return [_find_onnx(key, name) for key, name in parts.items()]
    if options.engine in _ENGINES_WITH_FOLDERS:
        return [_find("describe.model", options.model)]
    if options.engine == "remote":
        name = options.model
        return [UsedModel(key="describe.model", kind="server", name=name, value=name)]
    return []


def _find(key: str, name: str) -> UsedModel:
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return UsedModel(key=key, kind="embedded", name=name, value=name, license="Apache-2.0")
    if path.exists():
        return _included(key, path)
    if key == "describe.model":
        folder = find_model(name)
    else:
        folder = find_encoder_folder(name, embedded_as="words", patterns=("config.json", "tokenizer*.json"))
    return UsedModel(
        key=key,
        kind="hub",
        name=folder.name,
        value=f"{folder.name}@{folder.revision}",
        revision=folder.revision,
        license=folder.license,
    )


def _find_onnx(key: str, name: str) -> UsedModel:
    """A part of the engine `cues`: FILE.onnx, FOLDER, NAME, FOLDER:FILE.onnx or NAME:FILE.onnx."""
    path = Path(name).expanduser()
    home, _, file = name.rpartition(":")
    if name == EMBEDDED or path.exists():
        return _find(key, name)
    if home and (inside := Path(home).expanduser() / file).exists():
        return _included(key, inside)
    folder = find_encoder_folder(home or name, embedded_as="detector", patterns=(file or "*.onnx",))
    pinned = f"{folder.name}@{folder.revision}"
    return UsedModel(
        key=key,
        kind="hub",
        name=folder.name,
        value=f"{pinned}:{file}" if home else pinned,
        revision=folder.revision,
        license=folder.license,
    )


def _included(key: str, path: Path) -> UsedModel:
    path = path.resolve()
    return UsedModel(key=key, kind="included", name=path.name, value="", path=path)


# --- Copies --------------------------------------------------------------------------------------------


def include_models(models: Iterable[UsedModel], folder: Path) -> dict[str, str]:
    """Copies the models of local folders into a folder, each once; returns the recipe's values by key.

    Only files that a model library reads as data are copied, never code or pickles.

    Raises:
        WeightsError: A local folder has no file that can be copied.
    """
    values: dict[str, str] = {}
    places: dict[Path, Path] = {}
    for model in models:
        if model.path is None:
            values[model.key] = model.value
            continue
        if model.path not in places:
            place = folder / MODELS / _FOLDERS.get(model.key, model.key.rpartition(".")[2]) / model.path.name
            _copy(model.path, place)
            places[model.path] = place
        values[model.key] = str(places[model.path])
    return values


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True)
        shutil.copyfile(source, target)
        return
    files = sorted({file for pattern in _COPIED for file in source.glob(pattern) if file.is_file()})
    if not files:
        raise WeightsError(
            f"{source} has no file of a model", hint="give a folder that save_pretrained wrote"
        )
    target.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, target / file.name)


def require_registered(recipe: Mapping[str, Any], where: Path) -> None:
    """RunError if the recipe names code of its own for what a prediction builds: the engine or the fusion."""
    for section, key in (("describe", "engine"), ("model", "fusion")):
        name = recipe.get(section, {}).get(key, "")
        if ":" in str(name):
            raise RunError(
                f"{where} names code: {section}.{key} is {name!r}",
                hint="a saved model has only parts that come with mien; load the run directory itself",
            )

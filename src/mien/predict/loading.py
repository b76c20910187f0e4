"""Finds a trained model to predict with, and loads its parts: from a run, a saved folder, or the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.describe.engine import Engine
from mien.describe.open import open_engine
from mien.errors import RunError, WeightsError
from mien.evaluate.calibration.calibrate import Calibration, read_own_calibration
from mien.features.text import TextTokenizer, load_tokenizer
from mien.features.vision_encoder import VisionEncoderSpec
from mien.model.checkpoint import TrainedModel, load_trained
from mien.model.encoder import resolve_vision_encoder
from mien.model.fusion import Fusion
from mien.predict.saved.config import check_config
from mien.predict.saved.fetch import fetch_saved
from mien.predict.saved.layout import CONFIG, HASHES, check_files
from mien.predict.saved.recipe import read_saved_recipe
from mien.recipe import Recipe
from mien.recipe.places import DATA_PLACES, RUN_PLACES, recorded_recipe, require_places
from mien.runs import MANIFEST

__all__ = ["LoadedModel", "ModelSource", "find_source", "load_model", "require_same", "unread_places"]

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a trained model is.

    Attributes:
        folder: A run directory, or a saved folder whose files have been checked.
        recipe: With its models where they are now; None if the folder has weights alone.
        name: The folder's own name, also behind a link, or the last part of an id on the Hub.
        is_saved: Whether it is a saved folder.
    """

    folder: Path
    recipe: Recipe | None
    name: str
    is_saved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A trained model with everything that its inputs and its scores need; None for what it does not use."""

    trained: TrainedModel
    engine: Engine | None
    tokenizer: TextTokenizer | None
    vision: VisionEncoderSpec | None
    calibration: Calibration | None


def find_source(model: str | os.PathLike[str], overrides: Sequence[str] = ()) -> ModelSource:
    """Finds a trained model, and checks the files of one that was saved.

    Args:
        model: A run directory, a folder that `save_pretrained` wrote, or an id on the Hugging Face Hub, also
            as NAME@REVISION, which is downloaded if needed.
        overrides: New places of models that have moved.

    Raises:
        RunError: The model does not exist, it has no weights of its own, or its files must not be read.
        DamagedError: A saved folder lacks files, or they have changed.
        WeightsError: The Hub does not have the model, or cannot be reached.
    """
    folder = Path(model)
    hub_id = os.fspath(model) if _is_hub_id(os.fspath(model)) else None
    if hub_id is not None:
        folder = _fetch(hub_id)
    if (folder / HASHES).exists() or (folder / CONFIG).exists():
        check_files(folder)
        saved = read_saved_recipe(folder, overrides)
        return ModelSource(folder=folder, recipe=saved, name=_name(folder, hub_id), is_saved=True)
    is_run = (folder / MANIFEST).exists() or not folder.exists()  # which is an error that says so
    recipe = recorded_recipe(folder, overrides) if overrides or is_run else None
    if recipe is not None and recipe.zero_shot.method is not None:
        raise RunError(
            f"{folder} was scored without training, so it has no model",
            hint="use mien predict --zero-shot MODEL --calibration RUN, or mien.Predictor.zero_shot",
        )
    return ModelSource(folder=folder, recipe=recipe, name=_name(folder, hub_id))


def _name(folder: Path, hub_id: str | None) -> str:
    if hub_id is not None:
        return hub_id.partition("@")[0].rpartition("/")[2]
    return folder.resolve().name


def _fetch(name: str) -> Path:
    try:
        return fetch_saved(name)
    except WeightsError as error:
        raise WeightsError(f"no folder {name!r} here, and {error}", hint=error.hint) from error


def _is_hub_id(name: str) -> bool:
    """Whether a name can only be an id on the Hub: of two parts, and no folder has the name of the first."""
    return bool(_HUB_ID.fullmatch(name)) and not Path(name.partition("/")[0]).exists()


def load_model(
    source: ModelSource, *, device: str, engine: Engine | None = None, describes: bool = True
) -> LoadedModel:
    """Loads a model with its encoder, tokenizer, describing engine and calibration.

    Args:
        source: Where it is.
        device: The device to load it to, not "auto".
        engine: Replaces the describing engine that the recipe names.
        describes: Whether to open the describing engine.

    Raises:
        RunError: The model is not trained, or belongs to another recipe, prompt or label set.
        WeightsError: Weights that it needs are not available.
        EngineError: The device is not available.
    """
    trained = load_trained(source.folder, device, places=source.recipe)
    if source.recipe is not None:
        trained.check_recipe(source.recipe)
    recipe, fusion = trained.recipe, trained.classifier.fusion
    unread = unread_places(fusion, engine) | (set() if describes else {"describe.model"})
    require_places(recipe, source.folder, but=unread)
    features, place = recipe.features, recipe.run.model_copy(update={"device": device, "cluster": None})
    tokenizer = vision = None
    if fusion.uses_text:
        if describes and engine is None:
            engine = open_engine(recipe.describe, place)
        tokenizer = load_tokenizer(features.tokenizer, features.max_text_tokens, features.truncate)
    if fusion.uses_image:
        vision = resolve_vision_encoder(features, device)
    calibration = read_own_calibration(source.folder, trained.label_set.labels)
    loaded = LoadedModel(
        trained=trained, engine=engine, tokenizer=tokenizer, vision=vision, calibration=calibration
    )
    if source.is_saved:
        check_config(source.folder, trained, vision=vision, tokenizer=tokenizer, calibration=calibration)
    return loaded


def unread_places(fusion: Fusion, engine: Engine | None = None) -> set[str]:
    """The keys of places that a prediction does not read: no data, and only the models that are used."""
    unread = {*DATA_PLACES, *RUN_PLACES, "model.init"}
    if not fusion.uses_text:
        unread |= {"describe.model", "features.tokenizer"}
    if engine is not None:
        unread.add("describe.model")
    return unread if fusion.uses_image else {*unread, "features.vision"}


def require_same(
    what: str, name: str, part: VisionEncoderSpec | TextTokenizer | None, trained_with: str | None
) -> None:
    """RunError unless this is the encoder or tokenizer that the model was trained with."""
    given = None if part is None else part.signature
    if given != trained_with:
        raise RunError(
            f"the {what} {name!r} is not the one that the run was trained with "
            f"({_short(given)}, not {_short(trained_with)})",
            hint=f"restore the original {what}, or retrain",
        )


def _short(signature: str | None) -> str:
    return "none" if signature is None else signature[:12]

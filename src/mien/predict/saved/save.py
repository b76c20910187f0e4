"""Saves a trained model as one folder: weights, labels, thresholds, prompt, preprocessing, digests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien.evaluate.results.results import EVALUATION, read_results, write_results
from mien.files import atomic_folder, require_new_folder
from mien.model.checkpoint import model_digest, save_trained
from mien.predict.saved.card import write_card
from mien.predict.saved.config import model_config, write_config
from mien.predict.saved.layout import CARD, HASHES, listed_files, write_hashes
from mien.predict.saved.models import UsedModel, find_used_models, include_models, require_registered
from mien.predict.saved.recipe import portable_recipe, write_saved_recipe
from mien.runs import MANIFEST, Run

if TYPE_CHECKING:
    from mien.predict.loading import LoadedModel, ModelSource

__all__ = ["SavedModel", "save_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A saved folder: its path, number of files and bytes, and the models of others that it uses."""

    path: Path
    num_files: int
    num_bytes: int
    models: tuple[UsedModel, ...]


def save_model(source: ModelSource, loaded: LoadedModel, folder: Path) -> SavedModel:
    """Saves a model as a folder that can be moved, copied and pushed, and appears when it is complete.

    Args:
        source: Where the model was loaded from. A saved folder is copied.
        loaded: The model.
        folder: A new or empty folder.

    Raises:
        DataError: The folder is not empty, or cannot be written.
        RunError: The recipe names code of its own, which a saved model cannot have.
        WeightsError: A model that it uses is not available.
    """
    require_new_folder(folder)
    recipe = loaded.trained.recipe
    require_registered(recipe.to_json(), source.folder)
    models = find_used_models(recipe, loaded.trained.classifier.fusion)
    with atomic_folder(folder) as target:
        if source.is_saved:
            _copy_saved(source.folder, target)
        else:
            _write(source.folder, loaded, models, target)
    listed = listed_files(folder)
    num_bytes = sum(int(entry["bytes"]) for entry in listed.values())
    return SavedModel(path=folder, num_files=len(listed) + 2, num_bytes=num_bytes, models=models)


def _copy_saved(source: Path, target: Path) -> None:
    for name in (*listed_files(source), HASHES, CARD):
        if (source / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _write(run: Path, loaded: LoadedModel, models: tuple[UsedModel, ...], target: Path) -> None:
    recipe = portable_recipe(loaded.trained.recipe, include_models(models, target))
    trained = replace(loaded.trained, recipe=recipe)
    save_trained(target, trained)
    calibration = loaded.calibration
    if calibration is not None:
        # The digest covers the recipe in the header, in which the places are other ones now.
        replace(calibration, model=model_digest(target)).save(target)
    if (run / EVALUATION).exists():
        results = read_results(run / EVALUATION)
        # Ids may be those of a dataset that is not public.
        note = (f"{len(results.unscored)} samples could not be scored.",) if results.unscored else ()
        write_results(target / EVALUATION, replace(results, unscored=(), notes=(*results.notes, *note)))
    config = model_config(trained, vision=loaded.vision, tokenizer=loaded.tokenizer, calibration=calibration)
    write_config(target, config, models)
    write_saved_recipe(target, recipe, _versions(run))
    write_hashes(target)
    write_card(target, run=run, trained=trained, config=config, models=models)


def _versions(run: Path) -> Mapping[str, str]:
    return Run.open(run).manifest.versions if (run / MANIFEST).exists() else {}

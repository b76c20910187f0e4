"""What a saved model takes and gives, in plain values: labels, thresholds, wording, preprocessing.

`config.json` is for people and for programs without mien. Loading compares it with what this version of mien
does, so that another wording of a prompt or another preprocessing is an error and not another result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mien.batches.builder import view_markings
from mien.describe.prompts import Prompt, resolve_prompt
from mien.documents import read_json
from mien.errors import DamagedError, RunError
from mien.evaluate.calibration.calibrate import Calibration
from mien.features.text import TextTokenizer
from mien.features.vision_encoder import VisionEncoderSpec
from mien.files import atomic_write_json
from mien.media.images import Marking
from mien.model.checkpoint import TrainedModel
from mien.predict.saved.layout import CONFIG
from mien.predict.saved.models import UsedModel
from mien.types import DIMENSIONS
from mien.version import __version__

__all__ = ["check_config", "model_config", "write_config"]

_SCHEMA: Final = 1
_NOT_CHECKED: Final = ("mien_version", "models")


def model_config(
    trained: TrainedModel,
    *,
    vision: VisionEncoderSpec | None,
    tokenizer: TextTokenizer | None,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """Labels, outputs, thresholds, prompt and preprocessing of a model, as JSON values."""
    recipe, labels = trained.recipe, trained.label_set
    return {
        "schema": _SCHEMA,
        "library": "mien",
        "name": recipe.name,
        "fusion": recipe.model.fusion,
        "labels": {
            "name": labels.name,
            "names": list(labels.labels),
            "exclusive": labels.exclusive,
            "predicted": recipe.train.heads != "dimensions",
        },
        "dimensions": list(DIMENSIONS) if trained.classifier.dimensions is not None else [],
        "calibration": _calibration(calibration),
        "describing": None if tokenizer is None else _describing(trained),
        "image": None if vision is None else _image(trained, vision),
        "text": None
        if tokenizer is None
        else {
            "max_tokens": tokenizer.max_tokens,
            "truncate": tokenizer.truncate,
            "pad_id": tokenizer.pad_id,
            "vocab_size": tokenizer.vocab_size,
            "signature": tokenizer.signature,
        },
    }


def _calibration(calibration: Calibration | None) -> dict[str, Any] | None:
    """Slopes and offsets of the logits, and the probabilities from which labels hold."""
    if calibration is None:
        return None
    return {
        "method": calibration.method,
        "fitted_on": calibration.split,
        "slopes": list(calibration.slopes),
        "offsets": list(calibration.offsets),
        "thresholds": calibration.by_label(),
    }


def _describing(trained: TrainedModel) -> dict[str, Any]:
    options = trained.recipe.describe
    prompt = resolve_prompt(options)
    return {
        "engine": options.engine,
        "prompt": _prompt(prompt, trained),
        "prompt_without_box": None if prompt.no_box is None else _prompt(prompt.no_box, trained),
        "marking": asdict(Marking(style=options.marking))
        | {"digest": Marking(style=options.marking).digest()},
        "clip": options.clip,
        "max_new_tokens": options.max_new_tokens,
        "dtype": options.dtype,
        "options": dict(options.options),
        "when_missing": trained.recipe.train.missing_descriptions,
    }


def _prompt(prompt: Prompt, trained: TrainedModel) -> dict[str, str]:
    return {"id": prompt.id, "digest": prompt.digest(), "text": prompt.render(trained.label_set)}


def _image(trained: TrainedModel, vision: VisionEncoderSpec) -> dict[str, Any]:
    recipe = trained.recipe
    markings = view_markings(recipe.features, Marking(style=recipe.feature_marking))
    return {
        **asdict(vision.preprocessing),
        "views": [marking.style for marking in markings],
        "frames": trained.num_frames,
        "layer": vision.layer,
        "tokens": vision.tokens,
        "dim": trained.image_dim,
        "dtype": vision.dtype,
        "signature": vision.signature,
    }


def write_config(folder: Path, config: dict[str, Any], models: Iterable[UsedModel]) -> None:
    """Writes `config.json`, with the models that the saved one uses."""
    used = [model.to_json() for model in models]
    atomic_write_json(folder / CONFIG, {"mien_version": __version__, **config, "models": used})


def check_config(
    folder: Path,
    trained: TrainedModel,
    *,
    vision: VisionEncoderSpec | None,
    tokenizer: TextTokenizer | None,
    calibration: Calibration | None,
) -> None:
    """Checks that a model does here what it did where it was saved.

    Raises:
        RunError: Something differs, such as the wording of the prompt; the message names it.
        DamagedError: The file cannot be read.
    """
    file = folder / CONFIG
    try:
        saved = dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"{file} cannot be read: {error}", hint="get the folder again") from error
    here = model_config(trained, vision=vision, tokenizer=tokenizer, calibration=calibration)
    here = json.loads(json.dumps(here))  # tuples become lists
    keys = sorted({*here, *saved} - {*_NOT_CHECKED})
    differing = [key for key in keys if here.get(key) != saved.get(key)]
    if differing:
        version = saved.get("mien_version")
        raise RunError(
            f"{file} differs from what mien {__version__} does, in {', '.join(differing)}",
            hint=f"load it with mien {version}, which wrote it",
        )

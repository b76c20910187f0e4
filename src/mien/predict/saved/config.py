"""What a saved model takes and gives, in plain values: labels, thresholds, wording, preprocessing.

`config.json` is for people and for programs without mien. Loading compares it with what this version of mien
does, so that another wording of a prompt or another preprocessing is an error and not another result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

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
from mien.predict.saved.models import UsedModel, UsedModelDict
from mien.types import DIMENSIONS
from mien.version import __version__

__all__ = ["ModelConfig", "SavedConfig", "check_config", "model_config", "write_config"]

_SCHEMA: Final = 1
_NOT_CHECKED: Final = ("mien_version", "models")


class LabelsConfig(TypedDict):
    """The label set.

    Attributes:
        name: The name of the label set.
        names: The labels, in whose order all numbers are.
        exclusive: Whether exactly one label holds.
        predicted: Whether the model scores them; False if it learned only dimensions.
    """

    name: str
    names: list[str]
    exclusive: bool
    predicted: bool


class CalibrationConfig(TypedDict):
    """How scores become probabilities, and from which probability on a label holds.

    Attributes:
        method: What was fitted.
        fitted_on: The split on which it was fitted.
        slopes: What each label's logits are multiplied by.
        offsets: What is added to each label's logits after that.
        thresholds: The probability from which a label holds, by label; None where exactly one label holds.
    """

    method: str
    fitted_on: str
    slopes: list[float]
    offsets: list[float]
    thresholds: dict[str, float] | None


class PromptConfig(TypedDict):
    """A prompt.

    Attributes:
        id: The name of the prompt.
        digest: Digest of its wording and its settings.
        text: The wording, with the labels.
    """

    id: str
    digest: str
    text: str


class MarkingConfig(TypedDict):
    """How the person is marked in the image.

    Attributes:
        style: How the person is marked: `red_box`, `crop`, `blur_background` or `none`.
        width: Width of the box's line, as a share of the image's longer side.
        color: RGB color of the box's line.
        digest: Digest of these settings.
    """

    style: str
    width: float
    color: tuple[int, int, int]
    digest: str


class DescribingConfig(TypedDict):
    """How people are described.

    Attributes:
        engine: The engine of the recipe.
        prompt: The prompt for images that show a box.
        prompt_without_box: The prompt for images that show no box; None if it is the same one.
        marking: How the person is marked in the image.
        clip: Which frames of a clip are shown.
        max_new_tokens: The longest answer, in tokens.
        dtype: The floating-point type of computation.
        options: Options of the engine.
        when_missing: What the model does without a description.
    """

    engine: str
    prompt: PromptConfig
    prompt_without_box: PromptConfig | None
    marking: MarkingConfig
    clip: str
    max_new_tokens: int
    dtype: str
    options: dict[str, Any]
    when_missing: str


class ImageConfig(TypedDict):
    """How images become tokens.

    Attributes:
        size: Side of the square image, in pixels.
        mean: What is subtracted from each channel, on the scale of 0 to 1.
        std: What each channel is divided by then.
        fit: How an image becomes a square.
        views: How the person is marked in each view.
        frames: How many frames of a clip are read.
        layer: The layer of the encoder whose states are the tokens; None for the last one.
        tokens: Which tokens of the encoder are used, of each view and frame.
        dim: The width of a token.
        dtype: The floating-point type of computation.
        signature: Identifies the encoder.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    views: list[str]
    frames: int
    layer: int | None
    tokens: str
    dim: int | None
    dtype: str
    signature: str


class TextConfig(TypedDict):
    """How descriptions become tokens.

    Attributes:
        max_tokens: The most tokens of a description.
        truncate: Which end of a longer one is cut.
        pad_id: The id of padding.
        vocab_size: How many ids there are.
        signature: Identifies the tokenizer.
    """

    max_tokens: int
    truncate: str
    pad_id: int
    vocab_size: int
    signature: str


class ModelConfig(TypedDict):
    """What a saved model takes and gives.

    Attributes:
        library: The name of this library, "mien".
        name: The name of the recipe.
        fusion: The class that fuses words and image.
        labels: The label set.
        dimensions: The dimensions that it predicts, in order; empty if none.
        calibration: How scores become probabilities; None if the run was not evaluated.
        describing: How people are described; None if the model reads no text.
        image: How images become tokens; None if the model reads no image.
        text: How descriptions become tokens; None if the model reads no text.
    """

    schema: Literal[1]
    library: str
    name: str
    fusion: str
    labels: LabelsConfig
    dimensions: list[str]
    calibration: CalibrationConfig | None
    describing: DescribingConfig | None
    image: ImageConfig | None
    text: TextConfig | None


class SavedConfig(ModelConfig):
    """What a saved model takes, gives and needs.

    Attributes:
        mien_version: The version of mien that saved it.
        models: The models that predicting needs besides this one.
    """

    mien_version: str
    models: list[UsedModelDict]


def model_config(
    trained: TrainedModel,
    *,
    vision: VisionEncoderSpec | None,
    tokenizer: TextTokenizer | None,
    calibration: Calibration | None,
) -> ModelConfig:
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


def _calibration(calibration: Calibration | None) -> CalibrationConfig | None:
    """Slopes and offsets of the logits, and the probabilities from which labels hold."""
    if calibration is None:
        return None
    return {
        "method": calibration.method,
        "fitted_on": calibration.split,
        "slopes": list(calibration.slopes),
        "offsets": list(calibration.offsets),
        "thresholds": None if (found := calibration.by_label()) is None else dict(found),
    }


def _describing(trained: TrainedModel) -> DescribingConfig:
    options = trained.recipe.describe
    prompt, marking = resolve_prompt(options), Marking(style=options.marking)
    return {
        "engine": options.engine,
        "prompt": _prompt(prompt, trained),
        "prompt_without_box": None if prompt.no_box is None else _prompt(prompt.no_box, trained),
        "marking": {
            "style": marking.style,
            "width": marking.width,
            "color": marking.color,
            "digest": marking.digest(),
        },
        "clip": options.clip,
        "max_new_tokens": options.max_new_tokens,
        "dtype": options.dtype,
        "options": dict(options.options),
        "when_missing": trained.recipe.train.missing_descriptions,
    }


def _prompt(prompt: Prompt, trained: TrainedModel) -> PromptConfig:
    return {"id": prompt.id, "digest": prompt.digest(), "text": prompt.render(trained.label_set)}


def _image(trained: TrainedModel, vision: VisionEncoderSpec) -> ImageConfig:
    recipe = trained.recipe
    markings = view_markings(recipe.features, Marking(style=recipe.feature_marking))
    preprocessing = vision.preprocessing
    return {
        "size": preprocessing.size,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "fit": preprocessing.fit,
        "views": [marking.style for marking in markings],
        "frames": trained.num_frames,
        "layer": vision.layer,
        "tokens": vision.tokens,
        "dim": trained.image_dim,
        "dtype": vision.dtype,
        "signature": vision.signature,
    }


def write_config(folder: Path, config: ModelConfig, models: Iterable[UsedModel]) -> None:
    """Writes `config.json`, with the models that the saved one uses."""
    used = [model.to_json() for model in models]
    saved: SavedConfig = {"mien_version": __version__, **config, "models": used}
    atomic_write_json(folder / CONFIG, saved)


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
    config = model_config(trained, vision=vision, tokenizer=tokenizer, calibration=calibration)
    here = json.loads(json.dumps(config))  # tuples become lists
    keys = sorted({*here, *saved} - {*_NOT_CHECKED})
    differing = [key for key in keys if here.get(key) != saved.get(key)]
    if differing:
        version = saved.get("mien_version")
        raise RunError(
            f"{file} differs from what mien {__version__} does, in {', '.join(differing)}",
            hint=f"load it with mien {version}, which wrote it",
        )

"""Opens a predictor that needs no training, by method and model or as a recipe says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

from mien.describe.engine import Engine
from mien.describe.local.engine import LocalEngine
from mien.describe.open import open_engine
from mien.describe.prompts import resolve_prompt
from mien.describe.remote.engine import RemoteEngine
from mien.describe.vllm import VllmEngine
from mien.errors import ConfigError, RunError, unknown_name
from mien.evaluate.calibration.calibrate import Calibration, read_calibration
from mien.features.device import resolve_device
from mien.labels import LabelSet
from mien.predict.zero_shot.description_scorer import WordsScorer
from mien.predict.zero_shot.labels import ZeroShotLabels, open_labels
from mien.predict.zero_shot.likelihood import LikelihoodScorer
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.predict.zero_shot.ratings import FirstWordScorer, RatingScorer, open_remote_scorer
from mien.predict.zero_shot.scorer import ZeroShotScorer
from mien.predict.zero_shot.sentence_encoder import DEFAULT_ENCODER, SentenceEncoder
from mien.predict.zero_shot.similarity import DEFAULT_SIMILARITY_MODEL, SimilarityScorer
from mien.recipe import DescribeOptions, Recipe, RunOptions, ZeroShotOptions
from mien.recipe.describe import MarkStyle
from mien.recipe.places import recorded_recipe
from mien.recipe.zero_shot import METHODS, NO_ENCODER, Answer, ZeroShotMethod
from mien.runs import MANIFEST

__all__ = [
    "DEFAULT_MODEL",
    "Labels",
    "default_model",
    "load_calibration",
    "open_calibrated",
    "open_recipe_zero_shot",
    "open_zero_shot",
]

Labels = str | Iterable[str] | Mapping[str, str] | ZeroShotLabels

DEFAULT_MODEL: Final = "HuggingFaceTB/SmolVLM-500M-Instruct"  # Apache-2.0, 1 GB: runs on a laptop
# These engines can be told not to let the model reason, after which the first word is its answer.
_THINKING_ENGINES: Final = ("local", "remote", "vllm")


def default_model(method: ZeroShotMethod) -> str:
    """The model of a method where none is given."""
    return DEFAULT_SIMILARITY_MODEL if method == "similarity" else DEFAULT_MODEL


def open_zero_shot(
    model: str | None = None,
    labels: Labels = "emotic",
    *,
    method: ZeroShotMethod = "likelihood",
    exclusive: bool | None = None,
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    engine: Engine | None = None,
    answer: Answer = "yes_no",
    question: str | None = None,
    prompt: str = "paper",
    encoder: str | None = DEFAULT_ENCODER,
    image_prompts: Sequence[str] | None = None,
    marking: MarkStyle = "red_box",
    calibration: Calibration | str | os.PathLike[str] | None = None,
) -> ZeroShotPredictor:
    """See `mien.Predictor.zero_shot`."""
    if method not in METHODS:
        raise unknown_name("zero-shot method", method, METHODS)
    if answer not in get_args(Answer):
        raise unknown_name("answer", answer, get_args(Answer))
    if engine is not None and (model is not None or method == "similarity"):
        raise ConfigError(
            f"an engine and {'a model' if model is not None else 'method similarity'} exclude each other",
            hint="give the engine that runs the model, or the model alone",
        )
    if not (calibration is None or isinstance(calibration, Calibration)):
        calibration = load_calibration(Path(calibration))
    name = model or default_model(method)
    scorer = _open_scorer(
        DescribeOptions(model=name, prompt=prompt, dtype=dtype, marking=marking),
        ZeroShotOptions(
            method=method,
            answer=answer,
            question=question,
            encoder=NO_ENCODER if encoder is None else encoder,
            image_prompts=None if image_prompts is None else tuple(image_prompts),
        ),
        RunOptions(device=resolve_device(device)),
        open_labels(labels, exclusive=exclusive),
        engine,
    )
    return ZeroShotPredictor(
        scorer, calibration=calibration, model=engine.name if engine is not None else name
    )


def open_recipe_zero_shot(
    recipe: Recipe, label_set: LabelSet, *, calibration: Calibration | None = None
) -> ZeroShotPredictor:
    """The predictor that a recipe asks for, with the model and the marking of its section `[describe]`.

    Args:
        recipe: A recipe with `zero_shot.method`.
        label_set: The labels of the data.
        calibration: Turns scores into probabilities.

    Raises:
        ConfigError: The recipe does not ask for one, or for one that cannot be.
        RunError: The calibration was fitted to other scores.
        WeightsError: The model is not available.
    """
    if recipe.zero_shot.method is None:
        raise ConfigError(
            f"recipe {recipe.name!r} has no zero_shot.method", hint=f"set it to {', '.join(METHODS)}"
        )
    if recipe.describe.clip != "middle_frame":
        raise ConfigError(
            f"describe.clip is {recipe.describe.clip!r}, and scores without training see one frame of a clip",
            hint='set it to "middle_frame"',
        )
    known = open_labels(label_set.labels, exclusive=label_set.exclusive)
    labels = ZeroShotLabels(label_set=label_set, definitions=known.definitions)
    scorer = _open_scorer(recipe.describe, recipe.zero_shot, recipe.run, labels, None)
    return ZeroShotPredictor(scorer, calibration=calibration, model=recipe.describe.model)


def load_calibration(path: Path) -> Calibration:
    """The calibration in a file or a run; RunError if there is none."""
    found = read_calibration(path)
    if found is None:
        raise RunError(f"no calibration at {path}", hint="name a run or file that mien calibrate has written")
    return found


def open_calibrated(
    path: Path,
    *,
    model: str | None = None,
    method: ZeroShotMethod | None = None,
    labels: str | Sequence[str] | None = None,
) -> ZeroShotPredictor:
    """The predictor that `mien calibrate` calibrated, with its labels and the settings of its run.

    Args:
        path: The run directory, or its calibration file. A file outside of a run fits the default settings
            of a method.
        model: The model, if not the run's.
        method: The method, if not the run's.
        labels: The labels, if not those of the calibration.

    Raises:
        RunError: The calibration is missing, or was fitted to scores of another model, method or labels.
        WeightsError: The model is not available.
    """
    calibration = load_calibration(path)
    if labels is None:
        opened = open_labels(calibration.labels, exclusive=calibration.exclusive)
    else:
        opened = open_labels(labels)
    run = path.parent if path.is_file() else path
    if not (run / MANIFEST).exists():
        return open_zero_shot(model, opened, method=method or "likelihood", calibration=calibration)
    recipe = recorded_recipe(run)
    if recipe.zero_shot.method is None:
        raise RunError(
            f"{path} is the calibration of a trained run", hint=f"use mien predict --run {run}, without it"
        )
    describe = recipe.describe if model is None else recipe.describe.model_copy(update={"model": model})
    options = recipe.zero_shot.model_copy(update={"method": method or recipe.zero_shot.method})
    here = recipe.run.model_copy(update={"device": resolve_device("auto"), "cluster": None})
    scorer = _open_scorer(describe, options, here, opened, None)
    return ZeroShotPredictor(scorer, calibration=calibration, model=describe.model)


def _open_scorer(
    describe: DescribeOptions,
    options: ZeroShotOptions,
    run: RunOptions,
    labels: ZeroShotLabels,
    engine: Engine | None,
) -> ZeroShotScorer:
    marking = describe.marking
    if options.method == "similarity":
        return SimilarityScorer(
            describe.model, labels, device=run.device, prompts=options.image_prompts, marking=marking
        )
    if options.method == "words":
        prompt = resolve_prompt(describe)
        encoder = None if options.encoder == NO_ENCODER else SentenceEncoder(options.encoder, run.device)
        engine = engine or open_engine(describe, run)
        return WordsScorer(engine, labels, encoder=encoder, prompt=prompt, marking=marking)
    if describe.engine in _THINKING_ENGINES:
        # The first word of a model that reasons first would not be its answer.
        describe = describe.model_copy(update={"options": {**describe.options, "thinking": False}})
    run = run.model_copy(update={"cluster": None})  # probabilities are read in this process
    return _likelihood(
        engine or open_engine(describe, run),
        labels,
        answer=options.answer,
        question=options.question,
        marking=marking,
    )


def _likelihood(
    engine: Engine, labels: ZeroShotLabels, *, answer: Answer, question: str | None, marking: MarkStyle
) -> ZeroShotScorer:
    if isinstance(engine, LocalEngine):
        return LikelihoodScorer(engine, labels, answer=answer, question=question, marking=marking)
    if answer != "yes_no":
        raise ConfigError(
            f"answer {answer!r} needs a model in this process, and the engine is {engine.name}",
            hint='use answer="yes_no", or give the model instead of the engine',
        )
    if isinstance(engine, RemoteEngine):
        return open_remote_scorer(engine, labels, question=question, marking=marking)
    if isinstance(engine, VllmEngine):
        return FirstWordScorer(engine.for_first_words(), labels, question=question, marking=marking)
    return RatingScorer(engine, labels, marking=marking)

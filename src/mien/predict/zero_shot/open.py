"""Opens a predictor that needs no training, by method and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

from pydantic import JsonValue

from mien.describe.engine import Engine
from mien.describe.local.engine import LocalEngine
from mien.describe.open import open_engine
from mien.describe.prompts import resolve_prompt
from mien.describe.remote.engine import RemoteEngine
from mien.errors import ConfigError, unknown_name
from mien.evaluate.calibration.calibrate import Calibration
from mien.features.device import resolve_device
from mien.predict.zero_shot.description_scorer import WordsScorer
from mien.predict.zero_shot.labels import ZeroShotLabels, open_labels
from mien.predict.zero_shot.likelihood import Answer, LikelihoodScorer
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.predict.zero_shot.ratings import RatingScorer, open_remote_scorer
from mien.predict.zero_shot.scorer import ZeroShotScorer
from mien.predict.zero_shot.sentence_encoder import DEFAULT_ENCODER, SentenceEncoder
from mien.predict.zero_shot.similarity import DEFAULT_SIMILARITY_MODEL, SimilarityScorer
from mien.recipe import DescribeOptions, RunOptions
from mien.recipe.describe import MarkStyle

__all__ = ["DEFAULT_MODEL", "METHODS", "Labels", "Method", "open_zero_shot"]

Method = Literal["likelihood", "words", "similarity"]
Labels = str | Iterable[str] | Mapping[str, str] | ZeroShotLabels

METHODS: Final[tuple[Method, ...]] = get_args(Method)
DEFAULT_MODEL: Final = "HuggingFaceTB/SmolVLM-500M-Instruct"  # Apache-2.0, 1 GB: runs on a laptop


def open_zero_shot(
    model: str | None = None,
    labels: Labels = "emotic",
    *,
    method: Method = "likelihood",
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
    calibration: Calibration | None = None,
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
    opened, device = open_labels(labels, exclusive=exclusive), resolve_device(device)
    scorer: ZeroShotScorer
    if method == "similarity":
        name = model or DEFAULT_SIMILARITY_MODEL
        scorer = SimilarityScorer(name, opened, device=device, prompts=image_prompts, marking=marking)
        return ZeroShotPredictor(scorer, calibration=calibration)
    # The first word of a model that reasons first would not be its answer.
    thinking: dict[str, JsonValue] = {"thinking": False} if method == "likelihood" else {}
    options = DescribeOptions(model=model or DEFAULT_MODEL, prompt=prompt, dtype=dtype, options=thinking)
    engine = engine or open_engine(options, RunOptions(device=device))
    if method == "words":
        asked = resolve_prompt(options)
        sentences = None if encoder is None else SentenceEncoder(encoder, device)
        scorer = WordsScorer(engine, opened, encoder=sentences, prompt=asked, marking=marking)
    else:
        scorer = _likelihood(engine, opened, answer=answer, question=question, marking=marking)
    return ZeroShotPredictor(scorer, calibration=calibration)


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
    return RatingScorer(engine, labels, marking=marking)

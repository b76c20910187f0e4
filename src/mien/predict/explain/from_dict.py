"""Explanations from the plain values of `Explanation.to_dict`, such as an answer of a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.errors import EngineError
from mien.evaluate.explanations.heat_map import HeatMap
from mien.predict.explain.counterfactuals import Counterfactual
from mien.predict.explain.curves import Curve, Faithfulness
from mien.predict.explain.explanation import (
    AttentionShares,
    Explanation,
    LabelExplanation,
    NamedLabel,
    WordImportance,
)
from mien.types import Box, ImageRef

__all__ = ["explanation_from_dict"]


def explanation_from_dict(values: Mapping[str, Any], image: ImageRef) -> Explanation:
    """The explanation that became these values; KeyError, TypeError or MienError for anything else.

    Args:
        values: From `Explanation.to_dict`.
        image: Where the photo is.
    """
    shares = values["attention_shares"]
    return Explanation(
        source=str(image.path),
        image=image,
        person=values["person"],
        box=_box(values["box"]),
        scores=values["scores"],
        description=values["description"],
        labels=tuple(map(_label, values["labels"])),
        attention_shares=None if shares is None else AttentionShares(**shares),
        counterfactuals=tuple(map(_counterfactual, values["counterfactuals"])),
        notes=tuple(values["notes"]),
    )


def _label(values: Mapping[str, Any]) -> LabelExplanation:
    return LabelExplanation(
        label=values["label"],
        score=values["score"],
        words=tuple(WordImportance(**word) for word in values["words"]),
        naming=None if values["naming"] is None else NamedLabel(**values["naming"]),
        attention=_heat_map(values["attention"]),
        occlusion=_heat_map(values["occlusion"]),
        word_faithfulness=tuple(map(_faithfulness, values["word_faithfulness"])),
        region_faithfulness=tuple(map(_faithfulness, values["region_faithfulness"])),
    )


def _heat_map(values: Mapping[str, Any] | None) -> HeatMap | None:
    if values is None:
        return None
    return HeatMap(method=values["method"], values=np.array(values["values"], dtype=np.float64))


def _faithfulness(values: Mapping[str, Any]) -> Faithfulness:
    return Faithfulness(
        method=values["method"],
        deletion=_curve(values["deletion"]),
        insertion=_curve(values["insertion"]),
        random_deletion=_curve(values["random_deletion"]),
        random_insertion=_curve(values["random_insertion"]),
        limit=values["limit"],
    )


def _curve(values: Mapping[str, Any]) -> Curve:
    return Curve(tuple(values["shares"]), tuple(values["scores"]))


def _counterfactual(values: Mapping[str, Any]) -> Counterfactual:
    error = values["error"]
    return Counterfactual(
        kind=values["kind"],
        what=values["what"],
        scores=values["scores"],
        scores_of_same_words=values["scores_of_same_words"],
        description=values["description"],
        box=_box(values["box"]),
        error=None if error is None else EngineError(error),
    )


def _box(edges: tuple[float, float, float, float] | None) -> Box | None:
    return None if edges is None else Box.from_tuple(edges)

"""Explains the scores of one person in a photo, with the model that gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float

from mien.errors import UsageError
from mien.evaluate.explanations.heat_map import HeatMap
from mien.model.attention import AttentionRollout
from mien.predict.explain.counterfactuals import (
    COUNTERFACTUAL_KINDS,
    CounterfactualKind,
    answer,
)
from mien.predict.explain.curves import Faithfulness, RandomOrders, measure_faithfulness
from mien.predict.explain.description_words import DescriptionWords
from mien.predict.explain.explanation import (
    AttentionShares,
    Explanation,
    LabelExplanation,
    NamedLabel,
    WordImportance,
)
from mien.predict.explain.geometry import CellGrid
from mien.predict.explain.probe import ModelProbe, TextTokens
from mien.predict.explain.regions import PhotoRegions
from mien.types import Box, Prediction, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from mien.predict.predictor import Predictor

__all__ = ["ExplainOptions", "explain_subject"]

_FINE: Final = 2  # cells of a map of attention per patch, because patches seldom end where cells do


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What to explain, and how closely.

    Attributes:
        labels: The labels to explain; by default those with the highest scores.
        top: How many, by default.
        cells: Cells along the longer side of the photo that are hidden in turn.
        counterfactuals: The kinds to answer. Those of other people and of changed photos describe anew, once
            per answer.
        descriptions: Other descriptions to try.
        face: The person's face, in pixels of the photo; guessed from the box by default.
        random_orders: Random orders that faithfulness is compared with; 0 does not measure it.
        steps: Points of a deletion or insertion curve after the first.
        seed: Of the random orders.

    Raises:
        UsageError: A number is too small.
    """

    labels: tuple[str, ...] = ()
    top: int = 3
    cells: int = 8
    counterfactuals: tuple[CounterfactualKind, ...] = COUNTERFACTUAL_KINDS
    descriptions: tuple[str, ...] = ()
    face: Box | None = None
    random_orders: int = 8
    steps: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("cells", 2), ("random_orders", 0), ("steps", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}", hint=f"give at least {least}")


def explain_subject(
    predictor: Predictor,
    subject: Subject,
    *,
    person: int = 0,
    others: Mapping[int, Box] | None = None,
    description: str | None = None,
    options: ExplainOptions | None = None,
    before_batch: Callable[[], None] | None = None,
) -> Explanation:
    """Why a person has these scores.

    Importance is that for the second stage: the description stays the same while words and regions are
    hidden. Counterfactuals of other people and of changed photos go through both stages.

    Args:
        predictor: A trained run.
        subject: A person in a photo.
        person: The number of the person in the photo.
        others: The boxes of other people in the photo, by their numbers.
        description: What the model is to read; by default the person is described.
        options: What to explain.
        before_batch: Is called between batches that the model reads. What it raises ends the explanation.

    Raises:
        UsageError: The run reads clips, or learned no labels.
        UnknownNameError: No label has this name.
        DataError: The photo cannot be read.
        EngineError: The person cannot be described.
    """
    options = options or ExplainOptions()
    _check(predictor, subject, options)
    probe = ModelProbe(predictor, before_batch)
    notes = []
    if probe.uses_text and description is None:
        (prediction,) = predictor.predict([subject])
        description = None if prediction.description is None else prediction.description.text
    text = description if probe.uses_text else None
    tokens = probe.tokenize(text)
    regions = PhotoRegions(probe, subject, tokens, cells=options.cells) if probe.uses_image else None
    image = None if regions is None else probe.encode(regions.pixels[None])
    base = probe.scores(image, tokens)[0]
    words = None if text is None else DescriptionWords(probe, image, text)
    label_set = predictor.trained.label_set
    indices = _chosen(label_set.labels, base, options, label_set.index)
    rollout = None if image is None else _roll_out(probe, image, tokens)
    maps, shares, note = _attention(probe, regions, rollout, indices, options)
    notes += [*note, *_text_notes(probe, words)]
    explainer = _LabelExplainer(base, words, regions, options)
    return Explanation(
        source=str(subject.images[0].path),
        image=subject.images[0],
        person=person,
        box=subject.boxes[0],
        scores=label_set.decode([float(score) for score in base]),
        description=text,
        labels=tuple(explainer.explain(index, label_set.labels[index], maps) for index in indices),
        attention_shares=shares,
        counterfactuals=answer(
            probe,
            subject,
            regions,
            text,
            kinds=options.counterfactuals,
            others=others or {},
            face=options.face,
            descriptions=options.descriptions,
        ),
        notes=tuple(notes),
        unsure_because=_unsure_because(predictor, subject, base),
    )


def _unsure_because(predictor: Predictor, subject: Subject, base: Float[np.ndarray, " label"]) -> str:
    """Why the model is not sure; "" if it is, or cannot tell."""
    calibration = predictor.calibration
    if calibration is None:
        return ""
    label_set = predictor.trained.label_set
    prediction = Prediction(
        subject_id=subject.id,
        label_set=label_set.name,
        scores=label_set.decode([float(score) for score in base]),
        thresholds=calibration.by_label(),
        min_confidence=calibration.min_confidence,
    )
    return prediction.unsure_because or ""


def _check(predictor: Predictor, subject: Subject, options: ExplainOptions) -> None:
    if options.descriptions and predictor.text_stage is None:
        raise UsageError("this run reads no descriptions", hint="leave out the other description")
    if len(subject.images) != 1 or predictor.trained.num_frames != 1:
        raise UsageError(
            "explanations are of photos, and this is a clip", hint="give a photo, and a run of photos"
        )
    if not predictor.trained.classifier.predicts_labels:
        raise UsageError(
            "the run learned no labels, only dimensions", hint='train with train.heads "both" or "labels"'
        )


def _chosen(
    names: Sequence[str], base: Float[np.ndarray, " label"], options: ExplainOptions, index_of: Any
) -> list[int]:
    """The indices of the labels to explain."""
    if options.labels:
        return [index_of(name) for name in dict.fromkeys(options.labels)]
    return [int(index) for index in np.argsort(-base, kind="stable")[: min(options.top, len(names))]]


# --- Words and regions -----------------------------------------------------------------------------------

# Of a label: the map of its attention, and the values of the cells that are hidden.
_Attention = Mapping[int, tuple[HeatMap, Float[np.ndarray, " cell"]]]


class _LabelExplainer:
    """Explains one label after another; what is hidden at random is scored once for all."""

    def __init__(
        self,
        base: Float[np.ndarray, " label"],
        words: DescriptionWords | None,
        regions: PhotoRegions | None,
        options: ExplainOptions,
    ) -> None:
        self._base, self._options = base, options
        self._words = words if words is not None and words.num_parts else None
        self._regions = regions
        self._word_drops = None if self._words is None else self._words.occlusion(base)
        self._region_drops = None if regions is None else regions.occlusion(base)
        self._word_orders = self._draw_orders(self._words)
        self._region_orders = self._draw_orders(regions)

    def _draw_orders(self, parts: DescriptionWords | PhotoRegions | None) -> RandomOrders | None:
        options = self._options
        if parts is None or not options.random_orders:
            return None
        return RandomOrders.draw(parts, pairs=options.random_orders, steps=options.steps, seed=options.seed)

    def explain(self, index: int, label: str, attention: _Attention) -> LabelExplanation:
        """The explanation of the label with this index."""
        item = LabelExplanation(label=label, score=float(self._base[index]))
        return self._add_regions(self._add_words(item, index), index, attention)

    def _add_words(self, item: LabelExplanation, index: int) -> LabelExplanation:
        words, drops = self._words, self._word_drops
        if words is None or drops is None:
            return item
        importance = {"occlusion": drops[index]}
        gradients = words.gradient_times_input([index])
        if gradients is not None:
            importance["gradient"] = gradients[0]
        return replace(
            item,
            words=_word_importances(words, importance, index),
            naming=_named_label(words, self._base, index),
            word_faithfulness=_measure(words, importance, index, self._word_orders),
        )

    def _add_regions(self, item: LabelExplanation, index: int, attention: _Attention) -> LabelExplanation:
        regions, drops = self._regions, self._region_drops
        if regions is None or drops is None:
            return item
        importance = {"occlusion": drops[index].ravel()}
        heat_map = None
        if index in attention:
            heat_map, importance["attention"] = attention[index]
        return replace(
            item,
            attention=heat_map,
            occlusion=HeatMap(method="occlusion", values=drops[index]),
            region_faithfulness=_measure(regions, importance, index, self._region_orders),
        )


def _measure(
    parts: DescriptionWords | PhotoRegions,
    importance: Mapping[str, Float[np.ndarray, " part"]],
    index: int,
    random: RandomOrders | None,
) -> tuple[Faithfulness, ...]:
    return () if random is None else measure_faithfulness(parts, importance, index, random)


def _word_importances(
    words: DescriptionWords, importance: Mapping[str, Float[np.ndarray, " word"]], label: int
) -> tuple[WordImportance, ...]:
    drops, gradient = importance["occlusion"], importance.get("gradient")
    naming = {index for mention in words.mentions(label) for index in mention}
    return tuple(
        WordImportance(
            word=words.text[word.start : word.end],
            start=word.start,
            end=word.end,
            occlusion=float(drops[index]),
            gradient=None if gradient is None else float(gradient[index]),
            names_label=index in naming,
        )
        for index, word in enumerate(words.words)
    )


def _named_label(words: DescriptionWords, base: Float[np.ndarray, " label"], label: int) -> NamedLabel | None:
    mentions = words.mentions(label)
    if not mentions:
        return None
    hidden = np.zeros((1, words.num_parts), dtype=bool)
    hidden[0, [index for mention in mentions for index in mention]] = True
    return NamedLabel(
        num_mentions=len(mentions),
        bonus=words.bonus(label),
        drop=float(base[label] - words.scores(hidden)[0, label]),
        drop_of_bonus=float(base[label] - words.scores_without_bonus(label)[label]),
    )


def _text_notes(probe: ModelProbe, words: DescriptionWords | None) -> list[str]:
    notes = []
    if probe.uses_text and words is None:
        notes.append("the model had no description to read, so no word can matter")
    if words is not None:
        read = sum(word.end - word.start for word in words.words)
        written = sum(not character.isspace() for character in words.text)
        if read < written and words.is_cut:
            notes.append(
                f"the model read {read} of {written} characters of the description, at most "
                f"{probe.predictor.trained.recipe.features.max_text_tokens} tokens"
            )
    if probe.uses_text and probe.uses_image and not probe.predictor.trained.recipe.train.description_dropout:
        notes.append(
            "the run was trained without train.description_dropout: it never saw a person without words, so "
            "its scores without them are a guess"
        )
    return notes


# --- Attention -------------------------------------------------------------------------------------------


def _roll_out(probe: ModelProbe, image: Tensor, text: TextTokens | None) -> AttentionRollout | None:
    with torch.no_grad():
        ids, mask = (None, None) if text is None else (text.ids, text.mask)
        return probe.classifier.fusion.roll_out_attention(image, ids, mask)


def _attention(
    probe: ModelProbe,
    regions: PhotoRegions | None,
    rollout: AttentionRollout | None,
    indices: Sequence[int],
    options: ExplainOptions,
) -> tuple[dict[int, tuple[HeatMap, Float[np.ndarray, " cell"]]], AttentionShares | None, list[str]]:
    """For each label the map and its values on the cells that are hidden; the shares; notes."""
    if regions is None:
        return {}, None, []
    fusion = probe.predictor.trained.recipe.model.fusion
    if rollout is None:
        return (
            {},
            None,
            [f"fusion {fusion!r} has no queries that attend to the image: there is no attention map"],
        )
    patch_grid = _patch_grid(probe)
    if patch_grid is None:
        return {}, None, ["the tokens of the encoder are not a grid of patches: there is no attention map"]
    fine = CellGrid.fit(regions.grid.size, _FINE * patch_grid[1])
    maps = {}
    by_label = probe.classifier.fusion.num_label_parts is not None
    pooled = _pool(rollout, None)
    for index in indices:
        patches = _pool(rollout, index) if by_label else pooled
        values, _ = regions.spread(patches, patch_grid, fine)
        on_cells, _ = regions.spread(patches, patch_grid, regions.grid)
        heat_map = HeatMap(method="attention", values=values / max(values.sum(), 1e-12))
        maps[index] = (heat_map, on_cells.ravel())
    _, outside = regions.spread(pooled, patch_grid, fine)
    num_queries = rollout.patches.shape[1]
    tokens = (rollout.weights[0] @ rollout.tokens[0]).float().cpu().numpy()
    seen = float(pooled.sum())
    shares = AttentionShares(
        photo=seen * (1 - outside),
        other_image=seen * outside,
        words=float(tokens[num_queries:].sum()),
        queries=float(tokens[:num_queries].sum()),
    )
    return maps, shares, []


def _pool(rollout: AttentionRollout, query: int | None) -> Float[np.ndarray, " patch"]:
    """The shares of the patches for one query, or for all queries as they are pooled."""
    patches = rollout.patches[0, query] if query is not None else rollout.weights[0] @ rollout.patches[0]
    return patches.float().cpu().numpy()


def _patch_grid(probe: ModelProbe) -> tuple[int, int] | None:
    encoder: Any = probe.classifier.encoder
    vision = probe.predictor.vision
    assert vision is not None, "the model reads images"
    found: tuple[int, int] | None = vision.encoder.patch_grid if encoder is None else encoder.vit.patch_grid
    return found

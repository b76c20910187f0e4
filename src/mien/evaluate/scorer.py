"""Scores a split with a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.model.classifier import Classifier, scores_from_logits

__all__ = ["BatchSource", "ScoredBatch", "score_split"]

_BATCH_SIZE: Final = 64


@runtime_checkable
class ScoredBatch(Protocol):
    """The inputs of some samples; None for what the classifier does not read."""

    @property
    def image(self) -> Float[Tensor, "batch patch image_dim"] | None: ...
    @property
    def text_ids(self) -> Int[Tensor, "batch token"] | None: ...
    @property
    def text_mask(self) -> Bool[Tensor, "batch token"] | None: ...


@runtime_checkable
class BatchSource(Protocol):
    """A split with its targets, such as `mien.batches.batch.SplitData`."""

    @property
    def split(self) -> str: ...
    @property
    def label_set(self) -> LabelSet: ...
    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def targets(self) -> Float[Tensor, "sample label"]: ...
    @property
    def dimensions(self) -> Float[Tensor, "sample dimension"]: ...
    @property
    def lengths(self) -> Int[np.ndarray, " sample"]: ...
    def batch(
        self, indices: Int[np.ndarray, " batch"], *, image: bool, text: bool, device: torch.device | str
    ) -> ScoredBatch: ...


def score_split(classifier: Classifier, data: BatchSource, *, batch_size: int = _BATCH_SIZE) -> SplitScores:
    """Scores every sample, in the order of the split, on the classifier's device.

    Dropout and gradients are off; the classifier's mode (training or evaluation) is restored afterwards.

    Raises:
        DataError: A score is not finite.
    """
    was_training = classifier.training
    classifier.eval()
    try:
        scores, dimensions = _predict(classifier, data, batch_size)
    finally:
        classifier.train(was_training)
    return SplitScores(
        split=data.split,
        label_set=data.label_set,
        ids=tuple(data.ids),
        groups=tuple(data.groups),
        scores=scores,
        targets=data.targets.numpy().astype(np.float32),
        dimensions=dimensions,
        dimension_targets=data.dimensions.numpy().astype(np.float32),
        has_labels=classifier.predicts_labels,
    )


@torch.inference_mode()
def _predict(
    classifier: Classifier, data: BatchSource, batch_size: int
) -> tuple[np.ndarray, np.ndarray | None]:
    device = next(classifier.parameters()).device
    uses = {"image": classifier.fusion.uses_image, "text": classifier.fusion.uses_text}
    scores = np.empty(tuple(data.targets.shape), dtype=np.float32)
    dimensions = np.empty(tuple(data.dimensions.shape), dtype=np.float32)
    # Texts of similar length need little padding.
    order = np.argsort(data.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = data.batch(rows, **uses, device=device)
        output = classifier(batch.image, batch.text_ids, batch.text_mask)
        scores[rows] = (
            scores_from_logits(output.logits, exclusive=data.label_set.exclusive).float().cpu().numpy()
        )
        if output.dimensions is not None:
            dimensions[rows] = output.dimensions.float().cpu().numpy()
    return scores, None if classifier.dimensions is None else dimensions

"""Scoring a split: every sample in its row, for any batch size, without dropout."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mien.batches.batch import SplitData, TextInputs
from mien.errors import DataError
from mien.evaluate.scorer import BatchSource, score_split
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion
from mien.recipe import ModelOptions

_ROWS, _VOCABULARY = 23, 40


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _split(label_set: LabelSet = EMOTIC) -> SplitData:
    """Texts of random words and lengths; half of the samples have no dimensions."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 12, (_ROWS,), generator=random)
    ids = torch.randint(1, _VOCABULARY, (_ROWS, 12), generator=random)
    targets = torch.zeros(_ROWS, len(label_set))
    targets[torch.arange(_ROWS), torch.arange(_ROWS) % len(label_set)] = 1.0
    dimensions = torch.rand(_ROWS, 3, generator=random)
    dimensions[::2] = float("nan")
    return SplitData(
        split="test",
        label_set=label_set,
        ids=tuple(f"s{row}" for row in range(_ROWS)),
        groups=tuple(f"p{row // 2}" for row in range(_ROWS)),
        targets=targets,
        dimensions=dimensions,
        images=None,
        texts=TextInputs(ids, lengths, _VOCABULARY, "made up"),
    )


def _classifier(label_set: LabelSet = EMOTIC, *, dimensions: bool = True) -> Classifier:
    torch.manual_seed(0)
    options = ModelOptions(fusion="text_only", width=16, layers=1, heads=2, num_queries=2, dropout=0.5)
    fusion = build_fusion(options, image_dim=None, vocab_size=_VOCABULARY)
    return Classifier(fusion, len(label_set), dimensions=dimensions)


def test_every_sample_gets_the_scores_it_would_get_alone() -> None:
    data: BatchSource = _split()
    classifier = _classifier().eval()
    scores = score_split(classifier, data)
    with torch.inference_mode():
        for row in range(_ROWS):
            batch = data.batch(np.array([row]), image=False, text=True, device="cpu")
            output = classifier(None, batch.text_ids, batch.text_mask)
            np.testing.assert_allclose(scores.scores[row], output.logits.sigmoid()[0], atol=1e-5)
            assert output.dimensions is not None
            assert scores.dimensions is not None
            np.testing.assert_allclose(scores.dimensions[row], output.dimensions[0], atol=1e-5)
    assert len(np.unique(scores.scores[:, 0])) > _ROWS // 2  # samples differ


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    classifier, data = _classifier(), _split()
    whole = score_split(classifier, data)
    np.testing.assert_allclose(
        score_split(classifier, data, batch_size=batch_size).scores, whole.scores, atol=1e-5
    )


def test_dropout_is_off_and_the_mode_is_restored() -> None:
    classifier, data = _classifier(), _split()
    classifier.train()
    first = score_split(classifier, data)
    np.testing.assert_array_equal(first.scores, score_split(classifier, data).scores)
    assert classifier.training
    classifier.eval()
    score_split(classifier, data)
    assert not classifier.training


def test_scores_come_with_the_split() -> None:
    data = _split()
    scores = score_split(_classifier(), data)
    assert (scores.split, scores.label_set, scores.ids, scores.groups) == (
        "test",
        EMOTIC,
        data.ids,
        data.groups,
    )
    np.testing.assert_array_equal(scores.targets, data.targets)
    np.testing.assert_array_equal(scores.dimension_targets, data.dimensions)
    assert scores.has_dimensions


def test_exclusive_scores_sum_to_one() -> None:
    scores = score_split(_classifier(CAERS), _split(CAERS))
    np.testing.assert_allclose(scores.scores.sum(axis=1), 1, atol=1e-5)


def test_a_classifier_without_dimensions_predicts_none() -> None:
    scores = score_split(_classifier(dimensions=False), _split())
    assert scores.dimensions is None
    assert not scores.has_dimensions


def test_nan_weights_are_an_error_and_the_mode_is_restored() -> None:
    classifier = _classifier()
    classifier.train()
    with torch.no_grad():
        classifier.labels.get_parameter("weight").fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        score_split(classifier, _split())
    assert classifier.training

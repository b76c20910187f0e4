"""The choice of examples, and the content of their cards."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import label_ranking_average_precision_score

from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.report.run.gallery import ExampleCard, best_and_worst, rate_samples
from mien.types import Box

_SET = LabelSet(name="mood", labels=("Glad", "Sad", "Cross"), exclusive=False)
_TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=np.float32)


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    path = tmp_path / "gray.png"
    Image.new("RGB", (200, 100), (128, 128, 128)).save(path)
    return path


def _scores(values: list[list[float]]) -> SplitScores:
    rows = len(values)
    return SplitScores(
        split="test",
        label_set=_SET,
        ids=tuple("abcd"[:rows]),
        groups=tuple("abcd"[:rows]),
        scores=np.array(values, dtype=np.float32),
        targets=_TRUTH[:rows],
    )


def _examples(scores: SplitScores, image_path: Path, box: Box | None = None) -> dict[str, Example]:
    return {
        id: Example(
            id=id,
            images=(image_path,),
            frames=(None,),
            boxes=(box,),
            labels={},
            dimensions=None,
            description=f"about {id}",
        )
        for id in scores.ids
    }


def _open(card: ExampleCard) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(card.image.removeprefix("data:image/jpeg;base64,"))))


def test_the_rating_is_label_ranking_average_precision() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((40, 7)) < 0.3
    truth[:, 0] |= ~truth.any(axis=1)
    scores = np.round(rng.random((40, 7)), 1)
    ratings, _ = rate_samples(scores, truth)
    expected = [
        label_ranking_average_precision_score(truth[row : row + 1], scores[row : row + 1])
        for row in range(40)
    ]
    np.testing.assert_allclose(ratings, expected)


def test_best_and_worst_never_overlap(image_path: Path) -> None:
    scores = _scores([[0.6, 0.1, 0.1], [0.9, 0.1, 0.5], [0.9, 0.9, 0.0], [0.3, 0.3, 0.3]])
    best, worst = best_and_worst(scores, _examples(scores, image_path), 4)
    # b is ranked worst; c beats a by its margin; d has no true label and is not rated.
    assert [card.id for card in best] == ["c"]
    assert [card.id for card in worst] == ["b"]
    assert (best[0].rating, worst[0].rating) == ("1.00", "0.33")
    alone, none = best_and_worst(_scores([[0.6, 0.1, 0.1]]), _examples(scores, image_path), 4)
    assert ([card.id for card in alone], none) == (["a"], ())


def test_a_card_shows_labels_scores_and_dimensions(image_path: Path) -> None:
    scores = replace(
        _scores([[0.1, 0.9, 0.5]]),
        dimensions=np.array([[0.25, 0.5, 1.02]], dtype=np.float32),
        dimension_targets=np.array([[0.2, np.nan, 0.9]], dtype=np.float32),
    )
    (card,), _ = best_and_worst(scores, _examples(scores, image_path), 1)
    assert card.true_labels == ("Glad",)
    assert card.description == "about a"
    assert [(item.label, item.score, item.is_true) for item in card.top_scores] == [
        ("Sad", "0.90", False),
        ("Cross", "0.50", False),
        ("Glad", "0.10", True),
    ]
    assert [(line.predicted, line.annotated) for line in card.dimensions] == [
        ("0.25", "0.20"),
        ("0.50", ""),
        ("1.00, bounded", "0.90"),
    ]


def test_true_labels_with_low_ranks_are_listed(image_path: Path) -> None:
    many = LabelSet(name="many", labels=tuple("ABCDEFGH"), exclusive=False)
    scores = SplitScores(
        split="test",
        label_set=many,
        ids=("a",),
        groups=("a",),
        scores=np.linspace(0.8, 0.1, 8, dtype=np.float32)[None],
        targets=np.array([[1, 0, 0, 0, 0, 0, 1, 0]], dtype=np.float32),
    )
    (card,), _ = best_and_worst(scores, _examples(scores, image_path), 1)
    assert [item.label for item in card.top_scores] == list("ABCDE")
    assert [(item.label, item.rank) for item in card.missed] == [("G", 7)]


def test_the_image_has_the_red_box(image_path: Path) -> None:
    scores = _scores([[0.6, 0.1, 0.1]])
    box = Box(left=50, top=20, right=150, bottom=80)
    (card,), _ = best_and_worst(scores, _examples(scores, image_path, box), 1)
    shown = np.asarray(_open(card)).astype(int)
    red = shown[..., 0] - shown[..., 1:].max(axis=-1)
    assert red[50, 49] > 60  # the left edge of the box
    assert abs(red[50, 100]) < 30  # inside the box
    (plain,), _ = best_and_worst(scores, _examples(scores, image_path), 1)
    assert (np.asarray(_open(plain)).astype(int)[..., 0] < 160).all()


def test_a_large_image_is_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500)).save(path)
    scores = _scores([[0.6, 0.1, 0.1]])
    (card,), _ = best_and_worst(scores, _examples(scores, path), 1)
    assert max(_open(card).size) <= 600


@pytest.mark.parametrize("damage", ["missing", "broken", "clip"])
def test_a_broken_image_is_replaced_by_the_reason(image_path: Path, damage: str) -> None:
    scores = _scores([[0.6, 0.1, 0.1]])
    examples = _examples(scores, image_path)
    if damage == "missing":
        image_path.unlink()
    elif damage == "broken":
        image_path.write_bytes(b"not an image")
    else:
        examples = {id: replace(example, frames=(3,)) for id, example in examples.items()}
    (card,), _ = best_and_worst(scores, examples, 1)
    assert card.image == ""
    assert card.error


def test_samples_without_a_stored_example_are_not_shown(image_path: Path) -> None:
    scores = _scores([[0.6, 0.1, 0.1], [0.9, 0.1, 0.5]])
    assert best_and_worst(scores, {}, 4) == ((), ())

"""Explanations: importance by oracles of its own, and counterfactuals that equal predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.predict.conftest import Made

from mien.errors import UnknownNameError, UsageError
from mien.labels import CAERS
from mien.predict.explain.description_words import DescriptionWords
from mien.predict.explain.explainer import ExplainOptions, explain_subject
from mien.predict.explain.explanation import Explanation
from mien.predict.explain.probe import ModelProbe, TextTokens
from mien.predict.explain.regions import PhotoRegions
from mien.predict.predictor import Predictor
from mien.types import Box, Subject

Make = Callable[..., Made]
QUICK = ExplainOptions(cells=3, random_orders=1, steps=2, counterfactuals=())
TEXT = "They feel fear, perhaps anger and fear."
OTHER = Box(left=26, top=2, right=46, bottom=30)


def _words(predictor: Predictor, subject: Subject, text: str = TEXT) -> DescriptionWords:
    probe = ModelProbe(predictor)
    regions = PhotoRegions(probe, subject, probe.tokenize(text), cells=3)
    return DescriptionWords(probe, probe.encode(regions.pixels[None]), text)


def _scores(explanation: Explanation) -> list[float]:
    return list(explanation.scores.values())


# --- What is explained is the prediction ---


@pytest.mark.parametrize("fusion", ["qformer", "image_only", "text_only", "concat"])
def test_the_scores_are_those_of_the_prediction(make_run: Make, subject: Subject, fusion: str) -> None:
    predictor = Predictor.from_pretrained(make_run(fusion, "fake").run)
    (prediction,) = predictor.predict([subject])
    explanation = explain_subject(predictor, subject, options=QUICK)
    assert _scores(explanation) == pytest.approx(list(prediction.scores.values()), abs=1e-6)
    top = [label for label, _ in prediction.top(3)]
    assert [item.label for item in explanation.labels] == top
    item = explanation.labels[0]
    assert (item.occlusion is None) is (fusion == "text_only")
    assert (item.attention is None) is (fusion in ("text_only", "concat"))
    assert bool(item.words) is (fusion != "image_only")
    assert {found.method for found in item.region_faithfulness} == {
        *([] if item.occlusion is None else ["occlusion"]),
        *([] if item.attention is None else ["attention"]),
    }
    if fusion == "concat":
        assert "no queries that attend to the image" in explanation.notes[0]
        assert item.leading is item.occlusion


def test_labels_are_chosen_by_name(naming_predictor: Predictor, subject: Subject) -> None:
    options = replace(QUICK, labels=("Fear", "Anger", "Fear"), random_orders=0)
    explanation = explain_subject(naming_predictor, subject, description=TEXT, options=options)
    assert [item.label for item in explanation.labels] == ["Fear", "Anger"]
    assert explanation["Anger"].region_faithfulness == ()
    assert (
        explanation["Anger"].leading is explanation["Anger"].occlusion
    )  # attention is not known to be faithful
    with pytest.raises(UnknownNameError, match="Feer"):
        explain_subject(naming_predictor, subject, options=replace(QUICK, labels=("Feer",)))
    with pytest.raises(UsageError, match="cells is 1"):
        ExplainOptions(cells=1)
    clip = replace(subject, images=subject.images * 2, boxes=subject.boxes * 2)
    with pytest.raises(UsageError, match="clip"):
        explain_subject(naming_predictor, clip)


# --- Words ---


def test_gradient_times_input_is_the_slope_of_the_embeddings_scale(
    naming_predictor: Predictor, subject: Subject
) -> None:
    """Times (1 + e): the derivative at e = 0 is the gradient times the embedding."""
    words = _words(naming_predictor, subject, "They feel words.")
    label = CAERS.index("Happy")
    found = words.gradient_times_input([label])
    assert found is not None
    classifier: Any = naming_predictor.trained.classifier.double()
    embedding = classifier.fusion.qformer.word_embeddings
    image = words._image.double()  # type: ignore[union-attr]

    def log_probability(word: int, scale: float) -> float:
        factors = torch.ones(1, words._tokens.ids.shape[1], 1, dtype=torch.float64)
        factors[0, list(words.words[word].tokens)] = scale
        hook = embedding.register_forward_hook(lambda _, __, output: output * factors)
        try:
            with torch.no_grad():
                logits = classifier.classify(image, words._tokens.ids, words._tokens.mask).logits
            return float(logits.log_softmax(dim=-1)[0, label])
        finally:
            hook.remove()

    step = 1e-4
    slopes = [
        (log_probability(word, 1 + step) - log_probability(word, 1 - step)) / (2 * step) for word in range(3)
    ]
    np.testing.assert_allclose(found[0], slopes, rtol=1e-3, atol=1e-6)
    assert np.abs(found).max() > 1e-4


def _log_probability(predictor: Predictor, words: DescriptionWords) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model as captum calls it: token ids in, log-probabilities of labels out."""

    def forward(ids: torch.Tensor) -> torch.Tensor:
        logits = predictor.trained.classifier.classify(words._image, ids, words._tokens.mask).logits
        return logits.log_softmax(dim=-1)

    return forward


@pytest.mark.parametrize("method", ["LayerGradientXActivation", "InputXGradient"])
def test_gradient_times_input_equals_captum(
    naming_predictor: Predictor, subject: Subject, method: str
) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is an oracle for development")
    words = _words(naming_predictor, subject, "They feel words about friends.")
    forward = _log_probability(naming_predictor, words)
    classifier: Any = naming_predictor.trained.classifier
    embeddings, ids = classifier.fusion.qformer.word_embeddings, words._tokens.ids

    def from_embeddings(values: torch.Tensor) -> torch.Tensor:
        hook = embeddings.register_forward_hook(lambda *_: values)
        try:
            return forward(ids)
        finally:
            hook.remove()

    for label in (CAERS.index("Sad"), CAERS.index("Happy")):
        if method == "InputXGradient":
            values = embeddings(ids).detach().requires_grad_()
            found = attr.InputXGradient(from_embeddings).attribute(values, target=label)
        else:
            found = attr.LayerGradientXActivation(forward, embeddings).attribute(ids, target=label)
        theirs = found[0].sum(dim=-1).detach().numpy()
        ours = words.gradient_times_input([label])
        assert ours is not None
        expected = [theirs[list(word.tokens)].sum() for word in words.words]
        np.testing.assert_allclose(ours[0], expected, rtol=1e-4, atol=1e-7)
        assert np.abs(ours).max() > 1e-4


def test_occlusion_of_words_equals_captum(naming_predictor: Predictor, subject: Subject) -> None:
    """Each word is a feature of the attention mask. The text names no label, so that the mask is all."""
    attr = pytest.importorskip("captum.attr", reason="captum is an oracle for development")
    words = _words(naming_predictor, subject, "They feel words about friends, perhaps alone.")
    classifier, ids = naming_predictor.trained.classifier, words._tokens.ids
    features = torch.full_like(ids, len(words.words))  # the special tokens
    for index, word in enumerate(words.words):
        features[0, list(word.tokens)] = index

    def probabilities(mask: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits = classifier.classify(words._image, ids, mask > 0).logits
        return logits.softmax(dim=-1)

    mask = words._tokens.mask.float()
    base = words.scores(np.zeros((1, words.num_parts), dtype=bool))[0]
    ours = words.occlusion(base)
    for label in range(len(CAERS)):
        found = attr.FeatureAblation(probabilities).attribute(mask, target=label, feature_mask=features)
        theirs = [float(found[0, word.tokens[0]]) for word in words.words]
        np.testing.assert_allclose(ours[label], theirs, atol=1e-6)
    assert np.abs(ours).max() > 1e-4


def test_a_hidden_word_is_one_that_is_not_attended_to(naming_predictor: Predictor, subject: Subject) -> None:
    words = _words(naming_predictor, subject)
    base = words.scores(np.zeros((1, words.num_parts), dtype=bool))[0]
    drops = words.occlusion(base)
    for index, word in enumerate(words.words):
        mask = words._tokens.mask.clone()
        ids = words._tokens.ids.clone()
        mask[0, list(word.tokens)] = False
        ids[0, list(word.tokens)] = 1  # any id: it is masked, and [UNK] names no label
        hidden = words._probe.scores(words._image, TextTokens(ids, mask))[0]
        np.testing.assert_allclose(drops[:, index], base - hidden, atol=1e-6)


def test_the_bonus_of_a_named_label_belongs_to_the_words_that_name_it(
    naming_predictor: Predictor, subject: Subject
) -> None:
    names = naming_predictor.trained.classifier.names
    assert names is not None
    fear, anger = CAERS.index("Fear"), CAERS.index("Anger")
    with torch.no_grad():
        names.bonus.fill_(2.0)
    options = replace(QUICK, labels=("Fear", "Anger", "Sad"))
    explanation = explain_subject(naming_predictor, subject, description=TEXT, options=options)
    named = {
        item.label: [word.word for word in item.words if word.names_label] for item in explanation.labels
    }
    assert named == {"Fear": ["fear,", "fear."], "Anger": ["anger"], "Sad": []}
    twice, once, absent = (item.naming for item in explanation.labels)
    assert absent is None
    assert twice is not None
    assert once is not None
    assert (twice.num_mentions, once.num_mentions) == (2, 1)
    assert twice.bonus == pytest.approx(2.0)
    # The bonus alone: the same logits, less the bonus.
    words = _words(naming_predictor, subject)
    logits = words._probe.classify(words._image, words._tokens).logits.detach()
    for label, naming in ((fear, twice), (anger, once)):
        less = logits.clone()
        less[0, label] -= 2.0
        expected = float(logits.softmax(dim=-1)[0, label] - less.softmax(dim=-1)[0, label])
        assert naming.drop_of_bonus == pytest.approx(expected, abs=1e-5)
        assert naming.drop_of_bonus > 0.05
        assert naming.drop == pytest.approx(naming.drop_of_bonus, abs=0.05)
    # One of two mentions leaves the bonus; the only one takes it away.
    by_word = {item.label: {word.word: word for word in item.words} for item in explanation.labels}
    assert abs(by_word["Fear"]["fear,"].occlusion) < 0.5 * twice.drop
    assert by_word["Anger"]["anger"].occlusion == pytest.approx(once.drop, abs=1e-6)
    # Gradient times input has no gradient of the bonus, so it is added: half to each mention, all to the one.
    with torch.no_grad():
        names.bonus.fill_(0.0)
    without = _words(naming_predictor, subject).gradient_times_input([fear])
    with torch.no_grad():
        names.bonus.fill_(2.0)
    with_bonus = _words(naming_predictor, subject).gradient_times_input([fear])
    assert without is not None
    assert with_bonus is not None
    assert np.abs(with_bonus[0] - without[0])[[2, 6]].min() > 0.5


def test_a_description_that_is_cut_is_noted(naming_predictor: Predictor, subject: Subject) -> None:
    long = "they feel words " * 20
    options = replace(QUICK, labels=("Fear",), random_orders=0)
    explanation = explain_subject(naming_predictor, subject, description=long, options=options)
    assert len(explanation.labels[0].words) == 22  # 24 tokens with the special ones
    assert any("at most 24 tokens" in note for note in explanation.notes)
    empty = explain_subject(naming_predictor, subject, description="", options=options)
    assert empty.labels[0].words == ()


# --- Regions and attention ---


def test_hiding_changes_what_is_hidden_and_never_the_mark(
    naming_predictor: Predictor, subject: Subject
) -> None:
    regions = PhotoRegions(ModelProbe(naming_predictor), subject, None, cells=4)
    assert (regions.grid.rows, regions.grid.columns) == (3, 4)
    none, everything = np.zeros(12, dtype=bool), np.ones(12, dtype=bool)
    np.testing.assert_array_equal(regions.hide(none), regions.pixels)
    changed = (regions.hide(everything) != regions.pixels).any(axis=-1)
    assert not (changed & regions._is_line).any()
    assert regions._is_line.any()
    shown = (regions._cells >= 0) & ~regions._is_line
    assert changed[shown].mean() > 0.9  # noise, blurred
    assert not changed[~shown].any()
    one = none.copy()
    one[5] = True
    np.testing.assert_array_equal(
        (regions.hide(one) != regions.pixels).any(axis=-1), changed & (regions._cells == 5)
    )
    assert len(np.unique(regions.blank())) == 3


def test_occlusion_is_the_mean_drop_of_the_windows_over_a_cell(
    naming_predictor: Predictor, subject: Subject
) -> None:
    probe = ModelProbe(naming_predictor)
    regions = PhotoRegions(probe, subject, probe.tokenize(TEXT), cells=3)
    base = regions.scores(np.zeros((1, 6), dtype=bool))[0]
    found = regions.occlusion(base)
    assert found.shape == (len(CAERS), 2, 3)
    corner = [np.array([[True, False, False], [False] * 3]), np.array([[True, True, False], [False] * 3])]
    corner += [np.array([[True, False, False]] * 2), np.array([[True, True, False]] * 2)]
    drops = [base - regions.scores(window.reshape(1, 6))[0] for window in corner]
    np.testing.assert_allclose(found[:, 0, 0], np.mean(drops, axis=0), atol=1e-6)
    assert np.abs(found).max() > 1e-5


def test_occlusion_of_regions_equals_captum(naming_predictor: Predictor, subject: Subject) -> None:
    """A window over the edge is one on a grid with a border, of whose cells the photo has none."""
    attr = pytest.importorskip("captum.attr", reason="captum is an oracle for development")
    probe = ModelProbe(naming_predictor)
    regions = PhotoRegions(probe, subject, probe.tokenize(TEXT), cells=4)
    base = regions.scores(np.zeros((1, 12), dtype=bool))[0]

    def scores(grid: torch.Tensor) -> torch.Tensor:
        hidden = grid[:, 1:-1, 1:-1].reshape(len(grid), -1).numpy() == 0
        return torch.from_numpy(regions.scores(hidden))

    shown = torch.ones(1, regions.grid.rows + 2, regions.grid.columns + 2)
    ours = regions.occlusion(base)
    for label in range(len(CAERS)):
        theirs = attr.Occlusion(scores).attribute(shown, (2, 2), target=label)[0, 1:-1, 1:-1]
        np.testing.assert_allclose(ours[label], theirs.numpy(), atol=1e-6)
    assert np.abs(ours).max() > 1e-5


def test_patches_spread_over_the_photo_and_the_padding_is_left_out(
    naming_predictor: Predictor, subject: Subject
) -> None:
    regions = PhotoRegions(ModelProbe(naming_predictor), subject, None, cells=4)
    even = np.ones(16)
    cells, outside = regions.spread(even, (0, 4), regions.grid)
    # 48 x 32 pixels in a square: a third is padding.
    assert outside == pytest.approx(1 / 3, abs=0.05)
    assert cells.sum() == pytest.approx(16 * (1 - outside))
    np.testing.assert_allclose(cells, cells.mean(), rtol=0.1)
    corner = np.zeros(17)
    corner[0], corner[1 + 7] = 3.0, 1.0  # a class token, and the patch at the right in the second row
    cells, outside = regions.spread(corner, (1, 4), regions.grid)
    assert outside == pytest.approx(3 / 4, abs=0.05)
    assert cells.argmax() % 4 == 3


def test_attention_is_that_of_the_labels_query(naming_predictor: Predictor, subject: Subject) -> None:
    options = replace(QUICK, labels=("Fear", "Anger"))
    explanation = explain_subject(naming_predictor, subject, description=TEXT, options=options)
    maps = [item.attention for item in explanation.labels]
    assert maps[0] is not None
    assert maps[1] is not None
    assert maps[0].values.sum() == pytest.approx(1)
    assert np.abs(maps[0].values - maps[1].values).max() > 1e-6  # one query per label
    shares = explanation.attention_shares
    assert shares is not None
    assert shares.photo + shares.other_image + shares.words + shares.queries == pytest.approx(1, abs=1e-5)
    assert 0.2 < shares.photo < 0.9
    assert shares.words > 0


# --- Counterfactuals ---


def test_counterfactuals_are_predictions_of_what_is_different(
    naming_predictor: Predictor, subject: Subject
) -> None:
    (before,) = naming_predictor.predict([subject])
    assert before.description is not None
    options = ExplainOptions(cells=3, random_orders=0, descriptions=("they feel anger",))
    explanation = explain_subject(naming_predictor, subject, others={4: OTHER}, options=options)
    by_kind = {item.kind: item for item in explanation.counterfactuals}
    assert list(by_kind) == [
        *("no_words", "no_image", "other_box", "other_words", "face_blurred", "background_blurred"),
        "description",
    ]
    moved = by_kind["other_box"]
    (expected,) = naming_predictor.predict([replace(subject, id=f"{subject.id} 4", boxes=(OTHER,))])
    assert list(moved.scores.values()) == pytest.approx(list(expected.scores.values()), abs=1e-6)
    assert expected.description is not None
    assert (moved.description, moved.box) == (expected.description.text, OTHER)
    assert moved.what == "the box on person 4"

    def with_text(text: str) -> list[float]:
        found = explain_subject(naming_predictor, subject, description=text, options=QUICK)
        return _scores(found)

    assert list(by_kind["description"].scores.values()) == pytest.approx(
        with_text("they feel anger"), abs=1e-6
    )
    assert list(by_kind["other_words"].scores.values()) == pytest.approx(
        with_text(expected.description.text), abs=1e-6
    )
    other_subject = replace(subject, boxes=(OTHER,))
    kept = explain_subject(
        naming_predictor, other_subject, description=before.description.text, options=QUICK
    )
    assert moved.scores_of_same_words is not None
    assert list(moved.scores_of_same_words.values()) == pytest.approx(_scores(kept), abs=1e-6)
    change = moved.change(explanation.scores)
    assert change["Fear"] == pytest.approx(moved.scores["Fear"] - explanation.scores["Fear"])
    assert by_kind["no_words"].description is None
    for item in explanation.counterfactuals:
        assert max(map(abs, item.change(explanation.scores).values())) > 1e-7


def test_a_counterfactual_that_fails_is_an_error_in_its_place(
    naming_predictor: Predictor, subject: Subject
) -> None:
    outside = Box(left=100, top=100, right=120, bottom=120)
    options = ExplainOptions(cells=3, random_orders=0, counterfactuals=("other_box", "other_words"))
    explanation = explain_subject(naming_predictor, subject, others={1: outside, 2: OTHER}, options=options)
    kinds = [(item.kind, item.error is None) for item in explanation.counterfactuals]
    assert kinds == [("other_box", False), ("other_box", True), ("other_words", True)]
    assert len(explanation.errors) == 1
    assert explanation.counterfactuals[0].change(explanation.scores) == {}
    assert "outside" in (explanation.to_dict()["counterfactuals"][0]["error"] or "")


class _LeftError(Exception):
    """The one who asked is gone."""


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_an_explanation_ends_before_any_batch(
    naming_predictor: Predictor, subject: Subject, share: float
) -> None:
    options = ExplainOptions(cells=3, random_orders=1, steps=2)
    calls: list[int] = []
    whole = explain_subject(
        naming_predictor, subject, others={4: OTHER}, options=options, before_batch=lambda: calls.append(1)
    )
    total = len(calls)
    assert total > 20
    assert whole == explain_subject(naming_predictor, subject, others={4: OTHER}, options=options)
    left = int(share * (total - 1))
    count = 0

    def leave() -> None:
        nonlocal count
        count += 1
        if count > left:
            raise _LeftError

    with pytest.raises(_LeftError):
        explain_subject(naming_predictor, subject, others={4: OTHER}, options=options, before_batch=leave)
    assert count == left + 1
    # Nothing is left behind in the model.
    assert whole == explain_subject(naming_predictor, subject, others={4: OTHER}, options=options)


@pytest.mark.parametrize("fusion", ["image_only", "text_only"])
def test_a_model_of_one_input_answers_less(make_run: Make, subject: Subject, fusion: str) -> None:
    predictor = Predictor.from_pretrained(make_run(fusion, "fake").run)
    options = ExplainOptions(cells=3, random_orders=0)
    explanation = explain_subject(predictor, subject, others={1: OTHER}, options=options)
    kinds = [item.kind for item in explanation.counterfactuals]
    assert kinds == ["other_box", "face_blurred", "background_blurred"]
    if fusion == "image_only":
        with pytest.raises(UsageError, match="reads no descriptions"):
            explain_subject(predictor, subject, options=replace(options, descriptions=("sad",)))


def test_without_a_box_nothing_is_blurred(naming_predictor: Predictor, subject: Subject) -> None:
    whole = replace(subject, boxes=(None,))
    options = ExplainOptions(cells=3, random_orders=0)
    explanation = explain_subject(naming_predictor, whole, options=options)
    assert [item.kind for item in explanation.counterfactuals] == ["no_words", "no_image"]

"""Losses equal the formulas of their papers, computed in NumPy; gradients equal finite differences."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mien.batches.batch import SplitData
from mien.errors import ConfigError
from mien.evaluate.scorer import score_split
from mien.labels import CAERS, EMOTIC
from mien.model.checkpoint import load_trained
from mien.model.classifier import ClassifierOutput
from mien.recipe import Recipe, TrainOptions
from mien.registry import registered_names
from mien.runs import Run
from mien.train.loop import train
from mien.train.losses import (
    BatchFraction,
    LabelCounts,
    TrainingLoss,
    asymmetric_loss,
    binary_cross_entropy,
    build_loss,
    class_balanced_loss,
    cross_entropy,
    dimension_loss,
    effective_number_weights,
    focal_loss,
    positive_weights,
    smooth_targets,
)
from mien.train.trainer import Trainer

Numbers = np.ndarray
NAN = float("nan")
WEIGHTS = np.array([0.3, 1.0, 2.0, 5.0, 1.7])


def sigmoid(logits: Numbers) -> Numbers:
    p: Numbers = 1 / (1 + np.exp(-logits))
    return p


def by_hand_bce(z: Numbers, t: Numbers) -> float:
    p = sigmoid(z)
    return float(-(WEIGHTS * t * np.log(p) + (1 - t) * np.log(1 - p)).mean())


def by_hand_focal(z: Numbers, t: Numbers, gamma: float, alpha: float | None) -> float:
    p = sigmoid(z)
    a, b = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    return float(-(a * t * (1 - p) ** gamma * np.log(p) + b * (1 - t) * p**gamma * np.log(1 - p)).mean())


def by_hand_asl(z: Numbers, t: Numbers, plus: float, minus: float, margin: float) -> float:
    p = sigmoid(z)
    shifted = np.maximum(p - margin, 0)
    positive = (1 - p) ** plus * np.log(p)
    negative = shifted**minus * np.log(1 - shifted)
    return float(-(t * positive + (1 - t) * negative).mean())


def by_hand_balanced(z: Numbers, t: Numbers, gamma: float) -> float:
    p = sigmoid(z)
    one = -(t * (1 - p) ** gamma * np.log(p) + (1 - t) * p**gamma * np.log(1 - p))
    return float((WEIGHTS * one).mean())


def by_hand_balanced_softmax(z: Numbers, t: Numbers, gamma: float) -> float:
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return float(-(WEIGHTS * t * (1 - p) ** gamma * np.log(p)).sum(axis=1).mean())


W = torch.tensor(WEIGHTS, dtype=torch.float32)
CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Numbers, Numbers], float]]] = {
    "bce": (partial(binary_cross_entropy, positive_weights=W), by_hand_bce),
    "focal": (partial(focal_loss, gamma=2.0), lambda z, t: by_hand_focal(z, t, 2, None)),
    "focal, alpha": (
        partial(focal_loss, gamma=0.5, alpha=0.25),
        lambda z, t: by_hand_focal(z, t, 0.5, 0.25),
    ),
    "asl": (
        partial(asymmetric_loss, gamma_positive=0.0, gamma_negative=4.0, margin=0.05),
        lambda z, t: by_hand_asl(z, t, 0, 4, 0.05),
    ),
    "asl, both": (
        partial(asymmetric_loss, gamma_positive=1.0, gamma_negative=2.0, margin=0.2),
        lambda z, t: by_hand_asl(z, t, 1, 2, 0.2),
    ),
    "asl, no margin": (
        partial(asymmetric_loss, gamma_positive=1.0, gamma_negative=0.5, margin=0.0),
        lambda z, t: by_hand_asl(z, t, 1, 0.5, 0),
    ),
    "asl, margin alone": (
        partial(asymmetric_loss, gamma_positive=0.0, gamma_negative=0.0, margin=0.1),
        lambda z, t: by_hand_asl(z, t, 0, 0, 0.1),
    ),
    "balanced": (partial(class_balanced_loss, weights=W), lambda z, t: by_hand_balanced(z, t, 0)),
    "balanced, focal": (
        partial(class_balanced_loss, weights=W, gamma=1.5),
        lambda z, t: by_hand_balanced(z, t, 1.5),
    ),
    "balanced softmax": (
        partial(class_balanced_loss, softmax=True, weights=W),
        lambda z, t: by_hand_balanced_softmax(z, t, 0),
    ),
    "balanced softmax, focal": (
        partial(class_balanced_loss, softmax=True, weights=W, gamma=2.0),
        lambda z, t: by_hand_balanced_softmax(z, t, 2),
    ),
}


def drawn(soft: bool) -> tuple[Numbers, Numbers]:
    random = np.random.default_rng(3)
    targets = random.random((6, 5))
    return random.normal(size=(6, 5)) * 3, targets if soft else np.round(targets)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("soft", [False, True])
def test_value_and_gradient_are_those_of_the_formula(name: str, soft: bool) -> None:
    function, by_hand = CASES[name]
    z, t = drawn(soft)
    logits = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    loss = function(logits, torch.tensor(t, dtype=torch.float32))
    assert loss.item() == pytest.approx(by_hand(z, t), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-6
        expected[place] = (by_hand(z + step, t) - by_hand(z - step, t)) / 2e-6
    np.testing.assert_allclose(gradient.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_confident_wrong_predictions_have_finite_loss_and_gradient(name: str) -> None:
    function, _ = CASES[name]
    logits = torch.tensor([[200.0, -200, 90, -90, 0]], requires_grad=True)
    for targets in (torch.zeros(1, 5), torch.ones(1, 5), torch.eye(5)[1:2]):
        loss = function(logits, targets)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_asl_ignores_easy_negatives() -> None:
    logits = torch.tensor([[-4.0, -3.0]])  # p = 0.018 and 0.047, both within the margin
    loss = asymmetric_loss(logits, torch.zeros(1, 2), gamma_positive=0, gamma_negative=4, margin=0.05)
    assert loss.item() == 0


def test_positive_weights_are_the_clamped_power_of_the_ratio() -> None:
    counts = LabelCounts(positives=torch.tensor([50.0, 20, 1, 0, 100, 2.5]), num_samples=100)
    weights = positive_weights(counts, power=1, cap=10)
    assert weights.tolist() == pytest.approx([1, 4, 10, 1, 0.1, 10])
    assert positive_weights(counts, power=0.5, cap=100)[1:3].tolist() == pytest.approx([2, 99**0.5])
    assert counts.without_positives == [3]


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.999999])
def test_effective_number_weights_equal_the_formula_of_the_paper(beta: float) -> None:
    positives = np.array([500, 10, 1.0, 2.5])
    weights = effective_number_weights(
        LabelCounts(positives=torch.tensor([*positives, 0.0]), num_samples=500), beta=beta
    )
    expected = (1 - beta) / (1 - beta**positives)
    np.testing.assert_allclose(weights[:4], expected / expected.mean(), rtol=1e-4)
    assert weights[4] == 1


def test_counts_of_soft_targets_add_up() -> None:
    counts = LabelCounts.of(torch.tensor([[0.25, 0.0], [0.5, 0.0]]))
    assert counts.positives.tolist() == [0.75, 0]
    assert counts.num_samples == 2


def test_label_smoothing_mixes_with_the_uniform_distribution() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0]])
    assert smooth_targets(targets, 0.2, softmax=True)[0].tolist() == pytest.approx([0.85, 0.05, 0.05, 0.05])
    assert smooth_targets(targets, 0.2, softmax=False)[0].tolist() == pytest.approx([0.9, 0.1, 0.1, 0.1])
    assert smooth_targets(targets, 0.0, softmax=True) is targets


def test_smoothed_cross_entropy_equals_that_of_torch() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(4, 7), torch.eye(7)[[1, 3, 3, 0]]
    loss = build_loss(TrainOptions(label_smoothing=0.1), CAERS)
    expected = torch.nn.functional.cross_entropy(logits, targets.argmax(dim=1), label_smoothing=0.1)
    given = loss(ClassifierOutput(logits, None), targets, torch.zeros(4, 3))
    torch.testing.assert_close(given, expected)


def test_binary_cross_entropy_is_its_definition() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 5), torch.rand(3, 5)
    p = logits.sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    torch.testing.assert_close(binary_cross_entropy(logits, targets), expected)


def test_cross_entropy_is_its_definition() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 5), torch.eye(5)[:3]
    expected = -logits.log_softmax(dim=1).diagonal().mean()
    torch.testing.assert_close(cross_entropy(logits, targets), expected)


def test_only_annotated_dimensions_count() -> None:
    values = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], requires_grad=True)
    targets = torch.tensor([[0.45, 0.9, NAN], [NAN, NAN, NAN]])
    loss = dimension_loss(values, targets)
    # 0.05 is below beta = 0.1: squared over 2 beta. 0.4 is above: minus beta / 2. Two are annotated.
    assert loss.item() == pytest.approx((0.05**2 / 0.2 + (0.4 - 0.05)) / 2)
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.isfinite().all()
    assert (gradient != 0).tolist() == [[True, True, False], [False, False, False]]


def test_without_annotations_the_dimension_loss_is_zero() -> None:
    assert dimension_loss(torch.rand(2, 3), torch.full((2, 3), NAN)).item() == 0


@pytest.mark.parametrize(("label_set", "function"), [(EMOTIC, binary_cross_entropy), (CAERS, cross_entropy)])
def test_the_loss_follows_the_label_set(label_set: object, function: object) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, len(label_set))  # type: ignore[arg-type]
    targets = torch.eye(len(label_set))[:2]  # type: ignore[arg-type]
    loss = build_loss(TrainOptions(), label_set)  # type: ignore[arg-type]
    labels_alone = loss(ClassifierOutput(logits, None), targets, torch.full((2, 3), NAN))
    torch.testing.assert_close(labels_alone, function(logits, targets))  # type: ignore[operator]
    with_dimensions = loss(ClassifierOutput(logits, torch.ones(2, 3)), targets, torch.zeros(2, 3))
    assert with_dimensions.item() == pytest.approx(labels_alone.item() + 0.95)


def test_bce_accepts_an_exclusive_label_set_and_cross_entropy_needs_one() -> None:
    logits, targets = torch.randn(2, 7), torch.eye(7)[:2]
    loss = build_loss(TrainOptions(loss="bce"), CAERS)
    expected = binary_cross_entropy(logits, targets)
    torch.testing.assert_close(loss(ClassifierOutput(logits, None), targets, torch.zeros(2, 3)), expected)
    with pytest.raises(ConfigError, match="several may hold"):
        build_loss(TrainOptions(loss="cross_entropy"), EMOTIC)


ALL = ("auto", "bce", "asl", "focal", "class_balanced")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("exclusive", [False, True])
def test_micro_batches_add_up_to_the_batch(kind: str, exclusive: bool) -> None:
    label_set = CAERS if exclusive else EMOTIC
    torch.manual_seed(0)
    logits, values = torch.randn(7, len(label_set)), torch.rand(7, 3)
    targets = torch.eye(len(label_set))[:7]
    dimensions = torch.rand(7, 3)
    dimensions[[1, 2, 5]] = float("nan")
    options = TrainOptions.parse({"loss": kind, "label_smoothing": 0.1, "dimension_weight": 3}, where="test")
    loss = build_loss(options, label_set, LabelCounts.of(targets))
    whole = loss(ClassifierOutput(logits, values), targets, dimensions)
    parts = sum(
        loss(
            ClassifierOutput(logits[part], values[part]),
            targets[part],
            dimensions[part],
            BatchFraction(samples=rows / 7, annotated=asked / 4),
        )
        for part, rows, asked in ((slice(3), 3, 1), (slice(3, 7), 4, 3))
    )
    torch.testing.assert_close(parts, whole)


def dimension_part(loss: TrainingLoss) -> float:
    output = ClassifierOutput(torch.zeros(1, 26), torch.ones(1, 3))
    return loss(output, torch.zeros(1, 26), torch.zeros(1, 3)).item()


def test_the_dimension_loss_has_its_weight() -> None:
    found = [
        dimension_part(build_loss(TrainOptions(dimension_weight=weight), EMOTIC))
        for weight in (0.0, 1.0, 2.0)
    ]
    assert found[1] - found[0] == pytest.approx(0.95)
    assert found[2] - found[0] == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        ("asl", {"gama_negative": 2}, "unknown key 'gama_negative'"),
        ("bce", {"gamma": 2}, "unknown key 'gamma'"),
        ("auto", {"beta": 0.9}, "train.loss_options of 'bce'"),
        ("class_balanced", {"beta": 1.0}, "beta = 1.0 is not valid"),
        ("asl", {"gamma_negative": 0.5}, "not valid"),
        ("bce", {"cap": 0.5}, "cap = 0.5 is not valid"),
    ],
)
def test_options_of_another_loss_are_refused(kind: str, table: dict[str, object], message: str) -> None:
    options = TrainOptions.parse({"loss": kind, "loss_options": table}, where="test")
    with pytest.raises(ConfigError, match=message) as caught:
        build_loss(options, EMOTIC)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["bce", "class_balanced"])
def test_a_label_without_positives_is_reported_and_trains(
    make: Callable[..., SplitData],
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    data.targets[:, 1] = 0
    options = {"positive_weights": True} if kind == "bce" else {}
    with caplog.at_level(logging.WARNING):
        result = train(recipe(train={"loss": kind, "loss_options": options}), data, val, tmp_path / "run")
    assert np.isfinite(result.best_score)
    assert "no sample of 'train' has the label stormy" in caplog.text
    (event,) = Run.open(tmp_path / "run").events().named("labels_without_positives")
    assert event["labels"] == ["stormy"]


def test_positive_weights_raise_the_scores_of_rare_labels(
    make: Callable[..., SplitData], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    data, val = make("train", 120), make("val", 40, seed=1)
    means = {}
    for weighted in (False, True):
        wanted = recipe(
            {"fusion": "image_only"},
            {"loss": "bce", "loss_options": {"positive_weights": weighted}, "epochs": 4, "patience": 4},
        )
        out = tmp_path / str(weighted)
        train(wanted, data, val, out)
        means[weighted] = score_split(load_trained(out).classifier, val).scores[:, 2].mean()
    # One sample in four has the third label, so a positive counts three times.
    assert means[True] > 1.4 * means[False]


# --- A loss from outside ---

OUTSIDE = """
from pydantic import Field

from mien.train.losses import LossOptions, label_loss


class HingeOptions(LossOptions):
    margin: float = Field(default=1.0, gt=0)


@label_loss(HingeOptions)
def hinge_loss(logits, targets, *, margin):
    return (margin - (2 * targets - 1) * logits.float()).clamp(min=0).mean()


def undeclared(logits, targets):
    return logits.sum()
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with losses that mien does not list."""
    (tmp_path / "outside_losses.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    return "outside_losses"


def test_a_loss_from_outside_trains_a_step(
    outside: str, make: Callable[..., SplitData], recipe: Callable[..., Recipe]
) -> None:
    options = {"loss": f"{outside}:hinge_loss", "loss_options": {"margin": 0.5}, "heads": "labels"}
    trainer = Trainer(
        recipe({"dropout": 0.0}, options), make("train", 8), make("val", 8, seed=1), torch.device("cpu")
    )
    before = {name: weight.clone() for name, weight in trainer.classifier.state_dict().items()}
    (parts,) = trainer.remaining_steps()
    batch = parts[0].batch
    logits = trainer.classifier(batch.image, batch.text_ids, batch.text_mask).logits
    signs = 2 * batch.targets - 1
    assert trainer.train_step(parts) == pytest.approx((0.5 - signs * logits).clamp(min=0).mean().item())
    assert any(not torch.equal(before[name], new) for name, new in trainer.classifier.state_dict().items())


def test_a_loss_from_outside_has_options_of_its_own(outside: str) -> None:
    options = TrainOptions(loss=f"{outside}:hinge_loss", loss_options={"margin": -1})
    with pytest.raises(ConfigError, match="margin = -1 is not valid"):
        build_loss(options, EMOTIC)


def test_an_undeclared_function_is_refused(outside: str) -> None:
    with pytest.raises(ConfigError, match="'outside_losses:undeclared' is not a label loss") as caught:
        build_loss(TrainOptions(loss=f"{outside}:undeclared"), EMOTIC)
    assert "label_loss" in caught.value.hint


def test_an_unknown_loss_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(ConfigError, match="loss = 'bse' is not valid") as caught:
        TrainOptions.parse({"loss": "bse"}, where="test")
    assert "bce, class_balanced, cross_entropy, focal" in caught.value.hint


@pytest.mark.parametrize("name", registered_names("loss"))
def test_every_listed_loss_is_declared_and_keeps_the_contract(name: str) -> None:
    for label_set in (EMOTIC, CAERS):
        if name == "cross_entropy" and not label_set.exclusive:
            continue
        logits = torch.randn(4, len(label_set), requires_grad=True)
        targets = torch.eye(len(label_set))[:4]
        loss = build_loss(TrainOptions(loss=name), label_set, LabelCounts.of(targets))
        assert loss.labels is not None
        value = loss.labels(logits.bfloat16(), targets)
        assert value.shape == ()
        assert value.dtype == torch.float32
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.isfinite().all()

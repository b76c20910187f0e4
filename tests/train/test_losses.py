"""Losses against their definitions."""

import pytest
import torch

from mien.errors import ConfigError
from mien.labels import CAERS, EMOTIC
from mien.model.classifier import ClassifierOutput
from mien.recipe.recipe import TrainOptions
from mien.train.losses import binary_cross_entropy, cross_entropy, dimension_loss, make_loss

NAN = float("nan")


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


def test_dimensions_count_only_where_somebody_annotated() -> None:
    values = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], requires_grad=True)
    targets = torch.tensor([[0.45, 0.9, NAN], [NAN, NAN, NAN]])
    loss = dimension_loss(values, targets)
    # 0.05 is within 0.1: squared, over twice 0.1. 0.4 is beyond: less half of 0.1. Two were annotated.
    assert loss.item() == pytest.approx((0.05**2 / 0.2 + (0.4 - 0.05)) / 2)
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.isfinite().all()
    assert (gradient != 0).tolist() == [[True, True, False], [False, False, False]]


def test_no_annotation_at_all_costs_nothing() -> None:
    assert dimension_loss(torch.rand(2, 3), torch.full((2, 3), NAN)).item() == 0


@pytest.mark.parametrize(("label_set", "function"), [(EMOTIC, binary_cross_entropy), (CAERS, cross_entropy)])
def test_the_loss_follows_the_label_set(label_set: object, function: object) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, len(label_set))  # type: ignore[arg-type]
    targets = torch.eye(len(label_set))[:2]  # type: ignore[arg-type]
    loss = make_loss(TrainOptions(), label_set)  # type: ignore[arg-type]
    labels_alone = loss(ClassifierOutput(logits, None), targets, torch.full((2, 3), NAN))
    torch.testing.assert_close(labels_alone, function(logits, targets))  # type: ignore[operator]
    with_dimensions = loss(ClassifierOutput(logits, torch.ones(2, 3)), targets, torch.zeros(2, 3))
    assert with_dimensions.item() == pytest.approx(labels_alone.item() + 0.95)


def test_binary_loss_may_be_asked_for_an_exclusive_set_but_not_the_other_way_round() -> None:
    logits, targets = torch.randn(2, 7), torch.eye(7)[:2]
    loss = make_loss(TrainOptions(loss="bce"), CAERS)
    expected = binary_cross_entropy(logits, targets)
    torch.testing.assert_close(loss(ClassifierOutput(logits, None), targets, torch.zeros(2, 3)), expected)
    with pytest.raises(ConfigError, match="several may hold"):
        make_loss(TrainOptions(loss="cross_entropy"), EMOTIC)

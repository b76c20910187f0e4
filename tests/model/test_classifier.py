"""The heads: shapes, the first guess, scores."""

import pytest
import torch

from mien.model.classifier import Classifier, scores_from_logits
from mien.model.fusion import build_fusion
from mien.recipe import ModelOptions


def classifier(num_labels: int = 4, *, dimensions: bool = True) -> Classifier:
    torch.manual_seed(0)
    options = ModelOptions(fusion="image_only", width=16, heads=2, num_queries=3)
    fusion = build_fusion(options, image_dim=6, vocab_size=None)
    return Classifier(fusion, num_labels, dimensions=dimensions).eval()


@pytest.mark.parametrize("dimensions", [True, False])
def test_answers_for_every_label_and_for_dimensions_if_asked(dimensions: bool) -> None:
    answer = classifier(dimensions=dimensions)(torch.randn(2, 5, 6), None, None)
    assert answer.logits.shape == (2, 4)
    assert (answer.dimensions is not None) == dimensions
    if answer.dimensions is not None:
        assert answer.dimensions.shape == (2, 3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_first_guess_is_the_average_answer(exclusive: bool) -> None:
    model = classifier()
    prevalence = torch.tensor([0.6, 0.25, 0.1, 0.05])
    model.initialize_biases(prevalence, torch.tensor([0.2, 0.5, 0.8]), exclusive=exclusive)
    for head in (model.labels, model.dimensions):
        assert head is not None
        torch.nn.init.zeros_(head.get_parameter("weight"))
    answer = model(torch.randn(1, 5, 6), None, None)
    torch.testing.assert_close(scores_from_logits(answer.logits, exclusive=exclusive)[0], prevalence)
    torch.testing.assert_close(answer.dimensions[0], torch.tensor([0.2, 0.5, 0.8]))


def test_a_label_that_nobody_or_everybody_has_starts_with_a_finite_bias() -> None:
    for exclusive in (True, False):
        model = classifier(2)
        model.initialize_biases(torch.tensor([0.0, 1.0]), torch.zeros(3), exclusive=exclusive)
        assert model.labels.bias.isfinite().all()


def test_scores_of_exclusive_labels_sum_to_one_and_others_stand_alone() -> None:
    logits = torch.tensor([[0.0, 0.0, 2.0]])
    assert scores_from_logits(logits, exclusive=True).sum().item() == pytest.approx(1)
    assert scores_from_logits(logits, exclusive=False)[0, 0].item() == pytest.approx(0.5)

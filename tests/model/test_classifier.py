"""The heads: shapes, initial biases, scores."""

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
def test_predicts_every_label_and_dimensions_on_request(dimensions: bool) -> None:
    output = classifier(dimensions=dimensions)(torch.randn(2, 5, 6), None, None)
    assert output.logits.shape == (2, 4)
    assert (output.dimensions is not None) == dimensions
    if output.dimensions is not None:
        assert output.dimensions.shape == (2, 3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_first_prediction_is_the_average_target(exclusive: bool) -> None:
    model = classifier()
    prevalence = torch.tensor([0.6, 0.25, 0.1, 0.05])
    model.initialize_biases(prevalence, torch.tensor([0.2, 0.5, 0.8]), exclusive=exclusive)
    for head in (model.labels, model.dimensions):
        assert head is not None
        torch.nn.init.zeros_(head.get_parameter("weight"))
    output = model(torch.randn(1, 5, 6), None, None)
    torch.testing.assert_close(scores_from_logits(output.logits, exclusive=exclusive)[0], prevalence)
    torch.testing.assert_close(output.dimensions[0], torch.tensor([0.2, 0.5, 0.8]))


def test_a_label_that_no_sample_or_every_sample_has_starts_with_a_finite_bias() -> None:
    for exclusive in (True, False):
        model = classifier(2)
        model.initialize_biases(torch.tensor([0.0, 1.0]), torch.zeros(3), exclusive=exclusive)
        assert model.labels.bias.isfinite().all()
        # Clamped to one in a thousand.
        assert scores_from_logits(model.labels.bias[None], exclusive=exclusive)[0, 0].item() == pytest.approx(
            1e-3, rel=0.01
        )


def test_scores_of_exclusive_labels_sum_to_one_and_others_are_independent() -> None:
    logits = torch.tensor([[0.0, 0.0, 2.0]])
    together = scores_from_logits(logits, exclusive=True)
    assert together.sum().item() == pytest.approx(1)
    torch.testing.assert_close(together, torch.tensor([[0.1065, 0.1065, 0.7870]]), atol=1e-4, rtol=0)
    alone = scores_from_logits(logits, exclusive=False)
    torch.testing.assert_close(alone, torch.tensor([[0.5, 0.5, 0.8808]]), atol=1e-4, rtol=0)

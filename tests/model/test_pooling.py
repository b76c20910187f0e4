"""Pooling of several vectors, and one query per label."""

import pytest
import torch

from mien.errors import ConfigError
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion
from mien.model.pooling import AttentionPool, Pool
from mien.recipe import ModelOptions

IMAGE_DIM, LABELS, WIDTH = 6, 4, 16


def classifier(pooling: str, num_queries: int = LABELS) -> Classifier:
    torch.manual_seed(0)
    table = {
        "fusion": "image_only",
        "width": WIDTH,
        "heads": 2,
        "num_queries": num_queries,
        "options": {"pooling": pooling},
    }
    fusion = build_fusion(ModelOptions.parse(table, where="test"), image_dim=IMAGE_DIM, vocab_size=None)
    return Classifier(fusion, LABELS, dimensions=True).eval()


def test_attention_starts_as_the_mean_and_can_prefer_one() -> None:
    vectors = torch.randn(2, 5, 8)
    pool = AttentionPool(8)
    torch.testing.assert_close(pool(vectors), vectors.mean(dim=1))
    with torch.no_grad():
        pool.score.copy_(100 * vectors[0, 3])
    torch.testing.assert_close(pool(vectors)[0], vectors[0, 3])


@pytest.mark.parametrize("mode", ["concat", "class"])
def test_concatenation_keeps_every_vector(mode: str) -> None:
    vectors = torch.randn(2, 5, 8)
    pool = Pool(mode, num_queries=5, width=8)  # type: ignore[arg-type]
    assert pool.dim == 40
    assert torch.equal(pool(vectors).view(2, 5, 8), vectors)


def test_each_logit_is_read_from_its_label_query() -> None:
    model = classifier("class")
    fused = model.fusion(torch.randn(2, 5, IMAGE_DIM), None, None)
    logits = model.labels(fused)
    for label in range(LABELS):
        changed = fused.clone()
        changed[:, label * WIDTH : (label + 1) * WIDTH] += 1
        changed_logits = (model.labels(changed) - logits).abs().max(dim=0).values > 1e-6
        assert changed_logits.tolist() == [other == label for other in range(LABELS)]


def test_label_queries_start_from_the_average_target_too() -> None:
    model = classifier("class")
    prevalence = torch.tensor([0.5, 0.3, 0.1, 0.1])
    model.initialize_biases(prevalence, torch.tensor([0.2, 0.5, 0.8]), exclusive=False)
    torch.testing.assert_close(model.labels.bias.sigmoid(), prevalence)


@pytest.mark.parametrize("num_queries", [LABELS - 1, 2 * LABELS])
def test_a_number_of_queries_other_than_that_of_labels_is_refused(num_queries: int) -> None:
    with pytest.raises(ConfigError, match=f"{num_queries} queries .* {LABELS} labels") as caught:
        classifier("class", num_queries)
    assert f"model.num_queries to {LABELS}" in caught.value.hint


@pytest.mark.parametrize("pooling", ["mean", "attention", "concat", "class"])
def test_every_weight_is_trained(pooling: str) -> None:
    model = classifier(pooling)
    output = model(torch.randn(2, 5, IMAGE_DIM), None, None)
    (output.logits.square().sum() + output.dimensions.square().sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []

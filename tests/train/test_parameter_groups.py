"""Learning rates by part and by layer."""

from collections.abc import Callable

import pytest
import torch

from mien.batches.batch import SplitData
from mien.errors import ConfigError
from mien.labels import EMOTIC
from mien.model.build import InputSpec, build_classifier
from mien.model.classifier import Classifier
from mien.recipe import Recipe, TrainOptions
from mien.train.distributed import SINGLE_PROCESS
from mien.train.optimizer import build_optimizer, set_learning_rate
from mien.train.parameter_groups import freeze_parameters, learning_rate_factors, part_of
from mien.train.trainer import Trainer


def classifier(fusion: str = "qformer") -> Classifier:
    recipe = Recipe.parse(
        {"name": "x", "model": {"fusion": fusion, "width": 16, "heads": 2, "layers": 3}}, where="test"
    )
    return build_classifier(recipe, InputSpec(label_set=EMOTIC, image_dim=8, vocab_size=20))


def factors(model: Classifier, **table: object) -> dict[str, float]:
    names = [name for name, _ in model.named_parameters()]
    return learning_rate_factors(names, TrainOptions.parse(table, where="test"))


def test_every_parameter_belongs_to_a_part() -> None:
    model = classifier()
    parts = {part_of(name) for name, _ in model.named_parameters()}
    assert parts == {
        "head", "queries", "text_embeddings", "self_attention", "cross_attention", "query_feedforward",
        "text_feedforward", "norm",
    }  # fmt: skip
    counts = [p.numel() for name, p in model.named_parameters() if part_of(name) == "head"]
    assert sum(counts) == (16 + 1) * (26 + 3)


def test_by_default_all_parameters_have_one_learning_rate() -> None:
    assert set(factors(classifier()).values()) == {1.0}


def test_a_part_has_its_own_rate_and_factors_multiply() -> None:
    found = factors(classifier(), lr_scale={"head": 10, "queries": 2, "fusion": 0.5})
    assert found["labels.weight"] == found["dimensions.bias"] == 10
    assert found["fusion.qformer.query_tokens"] == 1.0
    assert found["fusion.qformer.layers.0.self_attention.output.dense.weight"] == 0.5


@pytest.mark.parametrize(
    ("old", "new"),
    [("queries", "query_tokens"), ("words", "word_embeddings"), ("positions", "position_embeddings")],
)
def test_the_names_of_version_0_1_0_still_work(old: str, new: str) -> None:
    model = classifier()
    assert factors(model, lr_scale={old: 2}) == factors(model, lr_scale={new: 2})
    assert 2 in factors(model, lr_scale={old: 2}).values()


def test_lower_layers_learn_more_slowly_and_their_input_the_slowest() -> None:
    found = factors(classifier(), layer_decay=0.5)
    by_depth = [found[f"fusion.qformer.layers.{index}.query_feedforward.inner.weight"] for index in range(3)]
    assert by_depth == [0.125, 0.25, 0.5]
    assert found["fusion.qformer.word_embeddings.weight"] == found["fusion.qformer.query_tokens"] == 0.0625
    assert found["labels.weight"] == 1


def test_an_unknown_part_is_an_error_that_suggests_a_known_one() -> None:
    with pytest.raises(ConfigError, match="no part 'querys'") as caught:
        factors(classifier(), lr_scale={"querys": 2})
    assert "did you mean 'queries'" in caught.value.hint


def test_the_optimizer_moves_each_part_at_its_rate() -> None:
    model = classifier("image_only")
    options = TrainOptions.parse({"lr": 0.1, "weight_decay": 0, "lr_scale": {"head": 3}}, where="test")
    optimizer = build_optimizer(model, options)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    for name, weight in model.named_parameters():
        # The first step of Adam equals the learning rate for any gradient.
        rate = 0.03 if part_of(name) == "head" else 0.01
        assert (before[name] - weight).flatten()[0].item() == pytest.approx(rate, rel=1e-3), name


def test_a_factor_of_zero_freezes(make: Callable[..., SplitData], recipe: Callable[..., Recipe]) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    wanted = recipe(train={"lr_scale": {"text_embeddings": 0, "cross_attention": 0}})
    trainer = Trainer(wanted, data, val, torch.device("cpu"), SINGLE_PROCESS)
    before = {name: weight.detach().clone() for name, weight in trainer.classifier.named_parameters()}
    trainer.train_step(next(trainer.remaining_steps()))
    for name, weight in trainer.classifier.named_parameters():
        frozen = part_of(name) in ("text_embeddings", "cross_attention")
        assert torch.equal(weight, before[name]) == frozen, name
        assert (weight.grad is None) == frozen
    model = classifier()
    freeze_parameters(model, TrainOptions())
    assert all(weight.requires_grad for weight in model.parameters())

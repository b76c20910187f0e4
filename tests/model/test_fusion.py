"""The contract of fusions, and what each of them reads."""

import pytest
import torch
from torch import nn

from mien.errors import ConfigError, UnknownNameError, UsageError
from mien.model.fusion import Fusion, build_fusion, fusion_class
from mien.recipe import ModelOptions
from mien.registry import registered_names

IMAGE_DIM, VOCAB_SIZE = 12, 40


def options(fusion: str, **changes: object) -> ModelOptions:
    table = {"fusion": fusion, "width": 16, "heads": 2, "num_queries": 3, **changes}
    return ModelOptions.parse(table, where="test")


def build(fusion: str, **changes: object) -> Fusion:
    torch.manual_seed(0)
    return build_fusion(options(fusion, **changes), image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 5, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (2, 6), generator=generator)
    return image, ids, torch.tensor([[True] * 6, [True] * 4 + [False] * 2])


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_gives_one_vector_of_the_declared_size_per_subject(name: str) -> None:
    fusion = build(name)
    assert fusion(*inputs()).shape == (2, fusion.dim)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_depends_on_the_inputs_that_it_uses_and_on_no_other(name: str) -> None:
    fusion = build(name)
    image, ids, mask = inputs()
    before = fusion(image, ids, mask)
    depends_on_image = (fusion(image.flip(2), ids, mask) - before).abs().max() > 1e-4
    depends_on_text = (fusion(image, (ids + 1) % VOCAB_SIZE, mask) - before).abs().max() > 1e-4
    assert (bool(depends_on_image), bool(depends_on_text)) == (fusion.uses_image, fusion.uses_text)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_works_without_the_inputs_that_it_does_not_use(name: str) -> None:
    fusion = build(name)
    image, ids, mask = inputs()
    expected = fusion(image, ids, mask)
    text = (ids, mask) if fusion.uses_text else (None, None)
    assert torch.equal(fusion(image if fusion.uses_image else None, *text), expected)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_padding_changes_nothing(name: str) -> None:
    fusion = build(name)
    image, ids, mask = inputs()
    short = fusion(image[1:], ids[1:, :4], mask[1:, :4])
    torch.testing.assert_close(fusion(image, ids, mask)[1:], short, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_every_weight_is_trained(name: str) -> None:
    fusion = build(name)
    nn.Linear(fusion.dim, 1)(fusion(*inputs())).square().sum().backward()
    assert [weight for weight, parameter in fusion.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    "name", [name for name in registered_names("fusion") if fusion_class(name).uses_image]
)
def test_the_scale_of_an_encoder_does_not_matter(name: str) -> None:
    fusion = build(name)
    image, ids, mask = inputs()
    torch.testing.assert_close(
        fusion(300 * image + 7, ids, mask), fusion(image, ids, mask), atol=1e-3, rtol=0
    )


def test_a_missing_image_is_an_error() -> None:
    _, ids, mask = inputs()
    with pytest.raises(UsageError, match="got none"):
        build("qformer")(None, ids, mask)


def test_concatenated_queries_are_the_queries_of_the_mean() -> None:
    mean, concatenated = build("qformer"), build("qformer", options={"pooling": "concat"})
    queries = concatenated(*inputs()).view(2, 3, 16)
    torch.testing.assert_close(queries.mean(dim=1), mean(*inputs()))


@pytest.mark.parametrize(
    ("name", "image_dim", "vocab_size", "missing"),
    [
        ("qformer", None, VOCAB_SIZE, "image features"),
        ("qformer", IMAGE_DIM, None, "descriptions"),
        ("image_only", None, VOCAB_SIZE, "image features"),
        ("text_only", IMAGE_DIM, None, "descriptions"),
        ("concat", IMAGE_DIM, None, "descriptions"),
    ],
)
def test_the_error_names_the_missing_input(
    name: str, image_dim: int | None, vocab_size: int | None, missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*{missing}"):
        build_fusion(options(name), image_dim=image_dim, vocab_size=vocab_size)


def test_unknown_names_and_options_and_other_classes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="qformr"):
        fusion_class("qformr")
    with pytest.raises(ConfigError, match="not a subclass"):
        fusion_class("torch.nn:Linear")
    with pytest.raises(ConfigError, match=r"model\.options: unknown key 'poolng'"):
        build("qformer", options={"poolng": "mean"})

"""Every fusion: the contract that all share, and what each must see and must not see."""

import pytest
import torch
from torch import nn

from mien.errors import ConfigError, UnknownNameError, UsageError
from mien.model.fusion import Fusion, build_fusion, fusion_class
from mien.recipe import ModelOptions
from mien.registry import registered_names

IMAGE_DIM, WORDS = 12, 40


def options(fusion: str, **changes: object) -> ModelOptions:
    table = {"fusion": fusion, "width": 16, "heads": 2, "num_queries": 3, **changes}
    return ModelOptions.parse(table, where="test")


def build(fusion: str, **changes: object) -> Fusion:
    torch.manual_seed(0)
    return build_fusion(options(fusion, **changes), image_dim=IMAGE_DIM, vocab_size=WORDS).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 5, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, WORDS, (2, 6), generator=generator)
    return image, ids, torch.tensor([[True] * 6, [True] * 4 + [False] * 2])


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_gives_one_vector_of_the_promised_size_for_each_subject(name: str) -> None:
    fusion = build(name)
    assert fusion(*inputs()).shape == (2, fusion.dim)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_sees_what_it_uses_and_nothing_else(name: str) -> None:
    fusion = build(name)
    image, ids, mask = inputs()
    before = fusion(image, ids, mask)
    moved_by_image = (fusion(image.flip(2), ids, mask) - before).abs().max() > 1e-4
    moved_by_text = (fusion(image, (ids + 1) % WORDS, mask) - before).abs().max() > 1e-4
    assert (bool(moved_by_image), bool(moved_by_text)) == (fusion.uses_image, fusion.uses_text)


@pytest.mark.parametrize("name", registered_names("fusion"))
def test_works_without_what_it_does_not_use(name: str) -> None:
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


def test_an_image_that_is_looked_at_must_be_there() -> None:
    _, ids, mask = inputs()
    with pytest.raises(UsageError, match="got none"):
        build("qformer")(None, ids, mask)


def test_queries_side_by_side_keep_each_query_apart() -> None:
    mean, side_by_side = build("qformer"), build("qformer", options={"pooling": "concat"})
    queries = side_by_side(*inputs()).view(2, 3, 16)
    torch.testing.assert_close(queries.mean(dim=1), mean(*inputs()))


@pytest.mark.parametrize(
    ("name", "image_dim", "vocab_size", "missing"),
    [
        ("qformer", None, WORDS, "image features"),
        ("qformer", IMAGE_DIM, None, "descriptions"),
        ("image_only", None, WORDS, "image features"),
        ("text_only", IMAGE_DIM, None, "descriptions"),
        ("concat", IMAGE_DIM, None, "descriptions"),
    ],
)
def test_names_what_it_needs_and_does_not_get(
    name: str, image_dim: int | None, vocab_size: int | None, missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*{missing}"):
        build_fusion(options(name), image_dim=image_dim, vocab_size=vocab_size)


def test_unknown_names_and_options_and_foreign_classes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="qformr"):
        fusion_class("qformr")
    with pytest.raises(ConfigError, match="not a subclass"):
        fusion_class("torch.nn:Linear")
    with pytest.raises(ConfigError, match=r"model\.options: unknown key 'poling'"):
        build("qformer", options={"poling": "mean"})

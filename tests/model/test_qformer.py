"""Our Q-Former against transformers', and its own properties."""

from collections.abc import Callable

import pytest
import torch
from transformers import InstructBlipQFormerModel

from mien.errors import UsageError
from mien.model.qformer import QFormer, QFormerConfig

MakePair = Callable[..., tuple[InstructBlipQFormerModel, QFormer]]

PATCHES, IMAGE_DIM, VOCAB_SIZE = 7, 20, 50


def inputs(batch: int = 3, text: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image tokens, text ids, and a mask in which each row is padded more than the one before."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, PATCHES, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (batch, text), generator=generator)
    lengths = text - 3 * torch.arange(batch)
    return image, ids, torch.arange(text) < lengths[:, None]


def their_output(
    theirs: InstructBlipQFormerModel,
    ours: QFormer,
    image: torch.Tensor,
    ids: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    queries = ours.query_tokens.expand(len(image), -1, -1)
    if mask is not None:
        mask = torch.cat((mask.new_ones(queries.shape[:2]), mask), dim=1).long()
    output = theirs(
        input_ids=ids,
        attention_mask=mask,
        query_embeds=queries,
        encoder_hidden_states=image,
        encoder_attention_mask=torch.ones(image.shape[:2], dtype=torch.long),
    )
    hidden_states: torch.Tensor = output.last_hidden_state
    return hidden_states


# 5 queries are fewer than a head's 8 dimensions, 12 are more: the two ways to compute cross-attention.
@pytest.mark.parametrize("num_queries", [5, 12])
@pytest.mark.parametrize("keep_text", [True, False])
def test_equals_the_reference_with_padded_text(
    make_pair: MakePair, num_queries: int, keep_text: bool
) -> None:
    theirs, ours = make_pair(num_queries=num_queries, keep_text=keep_text)
    image, ids, mask = inputs()
    expected = their_output(theirs, ours, image, ids, mask)
    if not keep_text:
        expected = expected[:, :num_queries]
    torch.testing.assert_close(ours(image, ids, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_queries", [5, 12])
@pytest.mark.parametrize("with_text", [True, False])
def test_equals_the_reference_without_text(make_pair: MakePair, num_queries: int, with_text: bool) -> None:
    theirs, ours = make_pair(num_queries=num_queries, with_text=with_text)
    image, _, _ = inputs()
    torch.testing.assert_close(ours(image), their_output(theirs, ours, image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cross_every", [1, 2, 3])
def test_has_cross_attention_in_the_same_layers(make_pair: MakePair, cross_every: int) -> None:
    theirs, ours = make_pair(num_queries=5, cross_every=cross_every, layers=4)
    image, ids, mask = inputs()
    expected = their_output(theirs, ours, image, ids, mask)
    torch.testing.assert_close(ours(image, ids, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_queries", [5, 12])
def test_gradients_equal_those_of_the_reference(make_pair: MakePair, num_queries: int) -> None:
    theirs, ours = make_pair(num_queries=num_queries)
    image, ids, mask = inputs()
    image.requires_grad_()
    (expected,) = torch.autograd.grad(their_output(theirs, ours, image, ids, mask).square().mean(), image)
    (got,) = torch.autograd.grad(ours(image, ids, mask).square().mean(), image)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_without_queries_it_is_a_bert(make_pair: MakePair) -> None:
    theirs, ours = make_pair(num_queries=0, with_image=False)
    _, ids, mask = inputs()
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours(None, ids, mask), expected, atol=1e-5, rtol=0)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    # In float64, so that the rounding of float32 kernels does not matter.
    config = QFormerConfig(image_dim=IMAGE_DIM, vocab_size=VOCAB_SIZE, width=64, layers=2, heads=4)
    ours = QFormer(config).double().eval()
    image, ids, mask = inputs()
    image = image.double()
    together = ours(image, ids, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone = ours(image[row, None], ids[row, None, :length], mask[row, None, :length])
        torch.testing.assert_close(together[row, None], alone, atol=1e-13, rtol=0)
    other_ids = torch.where(mask, ids, (ids + 1) % VOCAB_SIZE)
    torch.testing.assert_close(ours(image, other_ids, mask), together, atol=0, rtol=0)


def test_every_token_and_every_patch_counts(make_pair: MakePair) -> None:
    _, ours = make_pair(num_queries=5, keep_text=False)
    image, ids, mask = inputs()
    before = ours(image, ids, mask)
    first = torch.zeros_like(ids, dtype=torch.bool)
    first[:, 0] = True
    assert (ours(image, torch.where(first, (ids + 1) % VOCAB_SIZE, ids), mask) - before).abs().max() > 1e-3
    changed = image.clone()
    changed[:, -1] += 1
    assert (ours(changed, ids, mask) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("image_dim", "vocab_size"), [(IMAGE_DIM, VOCAB_SIZE), (IMAGE_DIM, None), (None, VOCAB_SIZE)]
)
def test_every_weight_is_trained(image_dim: int | None, vocab_size: int | None) -> None:
    config = QFormerConfig(
        image_dim=image_dim, vocab_size=vocab_size, num_queries=4, width=16, layers=3, heads=2, feedforward=32
    )
    model = QFormer(config)
    image, ids, mask = inputs()
    output = model(
        None if image_dim is None else image,
        None if vocab_size is None else ids,
        None if vocab_size is None else mask,
    )
    output.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_both_kinds_of_cross_attention_use_dropout_in_training_only() -> None:
    for num_queries in (2, 12):
        config = QFormerConfig(
            image_dim=IMAGE_DIM, vocab_size=None, num_queries=num_queries, width=16, layers=1, heads=2,
            feedforward=32, dropout=0.0, attention_dropout=0.5,
        )  # fmt: skip
        model = QFormer(config)
        image, _, _ = inputs()
        assert not torch.equal(model.train()(image), model(image))
        assert torch.equal(model.eval()(image), model(image))


@pytest.mark.parametrize(
    ("image_dim", "vocab_size", "given", "message"),
    [
        (IMAGE_DIM, VOCAB_SIZE, ("text",), "no image"),
        (None, VOCAB_SIZE, ("image", "text"), "an image"),
        (IMAGE_DIM, None, ("image", "text"), "without a vocabulary"),
        (None, VOCAB_SIZE, (), "text alone"),
    ],
)
def test_refuses_inputs_that_it_was_not_built_for(
    image_dim: int | None, vocab_size: int | None, given: tuple[str, ...], message: str
) -> None:
    config = QFormerConfig(
        image_dim=image_dim, vocab_size=vocab_size, num_queries=4, width=16, layers=1, heads=2, feedforward=32
    )
    image, ids, mask = inputs()
    with pytest.raises(UsageError, match=message):
        QFormer(config)(
            image if "image" in given else None,
            ids if "text" in given else None,
            mask if "text" in given else None,
        )

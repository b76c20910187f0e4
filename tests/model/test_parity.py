"""Outputs and gradients of our Q-Former equal those of InstructBLIP's and BLIP-2's."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    Blip2QFormerConfig,
    Blip2QFormerModel,
    InstructBlipQFormerConfig,
    InstructBlipQFormerModel,
)
from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

from mien.model.pretrained import map_weights
from mien.model.qformer import QFormer, QFormerConfig

IMAGE_DIM, WIDTH, VOCAB_SIZE, PATCHES, TEXT = 20, 32, 50, 7, 9
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "cross_attention_frequency": 2,
    "encoder_hidden_size": IMAGE_DIM,
    "max_position_embeddings": 40,
}


class Theirs(torch.nn.Module):
    """transformers' Q-Former with query tokens, called as ours."""

    def __init__(self, kind: str, num_queries: int, **changes: int) -> None:
        super().__init__()
        sizes = {**SIZES, **changes}
        if kind == "instructblip":
            self.qformer: Any = InstructBlipQFormerModel(InstructBlipQFormerConfig(**sizes))
        else:
            config = Blip2QFormerConfig(**sizes, use_qformer_text_input=True)
            make: Any = Blip2TextEmbeddings
            self.embeddings = make(config)
            self.qformer = Blip2QFormerModel(config)
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, num_queries, sizes["hidden_size"]))

    def forward(
        self, image: torch.Tensor, ids: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        queries = self.query_tokens.expand(len(image), -1, -1)
        if mask is not None:
            mask = torch.cat((mask.new_ones(queries.shape[:2]), mask), dim=1).long()
        inputs = {"attention_mask": mask, "encoder_hidden_states": image}
        if not hasattr(self, "embeddings"):
            output = self.qformer(input_ids=ids, query_embeds=queries, **inputs)
        elif ids is None:
            output = self.qformer(query_embeds=queries, **inputs)
        else:
            embedded = self.embeddings(input_ids=ids, query_embeds=queries)
            output = self.qformer(query_embeds=embedded, query_length=queries.shape[1], **inputs)
        hidden_states: torch.Tensor = output.last_hidden_state
        return hidden_states


Pair = tuple[Theirs, QFormer]


@pytest.fixture(params=["instructblip", "blip2"])
def pair(request: pytest.FixtureRequest) -> Callable[..., Pair]:
    """pair(num_queries, std=0.2, hidden_size=...) -> their model and ours with the same random weights."""

    def make(num_queries: int, *, std: float = 0.2, **changes: int) -> Pair:
        torch.manual_seed(0)
        theirs = Theirs(request.param, num_queries, **changes).train(mode=False)
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                center = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
                parameter.copy_(center + std * torch.randn_like(parameter))
        sizes = {**SIZES, **changes}
        ours = QFormer(
            QFormerConfig(
                image_dim=sizes["encoder_hidden_size"],
                vocab_size=sizes["vocab_size"],
                num_queries=num_queries,
                width=sizes["hidden_size"],
                layers=sizes["num_hidden_layers"],
                heads=sizes["num_attention_heads"],
                feedforward=sizes["intermediate_size"],
                cross_every=sizes["cross_attention_frequency"],
                max_positions=sizes["max_position_embeddings"],
                keep_text=True,
            )
        ).eval()
        ours.load_state_dict(our_names(ours, dict(theirs.named_parameters())))
        return theirs, ours

    return make


def our_names(ours: QFormer, theirs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Their weights, or gradients, by our names."""
    names = map_weights(dict(ours.named_parameters()), theirs)
    assert names is not None
    found = {
        name: torch.cat([theirs[part].detach() for part in source.stacked])
        for name, source in names.sources.items()
    }
    return found | {"query_tokens": found["query_tokens"][0]}


def inputs(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each row is padded more than the one before."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, PATCHES, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (batch, TEXT), generator=generator)
    return image, ids, torch.arange(TEXT) < (TEXT - 3 * torch.arange(batch))[:, None]


# 5 queries are fewer than a head's 8 dimensions, 12 are more: the two ways to compute cross-attention.
@pytest.mark.parametrize("num_queries", [5, 12])
def test_outputs_are_equal_with_padded_text(pair: Callable[..., Pair], num_queries: int) -> None:
    theirs, ours = pair(num_queries)
    torch.testing.assert_close(ours(*inputs()), theirs(*inputs()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_queries", [5, 12])
def test_outputs_are_equal_without_text(pair: Callable[..., Pair], num_queries: int) -> None:
    theirs, ours = pair(num_queries)
    image, _, _ = inputs()
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-5, rtol=0)


def assert_same_gradients(
    theirs: Theirs, ours: QFormer, given: tuple[torch.Tensor, ...], *, atol: float
) -> None:
    """For every weight and the image: to `atol`, and to a thousandth of each gradient.

    The loss is a random projection: the sum of squares after the last norm is nearly constant.
    """
    direction: Any = None
    found: list[dict[str, torch.Tensor]] = []
    for model in (theirs, ours):
        image = given[0].clone().requires_grad_()
        # Only of the queries: states of padding are not used.
        queries = model(image, *given[1:])[:, : ours.config.num_queries]
        if direction is None:
            direction = torch.randn(queries.shape, generator=torch.Generator().manual_seed(7))
        (queries * direction).mean().backward()
        gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for name, parameter in model.named_parameters()
        }
        assert image.grad is not None
        found.append({"image": image.grad, **(gradients if model is ours else our_names(ours, gradients))})
    expected, got = found
    assert got.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in got.items():
        difference = float((gradient - expected[name]).abs().max())
        own = float(expected[name].abs().max())
        # The gradient of keys' biases is only rounding.
        assert difference <= min(atol, 1e-3 * own + 1e-6 * largest), (name, difference, own)


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("num_queries", [5, 12])
def test_gradients_are_equal(pair: Callable[..., Pair], num_queries: int, with_text: bool) -> None:
    assert_same_gradients(*pair(num_queries), inputs()[: 3 if with_text else 1], atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_outputs_and_gradients_are_equal_at_any_shape(pair: Callable[..., Pair], seed: int) -> None:
    """In double precision, where rounding hides nothing; some rows have no text."""
    draw = random.Random(seed)
    heads, batch, text = draw.choice([1, 2, 4]), draw.randrange(1, 5), draw.randrange(1, 12)
    theirs, ours = pair(
        draw.randrange(1, 20),
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_hidden_layers=draw.randrange(1, 6),
        cross_attention_frequency=draw.randrange(1, 4),
        intermediate_size=draw.randrange(8, 40),
        encoder_hidden_size=(dim := draw.randrange(4, 30)),
    )
    theirs, ours = theirs.double(), ours.double()
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, draw.randrange(1, 12), dim, generator=generator, dtype=torch.float64)
    # From 1: their embedding of the padding id never has a gradient.
    ids = torch.randint(1, VOCAB_SIZE, (batch, text), generator=generator)
    mask = torch.arange(text) < torch.tensor([[draw.randrange(text + 1)] for _ in range(batch)])
    for given in ((image, ids, mask), (image,)):
        torch.testing.assert_close(ours(*given), theirs(*given), atol=1e-11, rtol=0)
        assert_same_gradients(theirs, ours, given, atol=1e-11)
        ours.zero_grad()
        theirs.zero_grad()


def test_fully_masked_text_does_not_change_the_queries(pair: Callable[..., Pair]) -> None:
    theirs, ours = pair(5)
    image, ids, mask = inputs()
    nothing = torch.zeros_like(mask)
    for other in (ours(image), theirs(image, ids, nothing)[:, :5]):
        torch.testing.assert_close(ours(image, ids, nothing)[:, :5], other, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_at_the_size_of_the_paper(pair: Callable[..., Pair]) -> None:
    """Twelve layers of width 768, 32 queries, 257 patches of a ViT-L, BERT's initial standard deviation."""
    theirs, ours = pair(
        32,
        std=0.02,
        vocab_size=1000,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        encoder_hidden_size=1024,
        max_position_embeddings=512,
    )
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 257, 1024, generator=generator)
    ids = torch.randint(0, 1000, (2, 64), generator=generator)
    mask = torch.arange(64) < torch.tensor([[64], [20]])
    for given in ((image, ids, mask), (image,)):
        torch.testing.assert_close(ours(*given), theirs(*given), atol=1e-5, rtol=0)
        assert_same_gradients(theirs, ours, given, atol=1e-5)
        ours.zero_grad()
        theirs.zero_grad()

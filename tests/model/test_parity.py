"""Forward and backward, ours is the Q-Former of InstructBLIP and of BLIP-2, to the same numbers."""

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

IMAGE_DIM, WIDTH, WORDS, PATCHES, TEXT = 20, 32, 50, 7, 9
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "cross_attention_frequency": 2,
    "encoder_hidden_size": IMAGE_DIM,
    "max_position_embeddings": 40,
}


class Theirs(torch.nn.Module):
    """Transformers' Q-Former with queries of its own, called as ours is."""

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
        shown = {"attention_mask": mask, "encoder_hidden_states": image}
        if not hasattr(self, "embeddings"):
            answer = self.qformer(input_ids=ids, query_embeds=queries, **shown)
        elif ids is None:
            answer = self.qformer(query_embeds=queries, **shown)
        else:
            embedded = self.embeddings(input_ids=ids, query_embeds=queries)
            answer = self.qformer(query_embeds=embedded, query_length=queries.shape[1], **shown)
        states: torch.Tensor = answer.last_hidden_state
        return states


Pair = tuple[Theirs, QFormer]


@pytest.fixture(params=["instructblip", "blip2"])
def pair(request: pytest.FixtureRequest) -> Callable[..., Pair]:
    """pair(num_queries, spread=0.2, hidden_size=...) -> theirs and ours with the same random weights of that
    spread, both in evaluation mode."""

    def make(num_queries: int, *, spread: float = 0.2, **changes: int) -> Pair:
        torch.manual_seed(0)
        theirs = Theirs(request.param, num_queries, **changes).train(mode=False)
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
                parameter.copy_(centre + spread * torch.randn_like(parameter))
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
        ours.load_state_dict(translated(ours, dict(theirs.named_parameters())))
        return theirs, ours

    return make


def translated(ours: QFormer, theirs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights, or gradients, by our names."""
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
    ids = torch.randint(0, WORDS, (batch, TEXT), generator=generator)
    return image, ids, torch.arange(TEXT) < (TEXT - 3 * torch.arange(batch))[:, None]


# 5 queries are fewer than a head's 8 dimensions, 12 are more: the two ways to look at the image.
@pytest.mark.parametrize("num_queries", [5, 12])
def test_the_same_vectors_with_padded_text(pair: Callable[..., Pair], num_queries: int) -> None:
    theirs, ours = pair(num_queries)
    torch.testing.assert_close(ours(*inputs()), theirs(*inputs()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_queries", [5, 12])
def test_the_same_vectors_of_queries_alone(pair: Callable[..., Pair], num_queries: int) -> None:
    theirs, ours = pair(num_queries)
    image, _, _ = inputs()
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-5, rtol=0)


def assert_same_gradients(
    theirs: Theirs, ours: QFormer, given: tuple[torch.Tensor, ...], *, atol: float
) -> None:
    """Of every weight and of the picture: as near as that, and to a thousandth of what each gradient has.

    The loss is a random direction: squares of what was normed last are nearly the same whatever the weights.
    """
    direction: Any = None
    found: list[dict[str, torch.Tensor]] = []
    for model in (theirs, ours):
        image = given[0].clone().requires_grad_()
        # Of the queries only: what stands in padded places is nobody's concern.
        queries = model(image, *given[1:])[:, : ours.config.num_queries]
        if direction is None:
            direction = torch.randn(queries.shape, generator=torch.Generator().manual_seed(7))
        (queries * direction).mean().backward()
        gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for name, parameter in model.named_parameters()
        }
        assert image.grad is not None
        found.append(
            {"the picture": image.grad, **(gradients if model is ours else translated(ours, gradients))}
        )
    expected, got = found
    assert got.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in got.items():
        difference = float((gradient - expected[name]).abs().max())
        own = float(expected[name].abs().max())
        # Keys' biases have no gradient but rounding.
        assert difference <= min(atol, 1e-3 * own + 1e-6 * largest), (name, difference, own)


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("num_queries", [5, 12])
def test_the_same_gradients(pair: Callable[..., Pair], num_queries: int, with_text: bool) -> None:
    assert_same_gradients(*pair(num_queries), inputs()[: 3 if with_text else 1], atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_of_any_shape_they_are_one_function(pair: Callable[..., Pair], seed: int) -> None:
    """In double precision, where rounding hides nothing; some rows have no text at all."""
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
    # From 1: their embedding of the padding id has no gradient, also where it is read.
    ids = torch.randint(1, WORDS, (batch, text), generator=generator)
    mask = torch.arange(text) < torch.tensor([[draw.randrange(text + 1)] for _ in range(batch)])
    for given in ((image, ids, mask), (image,)):
        torch.testing.assert_close(ours(*given), theirs(*given), atol=1e-11, rtol=0)
        assert_same_gradients(theirs, ours, given, atol=1e-11)
        ours.zero_grad()
        theirs.zero_grad()


def test_words_that_are_all_masked_leave_the_queries_alone(pair: Callable[..., Pair]) -> None:
    theirs, ours = pair(5)
    image, ids, mask = inputs()
    nothing = torch.zeros_like(mask)
    for other in (ours(image), theirs(image, ids, nothing)[:, :5]):
        torch.testing.assert_close(ours(image, ids, nothing)[:, :5], other, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_at_the_size_of_the_paper(pair: Callable[..., Pair]) -> None:
    """Twelve layers of 768, 32 queries, 257 patches of a ViT-L, weights as wide as BERT begins with."""
    theirs, ours = pair(
        32,
        spread=0.02,
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

"""Forward and backward, ours is the Q-Former of InstructBLIP and of BLIP-2, to the same numbers."""

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

from mien.model.checkpoint_names import read_names
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

    def __init__(self, kind: str, num_queries: int, *, attention: str = "sdpa") -> None:
        super().__init__()
        sizes = {**SIZES, "attn_implementation": attention}
        if kind == "instructblip":
            self.qformer: Any = InstructBlipQFormerModel(InstructBlipQFormerConfig(**sizes))
        else:
            config = Blip2QFormerConfig(**sizes, use_qformer_text_input=True)
            make: Any = Blip2TextEmbeddings
            self.embeddings = make(config)
            self.qformer = Blip2QFormerModel(config)
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, num_queries, WIDTH))

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
    """pair(num_queries) -> theirs and ours with the same random weights, both in evaluation mode."""

    def make(num_queries: int, *, keep_text: bool = True) -> Pair:
        torch.manual_seed(0)
        theirs = Theirs(request.param, num_queries).train(mode=False)
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
                parameter.copy_(centre + 0.2 * torch.randn_like(parameter))
        ours = QFormer(
            QFormerConfig(
                image_dim=IMAGE_DIM,
                vocab_size=WORDS,
                num_queries=num_queries,
                width=WIDTH,
                layers=3,
                heads=4,
                feedforward=48,
                max_positions=40,
                keep_text=keep_text,
            )
        ).eval()
        ours.load_state_dict(translated(ours, dict(theirs.named_parameters())))
        return theirs, ours

    return make


def translated(ours: QFormer, theirs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights, or gradients, by our names."""
    names = read_names(dict(ours.named_parameters()), theirs)
    assert names is not None
    found = {
        name: torch.cat([theirs[part].detach() for part in source.stacked])
        for name, source in names.sources.items()
    }
    return found | {"queries": found["queries"][0]}


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


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("num_queries", [5, 12])
def test_the_same_gradient_of_every_weight(
    pair: Callable[..., Pair], num_queries: int, with_text: bool
) -> None:
    theirs, ours = pair(num_queries)
    image, ids, mask = inputs()
    given = (image, ids, mask) if with_text else (image,)
    for model in (theirs, ours):
        # Of the queries only: what stands in padded places is nobody's concern.
        model(*given)[:, :num_queries].square().mean().backward()
    wanted = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    wanted = {
        name: torch.zeros_like(parameter) if wanted[name] is None else wanted[name]
        for name, parameter in theirs.named_parameters()
    }
    expected = translated(ours, wanted)
    largest = 0.0
    for name, parameter in ours.named_parameters():
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert (got - expected[name]).abs().max() < 1e-5, name
        largest = max(largest, float(got.abs().max()))
    assert largest > 1e-2

"""What other people's checkpoints call the weights of a Q-Former.

Goes in: the names of our weights, and all names in a checkpoint. Comes out: where each of ours stands.
Knows nothing about: files, shapes, numbers.

Known are transformers' InstructBLIP and BLIP-2 (whole or the Q-Former alone), and BERT, from which BLIP-2's
Q-Former itself was begun: both feed-forwards from BERT's only one, cross-attention and queries anew
(Li et al. 2023, section 3.1).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Names", "Source", "read_names"]

# Where each layer keeps its self-attention's output: Q-Formers and BERTs do, pre-norm ViTs do not.
_LANDMARK: Final = "encoder.layer.0.attention.output.LayerNorm.weight"
_QUERIES: Final = "query_tokens"

# Ours within a layer, and theirs; several of theirs stand below one another in ours. "*" is where a BERT
# says "self" and a Q-Former "attention".
_LAYER: Final[Mapping[str, tuple[str, ...]]] = {
    "self_attention.query_key_value": ("attention.*.query", "attention.*.key", "attention.*.value"),
    "self_attention.output.dense": ("attention.output.dense",),
    "self_attention.output.norm": ("attention.output.LayerNorm",),
    "cross_attention.query": ("crossattention.*.query",),
    "cross_attention.key_value": ("crossattention.*.key", "crossattention.*.value"),
    "cross_attention.output.dense": ("crossattention.output.dense",),
    "cross_attention.output.norm": ("crossattention.output.LayerNorm",),
    "text_feedforward.inner": ("intermediate.dense",),
    "text_feedforward.output.dense": ("output.dense",),
    "text_feedforward.output.norm": ("output.LayerNorm",),
    "query_feedforward.inner": ("intermediate_query.dense",),
    "query_feedforward.output.dense": ("output_query.dense",),
    "query_feedforward.output.norm": ("output_query.LayerNorm",),
}
# BERT's only feed-forward is the start of the queries' own as well.
_AS_IN_BERT: Final[Mapping[str, tuple[str, ...]]] = {
    ours: tuple(name.replace("_query", "") for name in theirs)
    for ours, theirs in _LAYER.items()
    if ours.startswith("query_feedforward")
}
# Those outside of the layers; the first that is there counts. BLIP-2 keeps its words beside the Q-Former.
_OUTSIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "words.weight": ("embeddings.word_embeddings.weight", "^embeddings.word_embeddings.weight"),
    "positions.weight": ("embeddings.position_embeddings.weight", "^embeddings.position_embeddings.weight"),
    "norm.weight": ("embeddings.layernorm.weight", "layernorm.weight", "embeddings.LayerNorm.weight"),
    "norm.bias": ("embeddings.layernorm.bias", "layernorm.bias", "embeddings.LayerNorm.bias"),
}
_TYPES: Final = "embeddings.token_type_embeddings.weight"
# Parts that no Q-Former has: BERT's pooled vector, and buffers that count to 512.
_IRRELEVANT: Final = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one of our weights stands: tensors to lay below one another, and one whose first row is added."""

    stacked: tuple[str, ...]
    first_row_of: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are read for it."""
        return self.stacked if self.first_row_of is None else (*self.stacked, self.first_row_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Where our weights stand in a checkpoint, and its Q-Former's weights that ours has no place for."""

    sources: Mapping[str, Source]
    unexpected: tuple[str, ...]
    layers: int


def read_names(ours: Collection[str], theirs: Iterable[str]) -> Names | None:
    """Where each of our weights stands, so far as it does; None if there is no Q-Former and no BERT.

    `unexpected` leaves out layers beyond our last: `layers` says how many there are.
    """
    written = {_modern(name): name for name in theirs}
    prefixes = [name.removesuffix(_LANDMARK) for name in written if name.endswith(_LANDMARK)]
    if not prefixes:
        return None
    # Beside a Q-Former there may be a BERT-like language model.
    prefix = min(prefixes, key=lambda start: ("qformer" not in start.lower(), len(start)))
    root = prefix.removesuffix("qformer.")
    sources = {}
    for name in ours:
        source = _source(name, prefix, root, written)
        if source is not None:
            sources[name] = Source(
                stacked=tuple(written[part] for part in source.stacked),
                first_row_of=None if source.first_row_of is None else written[source.first_row_of],
            )
    used = {part for source in sources.values() for part in source.names}
    depth = 1 + max(_layer_of(name.removeprefix(prefix)) for name in written if name.startswith(prefix))
    own_depth = 1 + max((_layer_of(name, "layers.") for name in ours), default=-1)
    unexpected = sorted(
        actual
        for name, actual in written.items()
        if (name.startswith(prefix) or name == root + _QUERIES)
        and actual not in used
        and not name.removeprefix(prefix).startswith(_IRRELEVANT)
        and _layer_of(name.removeprefix(prefix)) < own_depth
    )
    return Names(sources=sources, unexpected=tuple(unexpected), layers=depth)


def _modern(name: str) -> str:
    """BERT's first checkpoints call a norm's weight and bias gamma and beta."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _source(ours: str, prefix: str, root: str, there: Collection[str]) -> Source | None:
    if ours == "queries":
        return Source(stacked=(root + _QUERIES,)) if root + _QUERIES in there else None
    if ours.startswith("layers."):
        _, index, path = ours.split(".", 2)
        return _in_layer(f"{prefix}encoder.layer.{index}.", path, there)
    for candidate in _OUTSIDE[ours]:
        name = root + candidate[1:] if candidate.startswith("^") else prefix + candidate
        if name in there:
            # A BERT tells sentences apart; ours are all of the first kind.
            types = prefix + _TYPES if ours == "positions.weight" and prefix + _TYPES in there else None
            return Source(stacked=(name,), first_row_of=types)
    return None


def _in_layer(layer: str, path: str, there: Collection[str]) -> Source | None:
    part, _, kind = path.rpartition(".")
    for table in (_LAYER, _AS_IN_BERT):
        for spelling in ("attention", "self"):
            names = tuple(f"{layer}{name.replace('*', spelling)}.{kind}" for name in table.get(part, ()))
            if names and all(name in there for name in names):
                return Source(stacked=names)
    return None


def _layer_of(name: str, start: str = "encoder.layer.") -> int:
    """The number of the layer that a weight belongs to; -1 for one outside of the layers."""
    return int(name.removeprefix(start).split(".")[0]) if name.startswith(start) else -1

"""Initializes a Q-Former from pretrained weights: BERT's, BLIP-2's or InstructBLIP's.

Only the files that hold a Q-Former are fetched, and only its tensors are read; they are a small part of an
InstructBLIP. A report names every weight that did not fit, so that none stays random unnoticed.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mien.documents import require_file
from mien.errors import ConfigError, WeightsError, first_line
from mien.model.fusion import Fusion
from mien.model.qformer import QFormer
from mien.weights.model_folder import find_encoder_folder, read_json

__all__ = [
    "RANDOM",
    "LoadReport",
    "WeightMap",
    "WeightSource",
    "load_initial_weights",
    "load_qformer",
    "map_weights",
]

log = logging.getLogger(__name__)

RANDOM: Final = "random"
_INDEX: Final = "model.safetensors.index.json"
_MODEL_TYPES: Final = ("bert", "blip-2", "blip_2", "instructblip")  # how a config's model_type may begin
# Tables that may have more or fewer rows than ours: the first rows mean the same.
_RESIZABLE: Final = ("query_tokens", "position_embeddings.weight", "word_embeddings.weight")
_DEFAULT_HEADS: Final = 12  # where a config leaves out the number
_SPECIAL_TOKENS: Final = 64  # vocabularies whose sizes differ by more are different vocabularies
_HINT: Final = "name a BERT, BLIP-2 or InstructBLIP model with safetensors, or its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Which weights of a Q-Former came from a checkpoint.

    Attributes:
        source: The checkpoint's name or path.
        loaded: Our weights that were loaded.
        missing: Our weights that the checkpoint lacks; they stay random.
        mismatched: Our weights with another shape there, with both shapes; they stay random.
        partial: Our weights of which only the first rows were loaded, with the numbers of rows.
        unexpected: The checkpoint's Q-Former weights that ours does not have, by their names there.
        layers_cut: The number of the checkpoint's last layers that were left out, because ours has fewer.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    partial: tuple[str, ...]
    unexpected: tuple[str, ...]
    layers_cut: int

    def lines(self) -> list[str]:
        """The report as text, one line per kind of difference."""
        lines = [f"{len(self.loaded)} weights of the Q-Former start from {self.source}"]
        for kind, names in (
            ("not in it, so random", self.missing),
            ("with another shape, so random", self.mismatched),
            ("loaded in part", self.partial),
            ("in it, but not used", self.unexpected),
        ):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"{len(names)} {kind}: {', '.join(names[:3])}{more}")
        if self.layers_cut:
            lines.append(f"its last {self.layers_cut} layers are left out: the model has fewer")
        return lines


def load_initial_weights(fusion: Fusion, init: str) -> tuple[LoadReport, ...]:
    """Initializes every Q-Former of a fusion from the weights of `model.init`, and logs what did not fit.

    Args:
        fusion: A fusion with random weights, changed in place.
        init: "random", a folder, or a name on the Hugging Face Hub.

    Returns:
        One report per Q-Former; none for "random".

    Raises:
        ConfigError: If the fusion has no Q-Former.
        WeightsError: If the weights are not available, or none of them fits.
    """
    if init == RANDOM:
        return ()
    qformers = [module for module in fusion.modules() if isinstance(module, QFormer)]
    if not qformers:
        raise ConfigError(
            f"model.init {init!r} is for a Q-Former, and this fusion has none",
            hint='set model.init to "random"',
        )
    reports = tuple(load_qformer(qformer, init) for qformer in qformers)
    for report in reports:
        first, *rest = report.lines()
        log.info(first)
        for line in rest:
            log.warning(line)
    return reports


def load_qformer(qformer: QFormer, name_or_path: str | Path) -> LoadReport:
    """Copies the weights that a checkpoint has of a Q-Former into it.

    Raises:
        WeightsError: If the checkpoint is not available or not of a known kind, or no weight fits.
    """
    source = str(name_or_path)
    folder = find_encoder_folder(source, embedded_as="llava", patterns=("config.json", _INDEX)).path
    _check_config(folder, heads=qformer.config.heads)
    file_of = _files_of_tensors(folder, source)
    ours = dict(qformer.named_parameters())
    mapped = map_weights(ours, file_of)
    if mapped is None:
        raise WeightsError(f"{source} holds neither a Q-Former nor a BERT", hint=_HINT)
    loaded, mismatched, partial = [], [], []
    with _open_tensors(folder, source, mapped.sources, file_of) as tensors:
        for name, tensor in tensors:
            theirs, needed = tuple(tensor.shape), tuple(ours[name].shape)
            rows = _common_rows(name, theirs, needed)
            if rows is None:
                mismatched.append(f"{name} {theirs} there, {needed} here")
                continue
            with torch.no_grad():
                ours[name][:rows].copy_(tensor[:rows])
            loaded.append(name)
            if rows < needed[0]:
                partial.append(f"{name} {rows} of {needed[0]} rows")
    if not loaded:
        raise WeightsError(
            f"no weight of {source} fits the model; {mismatched[0] if mismatched else 'the names differ'}",
            hint="set model.width, model.heads and model.options.feedforward as the checkpoint has them",
        )
    return LoadReport(
        source=source,
        loaded=tuple(loaded),
        missing=tuple(name for name in ours if name not in mapped.sources and ours[name].numel()),
        mismatched=tuple(mismatched),
        partial=tuple(partial),
        unexpected=mapped.unexpected,
        layers_cut=max(0, mapped.layers - qformer.config.layers),
    )


def _check_config(folder: Path, *, heads: int) -> None:
    """Raises WeightsError for differences that shapes do not reveal.

    These are a model that only resembles a BERT, such as a RoBERTa, whose positions are counted differently,
    and weights for another number of heads.
    """
    if not (folder / "config.json").exists():
        return
    config = read_json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    if kind and not kind.startswith(_MODEL_TYPES):
        raise WeightsError(f"{folder} holds a {kind!r}, which cannot initialize a Q-Former", hint=_HINT)
    theirs = config.get("qformer_config", config).get("num_attention_heads", _DEFAULT_HEADS)
    if theirs != heads:
        raise WeightsError(
            f"{folder} has {theirs} attention heads, and the model {heads}",
            hint=f"set model.heads to {theirs}; the weights have another meaning with other heads",
        )


def _common_rows(name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> int | None:
    """How many first rows to copy; None if the shapes do not fit."""
    if theirs == ours:
        return ours[0]
    if name not in _RESIZABLE or theirs[1:] != ours[1:]:
        return None
    if name == "word_embeddings.weight" and abs(theirs[0] - ours[0]) > _SPECIAL_TOKENS:
        return None
    return min(theirs[0], ours[0])


# --- Names -------------------------------------------------------------------------------------------

# The names of transformers' InstructBLIP and BLIP-2 (the whole model, or its Q-Former alone), and of BERT.
# BLIP-2's own Q-Former was initialized from BERT: both feed-forwards from BERT's one, cross-attention and
# queries at random (Li et al. 2023, section 3.1).

# Every layer of a Q-Former or a BERT has this; pre-norm ViTs do not.
_LANDMARK: Final = "encoder.layer.0.attention.output.LayerNorm.weight"
_QUERIES: Final = "query_tokens"

# Our names within a layer, and theirs; several of theirs are stacked in one of ours. "*" is "self" in a BERT
# and "attention" in a Q-Former.
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
# BERT's one feed-forward initializes that of the queries, too.
_LAYER_OF_BERT: Final[Mapping[str, tuple[str, ...]]] = {
    ours: tuple(name.replace("_query", "") for name in theirs)
    for ours, theirs in _LAYER.items()
    if ours.startswith("query_feedforward")
}
# Names outside the layers; the first that exists counts. "^": BLIP-2 keeps its embeddings next to the
# Q-Former.
_OUTSIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "word_embeddings.weight": (
        "embeddings.word_embeddings.weight",
        "^embeddings.word_embeddings.weight",
    ),
    "position_embeddings.weight": (
        "embeddings.position_embeddings.weight",
        "^embeddings.position_embeddings.weight",
    ),
    "norm.weight": ("embeddings.layernorm.weight", "layernorm.weight", "embeddings.LayerNorm.weight"),
    "norm.bias": ("embeddings.layernorm.bias", "layernorm.bias", "embeddings.LayerNorm.bias"),
}
_TOKEN_TYPES: Final = "embeddings.token_type_embeddings.weight"
# Not part of a Q-Former: BERT's pooler, and a buffer of position numbers.
_IRRELEVANT: Final = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """Where one of our weights comes from.

    Attributes:
        stacked: Names of the checkpoint's tensors, concatenated along the first axis.
        first_row_of: The name of a tensor whose first row is added, or None.
    """

    stacked: tuple[str, ...]
    first_row_of: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors that are read."""
        return self.stacked if self.first_row_of is None else (*self.stacked, self.first_row_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMap:
    """Where our weights are in a checkpoint.

    Attributes:
        sources: By our names, as far as the checkpoint has them.
        unexpected: Names of the checkpoint's Q-Former weights that ours does not have, without those of
            layers beyond our last.
        layers: Number of layers in the checkpoint.
    """

    sources: Mapping[str, WeightSource]
    unexpected: tuple[str, ...]
    layers: int


def map_weights(ours: Collection[str], theirs: Iterable[str]) -> WeightMap | None:
    """Maps a Q-Former's parameter names to a checkpoint's tensor names.

    Args:
        ours: Names of a `QFormer`'s parameters.
        theirs: Names of all tensors in the checkpoint.

    Returns:
        The map, or None if the checkpoint has neither a Q-Former nor a BERT.
    """
    actual_names = {_modern_name(name): name for name in theirs}
    prefixes = [name.removesuffix(_LANDMARK) for name in actual_names if name.endswith(_LANDMARK)]
    if not prefixes:
        return None
    # A checkpoint with a Q-Former may also have a BERT-like language model.
    prefix = min(prefixes, key=lambda start: ("qformer" not in start.lower(), len(start)))
    root = prefix.removesuffix("qformer.")
    sources = {}
    for name in ours:
        source = _source_of(name, prefix, root, actual_names)
        if source is not None:
            sources[name] = WeightSource(
                stacked=tuple(actual_names[part] for part in source.stacked),
                first_row_of=None if source.first_row_of is None else actual_names[source.first_row_of],
            )
    used = {part for source in sources.values() for part in source.names}
    depth = 1 + max(
        _layer_index(name.removeprefix(prefix)) for name in actual_names if name.startswith(prefix)
    )
    own_depth = 1 + max((_layer_index(name, "layers.") for name in ours), default=-1)
    unexpected = sorted(
        actual
        for name, actual in actual_names.items()
        if (name.startswith(prefix) or name == root + _QUERIES)
        and actual not in used
        and not name.removeprefix(prefix).startswith(_IRRELEVANT)
        and _layer_index(name.removeprefix(prefix)) < own_depth
    )
    return WeightMap(sources=sources, unexpected=tuple(unexpected), layers=depth)


def _modern_name(name: str) -> str:
    """Early BERT checkpoints call a norm's weight and bias gamma and beta."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _source_of(ours: str, prefix: str, root: str, theirs: Collection[str]) -> WeightSource | None:
    if ours == "query_tokens":
        return WeightSource(stacked=(root + _QUERIES,)) if root + _QUERIES in theirs else None
    if ours.startswith("layers."):
        _, index, path = ours.split(".", 2)
        return _source_in_layer(f"{prefix}encoder.layer.{index}.", path, theirs)
    for candidate in _OUTSIDE[ours]:
        name = root + candidate[1:] if candidate.startswith("^") else prefix + candidate
        if name in theirs:
            # BERT embeds the number of the sentence; ours has a single sentence, the first.
            has_types = ours == "position_embeddings.weight" and prefix + _TOKEN_TYPES in theirs
            return WeightSource(stacked=(name,), first_row_of=prefix + _TOKEN_TYPES if has_types else None)
    return None


def _source_in_layer(layer: str, path: str, theirs: Collection[str]) -> WeightSource | None:
    part, _, kind = path.rpartition(".")
    for table in (_LAYER, _LAYER_OF_BERT):
        for spelling in ("attention", "self"):
            names = tuple(f"{layer}{name.replace('*', spelling)}.{kind}" for name in table.get(part, ()))
            if names and all(name in theirs for name in names):
                return WeightSource(stacked=names)
    return None


def _layer_index(name: str, start: str = "encoder.layer.") -> int:
    """The index of the layer that a weight belongs to; -1 outside the layers."""
    return int(name.removeprefix(start).split(".")[0]) if name.startswith(start) else -1


# --- Files -------------------------------------------------------------------------------------------


def _files_of_tensors(folder: Path, source: str) -> dict[str, str]:
    """The file name of each tensor, from the index of a sharded model, or from the files themselves."""
    if (folder / _INDEX).exists():
        table: Any = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(table, dict):
            raise WeightsError(f"{folder / _INDEX} has no weight_map", hint="copy the model again")
        return {str(name): Path(str(file)).name for name, file in table.items()}
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        folder = find_encoder_folder(
            source, embedded_as="llava", patterns=("config.json", "*.safetensors")
        ).path
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(
            f"{source} has no safetensors",
            hint="convert the weights; pickled ones (.bin, .pt) are not loaded",
        )
    file_of: dict[str, str] = {}
    for file in files:
        with _reading(file), safe_open(file, framework="pt") as opened:
            file_of |= dict.fromkeys(opened.keys(), file.name)
    return file_of


@contextmanager
def _open_tensors(
    folder: Path, source: str, sources: Mapping[str, WeightSource], file_of: Mapping[str, str]
) -> Iterator[Iterator[tuple[str, Tensor]]]:
    """Our names with their values, one at a time; opens only the files that hold them."""
    needed = sorted({file_of[name] for weight in sources.values() for name in weight.names})
    if any(not (folder / file).exists() for file in needed):
        patterns = ("config.json", _INDEX, *needed)
        folder = find_encoder_folder(source, embedded_as="llava", patterns=patterns).path
    with ExitStack() as stack:
        readers = {}
        for file in needed:
            with _reading(folder / file):
                readers[file] = stack.enter_context(safe_open(folder / file, framework="pt"))

        def read(name: str) -> Tensor:
            with _reading(folder / file_of[name]):
                tensor: Tensor = readers[file_of[name]].get_tensor(name).float()
            return tensor

        yield ((name, _assemble(name, weight, read)) for name, weight in sources.items())


def _assemble(ours: str, source: WeightSource, read: Callable[[str], Tensor]) -> Tensor:
    tensor = torch.cat([read(name) for name in source.stacked])
    if source.first_row_of is not None:
        tensor = tensor + read(source.first_row_of)[0]
    return tensor[0] if ours == "query_tokens" else tensor  # theirs are (1, query, width)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        require_file(file)
        yield
    except (SafetensorError, OSError, MemoryError) as error:
        raise WeightsError(
            f"{file} cannot be read: {first_line(error)}", hint="copy the model again"
        ) from error

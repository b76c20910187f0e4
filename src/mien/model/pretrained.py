"""A Q-Former begun from somebody's weights: BERT's, BLIP-2's, InstructBLIP's, or none.

Goes in: a fusion with fresh weights, the name or path of a model. Comes out: the fusion with those of its
weights that the model has, and a report of the others; nothing stays random in silence.
Knows nothing about: how the weights are trained on, recipes, data.

Only the files that hold a Q-Former are fetched and only its tensors are read, which are a small part of an
InstructBLIP.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mien.errors import ConfigError, WeightsError
from mien.features.model_folders import find_folder, read_json
from mien.model.checkpoint_names import Source, read_names
from mien.model.fusion import Fusion
from mien.model.qformer import QFormer

__all__ = ["RANDOM", "LoadReport", "load_initial", "load_qformer"]

log = logging.getLogger(__name__)

RANDOM: Final = "random"
_INDEX: Final = "model.safetensors.index.json"
_KNOWN: Final = ("bert", "blip-2", "blip_2", "instructblip")  # how a config's model_type may begin
# Tables whose rows may be more or fewer than ours: the first ones mean the same.
_ROWS: Final = ("queries", "positions.weight", "words.weight")
_USUAL_HEADS: Final = 12  # a config leaves out what is as usual
_SPECIAL_TOKENS: Final = 64  # vocabularies that differ by more are not the same vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What came out of a checkpoint, by the names of our weights.

    `missing` and `mismatched` (with both shapes) stay random; of `partial` the first rows were loaded.
    `unexpected`, by the checkpoint's names, has no place here; `layers_cut` layers were more than ours.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    partial: tuple[str, ...]
    unexpected: tuple[str, ...]
    layers_cut: int

    def lines(self) -> list[str]:
        """The report in words, a line for each kind of difference."""
        lines = [f"{len(self.loaded)} weights of the Q-Former start from {self.source}"]
        for kind, names in (
            ("not in it, so random", self.missing),
            ("of another shape, so random", self.mismatched),
            ("loaded in part", self.partial),
            ("in it, and not used", self.unexpected),
        ):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"{len(names)} {kind}: {', '.join(names[:3])}{more}")
        if self.layers_cut:
            lines.append(f"its last {self.layers_cut} layers are left out: the model has fewer")
        return lines


def load_initial(fusion: Fusion, init: str) -> tuple[LoadReport, ...]:
    """Begins every Q-Former of a fusion from the weights of `init`, and logs what did not fit.

    "random" leaves all as it is. Raises ConfigError if the fusion has no Q-Former, WeightsError if the
    weights are not here or none of them fits.
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
    """Copies into a Q-Former what the checkpoint has of it; WeightsError if that is nothing."""
    source = str(name_or_path)
    folder = find_folder(source, embedded_as="llava", patterns=("config.json", _INDEX))
    _refuse_others(folder, heads=qformer.config.heads)
    where = _where(folder, source)
    ours = dict(qformer.named_parameters())
    names = read_names(ours, where)
    if names is None:
        raise WeightsError(f"{source} holds neither a Q-Former nor a BERT", hint=_HINT)
    loaded, mismatched, partial = [], [], []
    with _open(folder, source, names.sources, where) as tensors:
        for name, tensor in tensors:
            shape, wanted = tuple(tensor.shape), tuple(ours[name].shape)
            rows = _common_rows(name, shape, wanted)
            if rows is None:
                mismatched.append(f"{name} {shape} there, {wanted} here")
                continue
            with torch.no_grad():
                ours[name][:rows].copy_(tensor[:rows])
            loaded.append(name)
            if rows < wanted[0]:
                partial.append(f"{name} {rows} of {wanted[0]} rows")
    if not loaded:
        raise WeightsError(
            f"no weight of {source} fits the model; {mismatched[0] if mismatched else 'the names differ'}",
            hint="set model.width, model.heads and model.options.feedforward as the checkpoint has them",
        )
    return LoadReport(
        source=source,
        loaded=tuple(loaded),
        missing=tuple(name for name in ours if name not in names.sources and ours[name].numel()),
        mismatched=tuple(mismatched),
        partial=tuple(partial),
        unexpected=names.unexpected,
        layers_cut=max(0, names.layers - qformer.config.layers),
    )


_HINT: Final = "name a BERT, BLIP-2 or InstructBLIP model with safetensors, or its folder"


def _refuse_others(folder: Path, *, heads: int) -> None:
    """What no shape tells: a model that only looks like a BERT, such as a RoBERTa, whose positions begin
    elsewhere; and weights that were learned for another number of heads."""
    if not (folder / "config.json").exists():
        return
    config = read_json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    if kind and not kind.startswith(_KNOWN):
        raise WeightsError(f"{folder} holds a {kind!r}, from which no Q-Former can begin", hint=_HINT)
    theirs = config.get("qformer_config", config).get("num_attention_heads", _USUAL_HEADS)
    if theirs != heads:
        raise WeightsError(
            f"{folder} has {theirs} attention heads, and the model {heads}",
            hint=f"set model.heads to {theirs}; the same weights mean something else with other heads",
        )


def _common_rows(name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> int | None:
    """How many rows fit, None if the shapes do not. Queries and positions in excess are cut."""
    if theirs == ours:
        return ours[0]
    if name not in _ROWS or theirs[1:] != ours[1:]:
        return None
    if name == "words.weight" and abs(theirs[0] - ours[0]) > _SPECIAL_TOKENS:
        return None
    return min(theirs[0], ours[0])


# --- Files -------------------------------------------------------------------------------------------


def _where(folder: Path, source: str) -> dict[str, str]:
    """The file of each tensor: from the index of a model in several files, else from the files."""
    if (folder / _INDEX).exists():
        table: Any = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(table, dict):
            raise WeightsError(f"{folder / _INDEX} has no weight_map", hint="copy the model again")
        return {str(name): Path(str(file)).name for name, file in table.items()}
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        folder = find_folder(source, embedded_as="llava", patterns=("config.json", "*.safetensors"))
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(
            f"{source} has no safetensors",
            hint="convert the weights; pickled ones (.bin, .pt) are not loaded",
        )
    where: dict[str, str] = {}
    for file in files:
        with _readable(file), safe_open(file, framework="pt") as opened:
            where |= dict.fromkeys(opened.keys(), file.name)
    return where


@contextmanager
def _open(
    folder: Path, source: str, sources: Mapping[str, Source], where: Mapping[str, str]
) -> Iterator[Iterator[tuple[str, Tensor]]]:
    """Our names with the numbers for them, one at a time; of the files only those that hold them."""
    needed = sorted({where[name] for wanted in sources.values() for name in wanted.names})
    if any(not (folder / file).exists() for file in needed):
        folder = find_folder(source, embedded_as="llava", patterns=("config.json", _INDEX, *needed))
    with ExitStack() as opened:
        readers = {}
        for file in needed:
            with _readable(folder / file):
                readers[file] = opened.enter_context(safe_open(folder / file, framework="pt"))

        def read(name: str) -> Tensor:
            with _readable(folder / where[name]):
                tensor: Tensor = readers[where[name]].get_tensor(name).float()
            return tensor

        yield ((name, _assembled(name, wanted, read)) for name, wanted in sources.items())


def _assembled(ours: str, source: Source, read: Any) -> Tensor:
    tensor = torch.cat([read(name) for name in source.stacked])
    if source.first_row_of is not None:
        tensor = tensor + read(source.first_row_of)[0]
    return tensor[0] if ours == "queries" else tensor  # theirs are (1, query, width)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{file} cannot be read: {reason}", hint="copy the model again") from error

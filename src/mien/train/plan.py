"""What a training would do, before it does it: what learns, how large and how long it will be.

Goes in: a recipe, the sizes of its inputs, what is there already. Comes out: a `Plan`.
Knows nothing about: data sets, files, printing. Nothing is written and nothing learned.

Memory of activations and seconds are measured on a few made-up samples and scaled to the batch: a guide, not
a promise. Time is for all epochs; a training that stops early takes less, looking at val takes some more.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mien.features.device import open_device
from mien.features.trainable_encoder import TrainableEncoder
from mien.model.build import InputSpec, build_classifier
from mien.model.classifier import Classifier
from mien.model.fusion import fusion_class
from mien.recipe import Recipe
from mien.train.losses import build_loss
from mien.train.optimizer import make_optimizer
from mien.train.parameter_groups import freeze, part_of
from mien.train.precision import Precision
from mien.train.speed import speed_up

__all__ = ["Plan", "Stock", "plan"]

_PROBE_ROWS: Final = 4
_PROBE_STEPS: Final = 2  # that count, after one that does not
_BYTES: Final = 4  # of a float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is there of a split: features and descriptions, of how many. None: they are not used."""

    split: str
    samples: int
    features: int | None = None
    features_wanted: int | None = None
    descriptions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A training that has not begun. Memory in bytes, by what it is for; parameters by part."""

    recipe: str
    digest: str
    fusion: str
    device: str
    precision: str
    parameters: Mapping[str, int]
    trained: Mapping[str, int]
    image_tokens: int
    text_tokens: int
    memory: Mapping[str, int]
    batch: int
    epochs: int
    steps_per_epoch: int
    seconds_per_step: float
    stock: tuple[Stock, ...]
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.steps_per_epoch

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.steps * self.seconds_per_step

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        sums = {
            "num_parameters": sum(self.parameters.values()),
            "num_trained": sum(self.trained.values()),
            "memory_total": sum(self.memory.values()),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        table = asdict(self)
        return {**table, "stock": list(table["stock"]), "notes": list(table["notes"]), **sums}


def plan(
    recipe: Recipe,
    sizes: InputSpec,
    *,
    num_samples: int,
    image_tokens: int = 0,
    text_tokens: int = 0,
    stock: Sequence[Stock] = (),
    notes: Sequence[str] = (),
) -> Plan:
    """The plan of a training on `num_samples` samples with so many image tokens and, at most, text tokens."""
    options = recipe.train
    device = open_device(recipe.run.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        classifier = build_classifier(recipe, sizes).to(device)
        freeze(classifier, options)
        classifier.train()
        probe = _probe(recipe, classifier, sizes, (image_tokens, text_tokens), device)
    parameters: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, weight in classifier.named_parameters():
        parameters[part_of(name)] += weight.numel()
        if weight.requires_grad:
            trained[part_of(name)] += weight.numel()
    batch = options.batch_size * options.accumulate
    return Plan(
        recipe=recipe.name,
        digest=recipe.digest(),
        fusion=recipe.model.fusion,
        device=recipe.run.device,
        precision=options.precision,
        parameters=dict(parameters),
        trained=dict(trained),
        image_tokens=image_tokens,
        text_tokens=text_tokens,
        memory=_memory(recipe, classifier, probe),
        batch=batch,
        epochs=options.epochs,
        steps_per_epoch=math.ceil(num_samples / batch),
        seconds_per_step=probe.seconds_per_sample * min(batch, num_samples) + probe.seconds_per_update,
        stock=tuple(stock),
        notes=tuple(notes),
    )


def _memory(recipe: Recipe, classifier: Classifier, probe: "_Probe") -> dict[str, int]:
    trained = sum(weight.numel() for weight in classifier.parameters() if weight.requires_grad)
    found = {
        "weights": _BYTES * sum(weight.numel() for weight in classifier.parameters()),
        "gradients": _BYTES * trained,
        "optimizer": 2 * _BYTES * trained,
        "best_weights": _BYTES * sum(weight.numel() for weight in classifier.state_dict().values()),
        "activations": probe.bytes_per_sample * recipe.train.batch_size,
    }
    if recipe.train.ema is not None:
        found["average"] = _BYTES * trained
    return found


# --- A few steps on made-up samples ---


@dataclass(frozen=True, slots=True)
class _Probe:
    seconds_per_sample: float
    seconds_per_update: float
    bytes_per_sample: int


def _probe(
    recipe: Recipe, classifier: Classifier, sizes: InputSpec, tokens: tuple[int, int], device: torch.device
) -> _Probe:
    """Measures; the classifier's weights are not what they were afterwards."""
    rows = min(_PROBE_ROWS, recipe.train.batch_size)
    inputs = _made_up(recipe, classifier, sizes, (rows, *tokens), device)
    targets = torch.eye(len(sizes.label_set), device=device)[torch.arange(rows) % len(sizes.label_set)]
    dimensions = torch.full((rows, 3), 0.5, device=device)
    loss, optimizer = build_loss(recipe.train, sizes.label_set), make_optimizer(classifier, recipe.train)
    precision = Precision(recipe.train.precision, device)
    # Compiling takes longer than what is measured here.
    forward = speed_up(classifier, recipe.run.model_copy(update={"compile": False}))
    saved = _Saved(classifier)
    learning, updating = [], []
    for step in range(_PROBE_STEPS + 1):
        optimizer.zero_grad(set_to_none=True)
        begun = _now(device)
        with saved.counting() if step == 0 else nullcontext(), precision.forward():
            output = forward(*inputs)
        precision.backward(loss(output, targets, dimensions))
        learned = _now(device)
        precision.step(optimizer, lambda: None, step=step)
        learning.append(learned - begun)
        updating.append(_now(device) - learned)
    return _Probe(min(learning[1:]) / rows, min(updating[1:]), saved.num_bytes // rows)


def _made_up(
    recipe: Recipe,
    classifier: Classifier,
    sizes: InputSpec,
    shape: tuple[int, int, int],
    device: torch.device,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Image, token ids and mask, where `shape` is (rows, image tokens, text tokens)."""
    used, (rows, image_tokens, text_tokens) = fusion_class(recipe.model.fusion), shape
    image = ids = mask = None
    if isinstance(classifier.encoder, TrainableEncoder):
        pictures, side = image_tokens // classifier.encoder.num_tokens, classifier.encoder.size
        image = torch.zeros(rows, pictures, side, side, 3, dtype=torch.uint8, device=device)
    elif used.uses_image and sizes.image_dim is not None:
        image = torch.randn(rows, image_tokens, sizes.image_dim, device=device)
    if used.uses_text and sizes.vocab_size is not None:
        ids = torch.randint(sizes.vocab_size, (rows, text_tokens), device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
    return image, ids, mask


class _Saved:
    """Counts the bytes that a forward pass keeps for the backward pass, each storage once."""

    def __init__(self, classifier: Classifier) -> None:
        self._seen = {weight.untyped_storage().data_ptr() for weight in classifier.parameters()}
        self._alive: list[Tensor] = []  # or another tensor could take the place of one that was counted
        self.num_bytes = 0

    def counting(self) -> AbstractContextManager[None]:
        """Counts what is kept within the block."""
        return torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._alive.append(tensor)
            self.num_bytes += storage.nbytes()
        return tensor


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

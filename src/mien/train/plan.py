"""A dry run of a training: which parameters learn, how much memory and time it takes, what inputs exist.

Nothing is written and nothing is learned. The memory of activations and the time per step are measured on a
few synthetic samples and scaled to the batch: an estimate. The time covers all epochs without validation;
early stopping shortens it.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict

import torch
from torch import Tensor

from mien.features.device import open_device
from mien.features.trainable_encoder import TrainableEncoder
from mien.model.build import InputSpec, build_classifier
from mien.model.classifier import Classifier
from mien.model.fusion import fusion_class
from mien.recipe import Recipe
from mien.train.losses import build_loss
from mien.train.optimizer import build_optimizer
from mien.train.parameter_groups import freeze_parameters, part_of
from mien.train.precision import MixedPrecision, prepare_forward

__all__ = ["Plan", "PlanInputs", "PlanTotals", "SplitInputs", "plan"]

_PROBE_ROWS: Final = 4
_PROBE_STEPS: Final = 2  # that are timed, after one warmup step
_FLOAT32_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInputs:
    """How many features and descriptions of a split exist; None for inputs that the fusion does not use.

    Attributes:
        split: The split.
        samples: How many samples it has.
        features: How many features exist.
        features_wanted: How many features are needed.
        descriptions: How many samples have a description.
    """

    split: str
    samples: int
    features: int | None = None
    features_wanted: int | None = None
    descriptions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """What a training reads: shapes, the number of training samples, tokens per subject, existing inputs.

    `text_tokens` is the length of the longest description; `notes` are sentences for the user.
    """

    spec: InputSpec
    num_samples: int
    image_tokens: int = 0
    text_tokens: int = 0
    splits: tuple[SplitInputs, ...] = ()
    notes: tuple[str, ...] = ()


class PlanTotals(TypedDict):
    """Sums of a plan.

    Attributes:
        num_parameters: How many parameters the model has.
        num_trained: How many parameters learn.
        memory_total: The memory in all, in bytes.
        steps: How many steps the optimizer takes in all epochs.
        seconds: How many seconds all steps take.
    """

    num_parameters: int
    num_trained: int
    memory_total: int
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A training that has not started.

    Attributes:
        recipe: The name of the recipe.
        digest: Digest of the recipe.
        fusion: The class that fuses words and image.
        device: The device that trains, such as "cpu".
        precision: The floating-point types of the training.
        parameters: How many parameters there are, by part of the model.
        trained: How many parameters learn, by part of the model.
        image_tokens: How many tokens an image has.
        text_tokens: How many tokens the longest description has.
        memory: The memory in bytes, by what takes it.
        batch: How many samples a step of the optimizer has.
        epochs: The highest number of epochs.
        steps_per_epoch: How many steps an epoch has.
        seconds_per_step: How many seconds a step takes.
        inputs: Which features and descriptions exist, by split.
        notes: What else you should know, in sentences.
    """

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
    inputs: tuple[SplitInputs, ...]
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """The number of steps in all epochs."""
        return self.epochs * self.steps_per_epoch

    @property
    def seconds(self) -> float:
        """The time for all steps."""
        return self.steps * self.seconds_per_step

    def to_json(self) -> dict[str, Any]:
        """The plan and its totals as plain JSON values."""
        totals: PlanTotals = {
            "num_parameters": sum(self.parameters.values()),
            "num_trained": sum(self.trained.values()),
            "memory_total": sum(self.memory.values()),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        table = asdict(self)
        return {**table, "inputs": list(table["inputs"]), "notes": list(table["notes"]), **totals}


def plan(recipe: Recipe, inputs: PlanInputs) -> Plan:
    """Plan the training of a recipe on these inputs; the caller's random state is restored."""
    options, spec = recipe.train, inputs.spec
    device = open_device(recipe.run.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        classifier = build_classifier(recipe, spec).to(device)
        freeze_parameters(classifier, options)
        classifier.train()
        probe = _probe(recipe, classifier, inputs, device)
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
        image_tokens=inputs.image_tokens,
        text_tokens=inputs.text_tokens,
        memory=_memory(recipe, classifier, probe),
        batch=batch,
        epochs=options.epochs,
        steps_per_epoch=math.ceil(inputs.num_samples / batch),
        seconds_per_step=probe.seconds_per_sample * min(batch, inputs.num_samples) + probe.seconds_per_update,
        inputs=inputs.splits,
        notes=inputs.notes,
    )


def _memory(recipe: Recipe, classifier: Classifier, probe: "_Probe") -> dict[str, int]:
    trained = sum(weight.numel() for weight in classifier.parameters() if weight.requires_grad)
    memory = {
        "weights": _FLOAT32_BYTES * sum(weight.numel() for weight in classifier.parameters()),
        "gradients": _FLOAT32_BYTES * trained,
        "optimizer": 2 * _FLOAT32_BYTES * trained,
        "best_weights": _FLOAT32_BYTES * sum(weight.numel() for weight in classifier.state_dict().values()),
        "activations": probe.bytes_per_sample * recipe.train.batch_size,
    }
    if recipe.train.ema is not None:
        memory["average"] = _FLOAT32_BYTES * trained
    return memory


# --- A few steps on synthetic samples ---


@dataclass(frozen=True, slots=True)
class _Probe:
    seconds_per_sample: float
    seconds_per_update: float
    bytes_per_sample: int


def _probe(recipe: Recipe, classifier: Classifier, inputs: PlanInputs, device: torch.device) -> _Probe:
    """Measure a few training steps; they change the classifier's weights."""
    label_set = inputs.spec.label_set
    rows = min(_PROBE_ROWS, recipe.train.batch_size)
    synthetic = _synthetic_inputs(recipe, classifier, inputs, rows, device)
    targets = torch.eye(len(label_set), device=device)[torch.arange(rows) % len(label_set)]
    dimensions = torch.full((rows, 3), 0.5, device=device)
    loss, optimizer = build_loss(recipe.train, label_set), build_optimizer(classifier, recipe.train)
    precision = MixedPrecision(recipe.train.precision, device)
    # Compiling takes longer than what is measured here.
    forward = prepare_forward(classifier, recipe.run.model_copy(update={"compile": False}))
    activations = _ActivationMemory(classifier)
    pass_seconds, update_seconds = [], []
    for step in range(_PROBE_STEPS + 1):
        optimizer.zero_grad(set_to_none=True)
        start = _now(device)
        with activations.counting() if step == 0 else nullcontext(), precision.autocast():
            output = forward(*synthetic)
        precision.backward(loss(output, targets, dimensions))
        end = _now(device)
        precision.step(optimizer, lambda: None, step=step)
        pass_seconds.append(end - start)
        update_seconds.append(_now(device) - end)
    return _Probe(min(pass_seconds[1:]) / rows, min(update_seconds[1:]), activations.num_bytes // rows)


def _synthetic_inputs(
    recipe: Recipe, classifier: Classifier, inputs: PlanInputs, rows: int, device: torch.device
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Image, token ids and attention mask of the planned shapes; None for what the fusion does not use."""
    fusion, spec = fusion_class(recipe.model.fusion), inputs.spec
    image = ids = mask = None
    if isinstance(classifier.encoder, TrainableEncoder):
        num_images, side = inputs.image_tokens // classifier.encoder.num_tokens, classifier.encoder.size
        image = torch.zeros(rows, num_images, side, side, 3, dtype=torch.uint8, device=device)
    elif fusion.uses_image and spec.image_dim is not None:
        image = torch.randn(rows, inputs.image_tokens, spec.image_dim, device=device)
    if fusion.uses_text and spec.vocab_size is not None:
        ids = torch.randint(spec.vocab_size, (rows, inputs.text_tokens), device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
    return image, ids, mask


class _ActivationMemory:
    """Counts the bytes that a forward pass saves for the backward pass, each storage once."""

    def __init__(self, classifier: Classifier) -> None:
        self._counted = {weight.untyped_storage().data_ptr() for weight in classifier.parameters()}
        self._alive: list[Tensor] = []  # otherwise another tensor could reuse a counted address
        self.num_bytes = 0

    def counting(self) -> AbstractContextManager[None]:
        """Count what is saved within the block."""
        return torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._counted:
            self._counted.add(storage.data_ptr())
            self._alive.append(tensor)
            self.num_bytes += storage.nbytes()
        return tensor


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

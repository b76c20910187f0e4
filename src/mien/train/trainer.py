"""A classifier in training: one step, one validation, and the state that resuming needs.

The order of samples, dropout and dropped descriptions of a step depend on the seed and the step number
alone. The state is therefore the weights, their average, the optimizer, the best weights so far and a few
numbers.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mien.batches.batch import Batch, SplitData
from mien.errors import DataError
from mien.evaluate.metrics.metric_inputs import metric_value
from mien.evaluate.scorer import score_split
from mien.model.build import build_classifier
from mien.model.checkpoint import TrainedModel, TrainResult, read_tensors, write_tensors
from mien.model.classifier import Classifier
from mien.prefetch import prefetch, thread_pool
from mien.recipe import Recipe
from mien.train.distributed import SINGLE_PROCESS, World
from mien.train.divergence import LossMonitor
from mien.train.losses import BatchFraction, LabelCounts, build_loss
from mien.train.optimizer import (
    WeightAverage,
    build_optimizer,
    clip_gradients,
    learning_rate,
    seed_step,
    set_learning_rate,
)
from mien.train.parameter_groups import freeze_parameters
from mien.train.precision import MixedPrecision, prepare_forward
from mien.train.sampling import draw_variants, dropped_descriptions, epoch_batches
from mien.train.selection import selection_metric

__all__ = ["MicroBatch", "TrainState", "Trainer", "different_data"]


@dataclass(slots=True)
class TrainState:
    """The progress of a training, without tensors. Epochs count from 1; 0 means none."""

    step: int = 0
    loss_sum: float = 0.0  # over the steps of the current epoch
    best_score: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """This process's samples of one forward pass, and the fraction of the step's batch that they are."""

    batch: Batch
    fraction: BatchFraction


class Trainer:
    """The weights, optimizer and state of one training, on one device of this process."""

    def __init__(
        self,
        recipe: Recipe,
        data: SplitData,
        val: SplitData,
        device: torch.device,
        world: World = SINGLE_PROCESS,
    ) -> None:
        self.recipe, self.options, self.world = recipe, recipe.train, world
        self.data, self.val, self.device = data, val, device
        _require_same_num_frames(data, val)
        torch.manual_seed(self.options.seed)
        self.classifier = build_classifier(recipe, data.spec)
        _initialize_heads(self.classifier, data)
        freeze_parameters(self.classifier.to(device), self.options)
        self.classifier.train()
        self.optimizer = build_optimizer(self.classifier, self.options)
        self.average = None if self.options.ema is None else WeightAverage(self.classifier, self.options.ema)
        self.loss = build_loss(self.options, data.label_set, LabelCounts.of(data.targets, device))
        self.metric = selection_metric(self.options, data.label_set)
        self.steps_per_epoch = -(-len(data) // (self.options.batch_size * self.options.accumulate))
        self.steps = self.options.epochs * self.steps_per_epoch
        self.state, self._loss_monitor = TrainState(), LossMonitor()
        self._best: dict[str, Tensor] = {}
        self._uses = {"image": self.classifier.fusion.uses_image, "text": self.classifier.fusion.uses_text}
        self._forward = prepare_forward(self.classifier, recipe.run)
        self._precision = MixedPrecision(self.options.precision, device)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return self.state.step // self.steps_per_epoch

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; after the end, of the last one."""
        return learning_rate(min(self.state.step, self.steps - 1), self.steps, self.options)

    def remaining_steps(self) -> Iterator[list[MicroBatch]]:
        """For each remaining step of the current epoch, this process's micro-batches."""
        lengths = self.data.lengths if self._uses["text"] else np.zeros(len(self.data), dtype=np.int64)
        order = epoch_batches(lengths, self.data.targets, self.options, epoch=self.epoch)
        first = self.epoch * self.steps_per_epoch
        left = [(first + index, rows) for index, rows in enumerate(order) if first + index >= self.state.step]
        workers = self.recipe.run.workers
        with thread_pool(workers) as pool:
            # One step is in use, and each worker prepares another.
            yield from prefetch(self._micro_batches, left, pool=pool, window=workers + 1)

    def _micro_batches(self, step_and_rows: tuple[int, Int[np.ndarray, " batch"]]) -> list[MicroBatch]:
        """This process's rows of a step, in batches of `batch_size`; may run in any thread."""
        step, rows = step_and_rows
        options, size = self.options, self.options.batch_size
        dropped = dropped_descriptions(len(rows), options.description_dropout, seed=options.seed, step=step)
        variants = draw_variants(rows, self.data.num_variants, seed=options.seed, step=step)
        num_annotated = self._num_annotated(rows)
        micro_batches = []
        for start in range(0, len(rows), size):
            shard = self.world.shard(np.arange(start, min(start + size, len(rows))))
            if len(shard):
                batch = self.data.batch(
                    rows[shard],
                    **self._uses,
                    device=self.device,
                    drop_text=None if dropped is None else dropped[shard],
                    variants=None if variants is None else variants[shard],
                )
                fraction = BatchFraction(
                    samples=len(shard) / len(rows),
                    annotated=self._num_annotated(rows[shard]) / num_annotated if num_annotated else 1.0,
                )
                micro_batches.append(MicroBatch(batch, fraction))
        return micro_batches

    def _num_annotated(self, rows: Int[np.ndarray, " batch"]) -> int:
        """How many dimensions of these rows are annotated."""
        return int(self.data.dimensions[torch.from_numpy(rows)].isfinite().sum())

    def train_step(self, micro_batches: list[MicroBatch]) -> float:
        """Take one optimizer step on the micro-batches of a batch.

        Returns:
            The loss of the whole batch, over all processes, before the step.

        Raises:
            DivergedError: The loss exploded or is not finite. The weights are unchanged.
        """
        step = self.state.step
        seed_step(self.options.seed, step, self.world.rank)
        set_learning_rate(self.optimizer, self.learning_rate)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(micro_batch) for micro_batch in micro_batches]
        value = self.world.all_reduce_sum(float(sum(losses)), self.device)
        self._loss_monitor.check(value, factor=self.options.divergence, step=step)
        self.world.all_reduce_gradients(self.classifier)
        clip = partial(clip_gradients, self.classifier, self.options.clip, step=step)
        self._precision.step(self.optimizer, clip, step=step)
        if self.average is not None:
            self.average.update(step)
        self.state.step += 1
        self.state.loss_sum += value
        return value

    def _backward(self, micro_batch: MicroBatch) -> Tensor:
        """Accumulate the gradients of a micro-batch and return its loss."""
        batch = micro_batch.batch
        with self._precision.autocast():
            output = self._forward(batch.image, batch.text_ids, batch.text_mask)
        loss = self.loss(output, batch.targets, batch.dimensions, micro_batch.fraction)
        self._precision.backward(loss)
        return loss.detach()

    def validate(self) -> float:
        """Score the model on `val`, and keep a copy of the weights if the score is the best so far."""
        with self.average.applied() if self.average else nullcontext():
            score = self.world.broadcast(self._score() if self.world.is_main else 0.0, self.device)
            if self._is_better(score):
                self.state.best_score, self.state.best_epoch = score, self.epoch
                self._best = {name: weight.clone() for name, weight in self.classifier.state_dict().items()}
        return score

    def _is_better(self, score: float) -> bool:
        best = self.state.best_score
        return best is None or (score > best if self.metric.higher_is_better else score < best)

    def _score(self) -> float:
        score = metric_value(self.metric, score_split(self.classifier, self.val))
        if not np.isfinite(score):
            raise DataError(
                f"{self.metric.name} on split {self.val.split!r} is {score}",
                hint=f"check that split {self.val.split!r} has labels",
            )
        return score

    def finish(self, fingerprint: str, *, last: bool = False) -> TrainedModel:
        """End the training and return the best weights so far with the signatures of their inputs.

        Args:
            fingerprint: The digest of the data.
            last: Return the current weights, or their average, instead. The score is still the best one.
        """
        assert self.state.best_score is not None, "no epoch is finished"
        if not last:
            self.classifier.load_state_dict(self._best)
        elif self.average is not None:
            self.classifier.load_state_dict(self.average.state_dict(), strict=False)
        images = self.data.images if self._uses["image"] else None
        texts = self.data.texts if self._uses["text"] else None
        return TrainedModel(
            classifier=self.classifier.eval(),
            recipe=self.recipe,
            label_set=self.data.label_set,
            image_dim=None if images is None else images.reader.dim,
            vocab_size=None if texts is None else texts.vocab_size,
            num_frames=1 if images is None else images.num_frames,
            num_views=1 if images is None else images.num_views,
            vision_signature=None if images is None else images.signature,
            tokenizer_signature=None if texts is None else texts.signature,
            data=fingerprint,
            result=TrainResult(
                best_epoch=self.state.best_epoch,
                best_score=self.state.best_score,
                metric=self.metric.name,
                steps=self.state.step,
            ),
        )

    def save_state(self, file: Path, fingerprint: str) -> None:
        """Write everything that resuming needs; `fingerprint` is the digest of the data."""
        tensors = {f"model.{name}": weight for name, weight in self.classifier.state_dict().items()}
        tensors |= {f"best.{name}": weight for name, weight in self._best.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": mean for name, mean in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": moment for name, moment in moments.items()}
        metadata = {
            "state": asdict(self.state),
            "watch": asdict(self._loss_monitor),
            "precision": self._precision.state_dict(),
            "data": fingerprint,
        }
        write_tensors(file, tensors, metadata)

    def load_state(self, file: Path, fingerprint: str) -> None:
        """Continue from a file that `save_state` wrote.

        Raises:
            RunError: The file is damaged.
            DataError: It belongs to a training on other data.
        """
        tensors, metadata = read_tensors(file)
        if metadata["data"] != fingerprint:
            raise different_data(file)
        self.state, self._loss_monitor = TrainState(**metadata["state"]), LossMonitor(**metadata["watch"])
        self._precision.load_state_dict(metadata["precision"])
        self.classifier.load_state_dict(_with_prefix(tensors, "model"))
        self._best = {name: tensor.to(self.device) for name, tensor in _with_prefix(tensors, "best").items()}
        if self.average is not None:
            self.average.load_state_dict(_with_prefix(tensors, "average"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _with_prefix(tensors, "optimizer").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def different_data(file: Path) -> DataError:
    """The error for resuming a training on other data than it started with."""
    return DataError(
        f"{file} was made with other samples, descriptions or features",
        hint="choose another directory, or undo the change to the data",
    )


def _require_same_num_frames(data: SplitData, val: SplitData) -> None:
    """Raise DataError if clips of the two splits differ in length: a model reads one number of frames."""
    if data.images and val.images and data.num_frames != val.num_frames:
        raise DataError(
            f"split {data.split!r} has {data.num_frames} frames per subject, and {val.split!r} has "
            f"{val.num_frames}",
            hint="give all clips of a dataset the same number of frames, for example with num_frames",
        )


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _initialize_heads(classifier: Classifier, data: SplitData) -> None:
    """Initialize the biases of the heads so that the first predictions are the means of the training data."""
    means = torch.nanmean(data.dimensions, dim=0)
    classifier.initialize_biases(data.targets.mean(dim=0), means, exclusive=data.label_set.exclusive)

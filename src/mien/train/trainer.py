"""A classifier that learns: one step, one look at val, and all that must be kept to continue later.

Goes in: a recipe, a split to learn from, one to compare by. Comes out: changed weights, scores, files.
Knows nothing about: when to stop, who is told, run directories.

Order, dropout and missing words of a step follow from the seed and the number of the step alone. So the
weights, their mean, the optimiser, the best weights so far and a few numbers are all there is to keep.
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
from mien.batches.loader import made_ahead
from mien.errors import DataError
from mien.evaluate.metrics.metric_inputs import value_of
from mien.evaluate.scorer import score_split
from mien.model.build import build_classifier
from mien.model.checkpoint import Trained, TrainResult, read_tensors, write_tensors
from mien.model.classifier import Classifier
from mien.recipe import Recipe
from mien.train.average import WeightAverage
from mien.train.distributed import ALONE, World
from mien.train.divergence import LossWatch
from mien.train.losses import BatchFraction, LabelCounts, build_loss
from mien.train.optimizer import clip_gradients, learning_rate, make_optimizer, seed_step, set_rate
from mien.train.parameter_groups import freeze
from mien.train.precision import Precision
from mien.train.sampling import epoch_order, variants_of, wordless_rows
from mien.train.selection import selecting_metric
from mien.train.speed import speed_up

__all__ = ["Part", "TrainState", "Trainer"]


@dataclass(slots=True)
class TrainState:
    """How far a training has come: all of it that is not a tensor. Epochs count from 1, 0 is none."""

    step: int = 0
    loss_sum: float = 0.0  # of the steps of the epoch that is under way
    best_score: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one pass over the model sees of a step's rows, and how much of them that is."""

    batch: Batch
    fraction: BatchFraction


class Trainer:
    """Weights, optimiser and state of one training, on one device of this process."""

    def __init__(
        self, recipe: Recipe, data: SplitData, val: SplitData, device: torch.device, world: World = ALONE
    ) -> None:
        self.recipe, self.options, self.world = recipe, recipe.train, world
        self.data, self.val, self.device = data, val, device
        _require_alike(data, val)
        torch.manual_seed(self.options.seed)
        self.classifier = build_classifier(recipe, data.spec)
        _start_from_average(self.classifier, data)
        freeze(self.classifier.to(device), self.options)
        self.classifier.train()
        self.optimizer = make_optimizer(self.classifier, self.options)
        self.average = None if self.options.ema is None else WeightAverage(self.classifier, self.options.ema)
        self.loss = build_loss(self.options, data.label_set, LabelCounts.of(data.targets, device))
        self.metric = selecting_metric(self.options, data.label_set)
        self.steps_per_epoch = -(-len(data) // (self.options.batch_size * self.options.accumulate))
        self.steps = self.options.epochs * self.steps_per_epoch
        self.state, self._watch = TrainState(), LossWatch()
        self._best: dict[str, Tensor] = {}
        self._uses = {"image": self.classifier.fusion.uses_image, "text": self.classifier.fusion.uses_text}
        self._forward = speed_up(self.classifier, recipe.run)
        self._precision = Precision(self.options.precision, device)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.state.step // self.steps_per_epoch

    @property
    def rate(self) -> float:
        """The learning rate of the step to come, or of the last one."""
        return learning_rate(min(self.state.step, self.steps - 1), self.steps, self.options)

    def rest_of_epoch(self) -> Iterator[list[Part]]:
        """What remains of the epoch that is under way, for each step the parts that we see of its rows."""
        lengths = self.data.lengths if self._uses["text"] else np.zeros(len(self.data), dtype=np.int64)
        order = epoch_order(lengths, self.data.targets, self.options, epoch=self.epoch)
        begun = self.epoch * self.steps_per_epoch
        left = [(begun + index, rows) for index, rows in enumerate(order) if begun + index >= self.state.step]
        return made_ahead(self._parts, left, workers=self.recipe.run.workers)

    def _parts(self, step_and_rows: tuple[int, Int[np.ndarray, " batch"]]) -> list[Part]:
        """Our rows of a step in batches of `batch_size`; the same whichever thread makes them."""
        step, rows = step_and_rows
        options, size = self.options, self.options.batch_size
        wordless = wordless_rows(len(rows), options.description_dropout, seed=options.seed, step=step)
        variants = variants_of(rows, self.data.num_variants, seed=options.seed, step=step)
        annotated = int(self.data.dimensions[torch.from_numpy(rows)].isfinite().sum())
        parts = []
        for start in range(0, len(rows), size):
            ours = self.world.part(np.arange(start, min(start + size, len(rows))))
            if len(ours):
                dropped = None if wordless is None else wordless[ours]
                batch = self.data.batch(
                    rows[ours],
                    **self._uses,
                    device=self.device,
                    wordless=dropped,
                    variants=None if variants is None else variants[ours],
                )
                own = int(self.data.dimensions[torch.from_numpy(rows[ours])].isfinite().sum())
                fraction = BatchFraction(
                    samples=len(ours) / len(rows), annotated=own / annotated if annotated else 1.0
                )
                parts.append(Part(batch, fraction))
        return parts

    def take_step(self, parts: list[Part]) -> float:
        """One step on these parts of a batch; the loss before it.

        Raises DivergedError, with the weights as they were, if the loss explodes or is not finite.
        """
        step = self.state.step
        seed_step(self.options.seed, step, self.world.rank)
        set_rate(self.optimizer, self.rate)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._learn_from(part) for part in parts]
        value = self.world.total(float(sum(losses)), self.device)
        self._watch.check(value, factor=self.options.divergence, step=step)
        self.world.add_gradients(self.classifier)
        clip = partial(clip_gradients, self.classifier, self.options.clip, step=step)
        self._precision.step(self.optimizer, clip, step=step)
        if self.average is not None:
            self.average.update(step)
        self.state.step += 1
        self.state.loss_sum += value
        return value

    def _learn_from(self, part: Part) -> Tensor:
        """Adds to the gradients; the loss."""
        batch = part.batch
        with self._precision.forward():
            output = self._forward(batch.image, batch.text_ids, batch.text_mask)
        loss = self.loss(output, batch.targets, batch.dimensions, part.fraction)
        self._precision.backward(loss)
        return loss.detach()

    def validate(self) -> float:
        """The score on val; the weights are remembered if it is the best so far."""
        with self.average.in_place() if self.average else nullcontext():
            score = self.world.agree(self._score() if self.world.is_first else 0.0, self.device)
            if self._is_better(score):
                self.state.best_score, self.state.best_epoch = score, self.epoch
                self._best = {name: weight.clone() for name, weight in self.classifier.state_dict().items()}
        return score

    def _is_better(self, score: float) -> bool:
        best = self.state.best_score
        return best is None or (score > best if self.metric.higher_is_better else score < best)

    def _score(self) -> float:
        found = score_split(self.classifier, self.val)
        score = value_of(self.metric, found)
        if not np.isfinite(score):
            raise DataError(
                f"{self.metric.name} on split {self.val.split!r} is {score}", hint="see that val has labels"
            )
        return score

    def trained(self, fingerprint: str, *, last: bool = False) -> Trained:
        """The best weights so far, and what their inputs must be made with; ends the training.

        `last`: the weights as they are now, or their mean, with the score of the best.
        """
        assert self.state.best_score is not None, "no epoch is finished"
        if not last:
            self.classifier.load_state_dict(self._best)
        elif self.average is not None:
            self.classifier.load_state_dict(self.average.state(), strict=False)
        images = self.data.images if self._uses["image"] else None
        texts = self.data.texts if self._uses["text"] else None
        return Trained(
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

    def keep(self, file: Path, fingerprint: str) -> None:
        """Writes all that is needed to continue; `fingerprint` names the data."""
        tensors = {f"model.{name}": weight for name, weight in self.classifier.state_dict().items()}
        tensors |= {f"best.{name}": weight for name, weight in self._best.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": mean for name, mean in self.average.state().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": moment for name, moment in moments.items()}
        about = {
            "state": asdict(self.state),
            "watch": asdict(self._watch),
            "precision": self._precision.state(),
            "data": fingerprint,
        }
        write_tensors(file, tensors, about)

    def restore(self, file: Path, fingerprint: str) -> None:
        """Continues from what `keep` wrote; RunError if that is damaged, DataError if of other data."""
        tensors, about = read_tensors(file)
        if about["data"] != fingerprint:
            raise other_data(file)
        self.state, self._watch = TrainState(**about["state"]), LossWatch(**about["watch"])
        self._precision.restore(about["precision"])
        self.classifier.load_state_dict(_part(tensors, "model"))
        self._best = {name: tensor.to(self.device) for name, tensor in _part(tensors, "best").items()}
        if self.average is not None:
            self.average.restore(_part(tensors, "average"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def other_data(file: Path) -> DataError:
    """The error for a training that was begun on other data."""
    return DataError(
        f"{file} was made with other samples, descriptions or features",
        hint="name another directory, or undo the change to the data",
    )


def _require_alike(data: SplitData, val: SplitData) -> None:
    """DataError if clips of the two splits have different numbers of frames: a model is built for one."""
    if data.images and val.images and data.num_frames != val.num_frames:
        raise DataError(
            f"split {data.split!r} has {data.num_frames} frames of a subject, and {val.split!r} "
            f"{val.num_frames}",
            hint="give all clips of a data set the same number of frames, such as by its option num_frames",
        )


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _start_from_average(classifier: Classifier, data: SplitData) -> None:
    """The first guess of the heads becomes the average answer of the data."""
    means = torch.nanmean(data.dimensions, dim=0)
    classifier.start_from(data.targets.mean(dim=0), means, exclusive=data.label_set.exclusive)

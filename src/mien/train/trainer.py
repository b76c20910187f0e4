"""A classifier that learns: one step, one look at val, and all that must be kept to continue later.

Goes in: a recipe, a split to learn from, one to compare by. Comes out: changed weights, scores, files.
Knows nothing about: when to stop, who is told, run directories.

Order and dropout of a step follow from the seed and the number of the step alone. So the weights, the
optimiser, the best weights so far and four numbers are all there is to keep.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mien.errors import DataError
from mien.evaluate.metrics import primary_metric
from mien.evaluate.scorer import score_split
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion, fusion_class
from mien.recipe import Recipe
from mien.train.batch import SplitData, shuffled_batches
from mien.train.checkpoint import Trained, TrainResult, read_tensors, write_tensors
from mien.train.losses import make_loss
from mien.train.optimise import clip_gradients, learning_rate, make_optimizer, seed_step

__all__ = ["TrainState", "Trainer"]


@dataclass(slots=True)
class TrainState:
    """How far a training has come: all of it that is not a tensor. Epochs count from 1, 0 is none."""

    step: int = 0
    loss_sum: float = 0.0  # of the steps of the epoch that is under way
    best_score: float | None = None
    best_epoch: int = 0


class Trainer:
    """Weights, optimiser and state of one training, on one device."""

    def __init__(self, recipe: Recipe, data: SplitData, val: SplitData, device: torch.device) -> None:
        self.recipe, self.options = recipe, recipe.train
        self.data, self.val, self.device = data, val, device
        torch.manual_seed(self.options.seed)
        self.classifier = _fresh_classifier(recipe, data).to(device).train()
        self.optimizer = make_optimizer(self.classifier, self.options)
        self.loss = make_loss(self.options, data.label_set)
        self.metric = primary_metric(data.label_set)
        self.steps_per_epoch = -(-len(data) // self.options.batch_size)
        self.steps = self.options.epochs * self.steps_per_epoch
        self.state = TrainState()
        self._best: dict[str, Tensor] = {}
        self._uses = {"image": self.classifier.fusion.uses_image, "text": self.classifier.fusion.uses_text}

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.state.step // self.steps_per_epoch

    def batches(self) -> list[Int[np.ndarray, " batch"]]:
        """What remains of the epoch that is under way, one array of rows for each step."""
        whole = shuffled_batches(
            self.data.lengths if self._uses["text"] else np.zeros(len(self.data), dtype=np.int64),
            self.options.batch_size,
            seed=self.options.seed,
            epoch=self.epoch,
        )
        return whole[self.state.step % self.steps_per_epoch :]

    def take_step(self, rows: Int[np.ndarray, " batch"]) -> float:
        """One step on these rows; the loss before it."""
        seed_step(self.options.seed, self.state.step)
        self._set_rate(learning_rate(self.state.step, self.steps, self.options))
        batch = self.data.batch(rows, **self._uses, device=self.device)
        output = self.classifier(batch.image, batch.text_ids, batch.text_mask)
        loss = self.loss(output, batch.targets, batch.dimensions)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        clip_gradients(self.classifier, self.options.clip, step=self.state.step)
        self.optimizer.step()
        value = float(loss.detach())
        self.state.step += 1
        self.state.loss_sum += value
        return value

    def validate(self) -> float:
        """The score on val; the weights are remembered if it is the best so far."""
        found = score_split(self.classifier, self.val)
        score = self.metric.function(found.scores, found.targets)
        if not np.isfinite(score):
            raise DataError(
                f"{self.metric.name} on split {self.val.split!r} is {score}", hint="see that val has labels"
            )
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, self.epoch
            self._best = {name: weight.clone() for name, weight in self.classifier.state_dict().items()}
        return score

    def trained(self, fingerprint: str) -> Trained:
        """The best weights so far, and what their inputs must be made with; ends the training."""
        assert self.state.best_score is not None, "no epoch is finished"
        self.classifier.load_state_dict(self._best)
        images = self.data.images if self._uses["image"] else None
        texts = self.data.texts if self._uses["text"] else None
        return Trained(
            classifier=self.classifier.eval(),
            recipe=self.recipe,
            label_set=self.data.label_set,
            image_dim=None if images is None else images.reader.dim,
            vocab_size=None if texts is None else texts.vocab_size,
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
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": moment for name, moment in moments.items()}
        write_tensors(file, tensors, {"state": asdict(self.state), "data": fingerprint})

    def restore(self, file: Path, fingerprint: str) -> None:
        """Continues from what `keep` wrote; RunError if that is damaged, DataError if of other data."""
        tensors, about = read_tensors(file)
        if about["data"] != fingerprint:
            raise other_data(file)
        self.state = TrainState(**about["state"])
        self.classifier.load_state_dict(_part(tensors, "model"))
        self._best = {name: tensor.to(self.device) for name, tensor in _part(tensors, "best").items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def other_data(file: Path) -> DataError:
    """The error for a training that was begun on other data."""
    return DataError(
        f"{file} was made with other samples, descriptions or features",
        hint="name another directory, or undo the change to the data",
    )


def _fresh_classifier(recipe: Recipe, data: SplitData) -> Classifier:
    """Random weights; the first guess of the heads is the average answer of the data."""
    used = fusion_class(recipe.model.fusion)
    fusion = build_fusion(
        recipe.model,
        image_dim=data.image_dim if used.uses_image else None,
        vocab_size=data.vocab_size if used.uses_text else None,
    )
    annotated = data.dimensions.isfinite().any()
    classifier = Classifier(
        fusion, len(data.label_set), dimensions=recipe.train.dimensions and bool(annotated)
    )
    means = data.dimensions.nanmean(dim=0)
    classifier.start_from(data.targets.mean(dim=0), means, exclusive=data.label_set.exclusive)
    return classifier


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}

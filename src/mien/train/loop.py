"""The training loop: from splits to trained weights, interrupted or not.

Goes in: a recipe, a split to learn from and one to stop by, a folder. Comes out: `model.safetensors` there,
and a line in `events.jsonl` for each epoch.
Knows nothing about: where features and texts come from, test splits, pages.

An interrupted training continues between two steps, and ends, on a CPU with the same number of threads,
with the same bits as an uninterrupted one.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from mien.features.device import open_device
from mien.recipe import Recipe
from mien.runs import Run
from mien.train.batch import SplitData
from mien.train.checkpoint import MODEL_FILE, RESUME_FILE, TrainResult, load_trained, save_trained
from mien.train.trainer import Trainer, other_data

__all__ = ["TrainProgress", "train"]

log = logging.getLogger(__name__)

_SAVE_SECONDS: Final = 30.0  # what a crash may cost
_SAVE_SHARE: Final = 0.02  # of the time at most goes into that


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """After a step: `epoch` and `step` are finished ones, `loss` is of this step, the best score of val."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    best_score: float | None
    best_epoch: int
    seconds: float


def train(
    recipe: Recipe,
    data: SplitData,
    val: SplitData,
    out: Path,
    *,
    on_progress: Callable[[TrainProgress], None] | None = None,
    save_seconds: float = _SAVE_SECONDS,
) -> TrainResult:
    """Trains as `[model]` and `[train]` say, stops by val, and keeps the best epoch's weights in `out`.

    An unfinished training of the same recipe and data is continued, a finished one is left as it is.
    `save_seconds`: how often the state is kept, 0 for after every step. Raises RunError if `out` holds
    another recipe's run, DataError if it was begun on other data, ConfigError if the loss is not finite.
    """
    run = Run.open_or_create(out, command="train", recipe=recipe.to_json(), digest=recipe.digest())
    fingerprint = f"{data.fingerprint()} {val.fingerprint()}"
    if (out / MODEL_FILE).exists():
        finished = load_trained(out)
        if finished.data != fingerprint:
            raise other_data(out / MODEL_FILE)
        return finished.result
    device = open_device(recipe.run.device)
    # Every step sets the seed; whoever called keeps the random numbers they had.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = Trainer(recipe, data, val, device)
        if (out / RESUME_FILE).exists():
            trainer.restore(out / RESUME_FILE, fingerprint)
            run.append("resumed", step=trainer.state.step)
        return _Loop(trainer, run, fingerprint, on_progress, save_seconds).run_to_end()


class _Loop:
    """Steps, looks at val, keeps, tells; until the epochs are over or val has stopped to gain."""

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        fingerprint: str,
        on_progress: Callable[[TrainProgress], None] | None,
        save_seconds: float,
    ) -> None:
        self._trainer = trainer
        self._run = run
        self._fingerprint = fingerprint
        self._on_progress = on_progress
        self._save_seconds = save_seconds
        self._start = time.monotonic()
        self._next_save = self._start + save_seconds

    def run_to_end(self) -> TrainResult:
        while not self._is_over():
            self._run_epoch()
        trained = self._trainer.trained(self._fingerprint)
        save_trained(self._run.path, trained)
        (self._run.path / RESUME_FILE).unlink(missing_ok=True)
        self._run.append("trained", **asdict(trained.result))
        return trained.result

    def _is_over(self) -> bool:
        options, epoch = self._trainer.options, self._trainer.epoch
        return epoch >= options.epochs or epoch - self._trainer.state.best_epoch >= options.patience

    def _run_epoch(self) -> None:
        """What remains of the epoch under way. The last step is not over before val was looked at."""
        batches = self._trainer.batches()
        for rows in batches[:-1]:
            self._end_step(self._trainer.take_step(rows))
        loss = self._trainer.take_step(batches[-1])
        score = self._trainer.validate()
        self._log_epoch(score)
        self._trainer.state.loss_sum = 0.0
        self._end_step(loss)

    def _log_epoch(self, score: float) -> None:
        trainer = self._trainer
        mean = trainer.state.loss_sum / trainer.steps_per_epoch
        seconds = time.monotonic() - self._start
        log.info("epoch %d: loss %.4f, val %s %.4f", trainer.epoch, mean, trainer.metric.name, score)
        self._run.append(
            "epoch",
            epoch=trainer.epoch,
            step=trainer.state.step,
            loss=mean,
            metric=trainer.metric.name,
            score=score,
            best=trainer.state.best_epoch == trainer.epoch,
            seconds=round(seconds, 3),
        )

    def _end_step(self, loss: float) -> None:
        if time.monotonic() >= self._next_save:
            self._keep()
        if self._on_progress is not None:
            self._on_progress(self._progress(loss))

    def _keep(self) -> None:
        begun = time.monotonic()
        self._trainer.keep(self._run.path / RESUME_FILE, self._fingerprint)
        ended = time.monotonic()
        # Large models take long to write, and are then written less often.
        pause = max(self._save_seconds, (ended - begun) / _SAVE_SHARE) if self._save_seconds else 0.0
        self._next_save = ended + pause

    def _progress(self, loss: float) -> TrainProgress:
        trainer = self._trainer
        return TrainProgress(
            epoch=trainer.epoch,
            epochs=trainer.options.epochs,
            step=trainer.state.step,
            steps=trainer.steps,
            loss=loss,
            best_score=trainer.state.best_score,
            best_epoch=trainer.state.best_epoch,
            seconds=time.monotonic() - self._start,
        )

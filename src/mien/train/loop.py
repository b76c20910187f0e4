"""The training loop: from splits to trained weights, interrupted or not.

Goes in: a recipe, a split to learn from and one to stop by, a folder. Comes out: `model.safetensors` there,
and a line in `events.jsonl` for each epoch.
Knows nothing about: where features and texts come from, test splits, pages.

An interrupted training continues between two steps, and ends, on a CPU with the same number of threads,
with the same bits as an uninterrupted one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from mien.batches.batch import SplitData
from mien.errors import DamagedError, DivergedError, RunError
from mien.model.checkpoint import (
    BEST_FILE,
    LAST_FILE,
    MODEL_FILE,
    PREVIOUS_FILE,
    RESUME_FILE,
    TrainResult,
    differing_knobs,
    load_trained,
    save_trained,
)
from mien.recipe import Recipe
from mien.runs import Run
from mien.train.distributed import ALONE, World
from mien.train.losses import LabelCounts
from mien.train.trackers import Trackers
from mien.train.trainer import Trainer, other_data

__all__ = ["TrainProgress", "open_run", "train"]

log = logging.getLogger(__name__)

_SAVE_SECONDS: Final = 30.0  # what a crash may cost
_TRACK_EVERY: Final = 10  # steps between two points of a curve
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
    world: World = ALONE,
) -> TrainResult:
    """Trains as `[model]` and `[train]` say, stops by val, and keeps the best epoch's weights in `out`.

    An unfinished training of the same recipe and data is continued, a finished one is left as it is.
    `save_seconds`: how often the state is kept, 0 for after every step. `world`: the processes that train
    together, of which the first writes. Raises RunError if `out` holds another recipe's run, DataError if
    it was begun on other data, DivergedError if the loss explodes or is not finite.
    """
    with world.first_alone():
        run = open_run(recipe, out)
    fingerprint = f"{data.fingerprint()} {val.fingerprint()}"
    if (out / MODEL_FILE).exists():
        finished = load_trained(out)
        finished.check_recipe(recipe)
        if finished.data != fingerprint:
            raise other_data(out / MODEL_FILE)
        return finished.result
    device = world.device(recipe.run.device)
    trackers = Trackers.open(recipe, out) if world.is_first else Trackers()
    # Every step sets the seed; whoever called keeps the random numbers they had.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = Trainer(recipe, data, val, device, world)
        loop = _Loop(
            trainer,
            run,
            trackers,
            fingerprint=fingerprint,
            on_progress=on_progress,
            save_seconds=save_seconds,
        )
        loop.resume()
        world.wait()  # who writes must not be ahead of who reads
        try:
            return loop.run_to_end()
        finally:
            trackers.close()


def open_run(recipe: Recipe, out: Path) -> Run:
    """The run in a directory, or a new one; RunError that names the knobs if it is another recipe's."""
    try:
        return Run.open_or_create(out, command="train", recipe=recipe.to_json(), digest=recipe.digest())
    except RunError as error:
        if not (out / "manifest.json").exists():
            raise
        held = Run.open(out).manifest.recipe
        knobs = differing_knobs(Recipe.parse(held, where=str(out)), recipe)
        raise RunError(f"{error}: {', '.join(knobs)}" if knobs else str(error), hint=error.hint) from error


class _Loop:
    """Steps, looks at val, keeps, tells; until the epochs are over or val has stopped to gain."""

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        trackers: Trackers,
        *,
        fingerprint: str,
        on_progress: Callable[[TrainProgress], None] | None,
        save_seconds: float,
    ) -> None:
        self._trainer = trainer
        self._run = run
        self._fingerprint = fingerprint
        self._on_progress = on_progress
        self._save_seconds = save_seconds
        self._trackers = trackers
        self._writes = trainer.world.is_first
        self._start = time.monotonic()
        self._next_save = self._start + save_seconds
        self._kept_step: int | None = None

    def resume(self) -> None:
        """Goes on from the last state that was kept whole, if any was kept; a damaged one is told of."""
        files = [file for name in (RESUME_FILE, PREVIOUS_FILE) if (file := self._run.path / name).exists()]
        damaged: list[DamagedError] = []
        for file in files:
            try:
                self._trainer.restore(file, self._fingerprint)
            except DamagedError as error:
                damaged.append(error)
                continue
            self._resumed(file, damaged)
            return
        if damaged:
            raise damaged[0]

    def _resumed(self, file: Path, damaged: Sequence[DamagedError]) -> None:
        step = self._trainer.state.step
        self._kept_step = step
        if damaged:
            log.warning("%s; going on from %s, of step %d", damaged[0], file.name, step)
        if not self._writes:
            return
        if damaged:
            self._run.append("damaged", file=RESUME_FILE, used=file.name, step=step)
            (self._run.path / RESUME_FILE).unlink()  # or it would take the place of the whole one
        self._run.append("resumed", step=step)

    def run_to_end(self) -> TrainResult:
        self._note_empty_labels()
        try:
            while not self._is_over():
                self._run_epoch()
        except DivergedError as error:
            raise self._diverged(error) from error
        if self._writes and self._trainer.recipe.run.keep_last:
            save_trained(self._run.path, self._trainer.trained(self._fingerprint, last=True), LAST_FILE)
        trained = self._trainer.trained(self._fingerprint)
        if self._writes:
            save_trained(self._run.path, trained)
            # Both states, and what is left of any during whose writing the process was killed.
            for file in self._run.path.glob("*resume*.safetensors*"):
                file.unlink(missing_ok=True)
            self._run.append("trained", **asdict(trained.result))
        self._trainer.world.wait()
        return trained.result

    def _note_empty_labels(self) -> None:
        """A label that nobody has is learned to be rare, no more; that is said once."""
        data = self._trainer.data
        empty = [data.label_set.labels[place] for place in LabelCounts.of(data.targets).without_positives]
        if empty and self._writes and self._trainer.state.step == 0:
            names = ", ".join(empty)
            log.warning("no sample of %r has the label %s: nobody is learned to have it", data.split, names)
            self._run.append("labels_without_positives", split=data.split, labels=empty)

    def _diverged(self, error: DivergedError) -> DivergedError:
        """The error with what is left: the state kept before, and the best epoch's weights, saved now."""
        state, left = self._trainer.state, []
        if self._kept_step is not None:
            left.append(f"the last good state is of step {self._kept_step}, in {RESUME_FILE}")
        if state.best_epoch:
            left.append(f"the weights of epoch {state.best_epoch}, the best on val, are in {BEST_FILE}")
        if self._writes:
            if state.best_epoch:
                save_trained(self._run.path, self._trainer.trained(self._fingerprint), BEST_FILE)
            self._run.append("diverged", step=state.step + 1, reason=str(error))
        what = "; ".join(left) or "no epoch was finished, so there are no good weights to keep"
        return DivergedError(f"{error}; {what}", hint=error.hint)

    def _is_over(self) -> bool:
        options, epoch = self._trainer.options, self._trainer.epoch
        return epoch >= options.epochs or epoch - self._trainer.state.best_epoch >= options.patience

    def _run_epoch(self) -> None:
        """What remains of the epoch under way. The last step is not over before val was looked at."""
        trainer = self._trainer
        for parts in trainer.rest_of_epoch():
            rate = trainer.rate
            loss = trainer.take_step(parts)
            if trainer.state.step % _TRACK_EVERY == 0:
                self._trackers.log({"train/loss": loss, "train/lr": rate}, trainer.state.step)
            if trainer.state.step % trainer.steps_per_epoch == 0:
                self._log_epoch(trainer.validate())
                trainer.state.loss_sum = 0.0
            self._end_step(loss)

    def _log_epoch(self, score: float) -> None:
        trainer = self._trainer
        mean = trainer.state.loss_sum / trainer.steps_per_epoch
        seconds = time.monotonic() - self._start
        if not self._writes:
            return
        log.info("epoch %d: loss %.4f, val %s %.4f", trainer.epoch, mean, trainer.metric.name, score)
        curves = {"train/epoch_loss": mean, f"{trainer.val.split}/{trainer.metric.name}": score}
        self._trackers.log(curves, trainer.state.step)
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
        if self._writes and time.monotonic() >= self._next_save:
            self._keep()
        if self._writes and self._on_progress is not None:
            self._on_progress(self._progress(loss))

    def _keep(self) -> None:
        begun = time.monotonic()
        file = self._run.path / RESUME_FILE
        if file.exists():
            file.replace(self._run.path / PREVIOUS_FILE)
        self._trainer.keep(file, self._fingerprint)
        self._kept_step = self._trainer.state.step
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

"""The training loop: from splits to trained weights, resumable at any step.

A resumed training ends with the same bits as an uninterrupted one, on a CPU with the same number of threads.
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
    load_trained,
    save_trained,
)
from mien.recipe import Recipe
from mien.recipe.places import differing_keys, is_same_recipe, recorded_recipe, relative_to_run
from mien.runs import MANIFEST, Run
from mien.train.distributed import SINGLE_PROCESS, World
from mien.train.losses import LabelCounts
from mien.train.trackers import Trackers
from mien.train.trainer import Trainer, different_data

__all__ = ["TrainProgress", "open_run", "train"]

log = logging.getLogger(__name__)

_SAVE_SECONDS: Final = 30.0  # the most work that a crash loses
_MAX_SAVE_SHARE: Final = 0.02  # of the time; large models are saved less often
_TRACK_EVERY: Final = 10  # steps between two points of a curve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """Progress after a step: finished epochs and steps, the loss of this step, the best validation score."""

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
    world: World = SINGLE_PROCESS,
) -> TrainResult:
    """Train with early stopping on `val`, and leave the weights of the best epoch in `out`.

    Writes `model.safetensors`, and a line per epoch to `events.jsonl`. Resumes an unfinished training of the
    same recipe and data; returns the result of a finished one without training again.

    Args:
        recipe: Its sections [model], [train] and [run] apply.
        data: The split to train on.
        val: The split for early stopping and for choosing the best epoch.
        out: The run directory.
        on_progress: Called after every step.
        save_seconds: Seconds between two saves of the state; 0 saves after every step.
        world: The processes that train together. Only the main process writes.

    Raises:
        RunError: `out` holds the run of another recipe.
        DataError: The training in `out` started with other data.
        DivergedError: The loss exploded or is not finite.
    """
    with world.main_process_first():
        run = open_run(recipe, out)
    fingerprint = f"{data.fingerprint()} {val.fingerprint()}"
    if (out / MODEL_FILE).exists():
        finished = load_trained(out, places=recipe)
        finished.check_recipe(recipe)
        if finished.data != fingerprint:
            raise different_data(out / MODEL_FILE)
        if world.is_main:
            _close_run(run, finished.result)  # a kill can come between the weights and this
        return finished.result
    device = world.device(recipe.run.device)
    trackers = Trackers.open(recipe, out) if world.is_main else Trackers()
    # Every step sets the seed; the caller's random state is restored afterwards.
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
        world.barrier()  # all have read the state before the main process writes
        try:
            return loop.run_to_end()
        finally:
            trackers.close()


def open_run(recipe: Recipe, out: Path, *, command: str = "train") -> Run:
    """Open or create the run in a directory; the RunError for another recipe's run names the settings.

    Data and models may have moved since: what a training reads of them is compared later.
    """
    table, digest = relative_to_run(recipe.to_json(), out), recipe.digest()
    if (out / MANIFEST).exists():
        run, held = Run.open(out), recorded_recipe(out)
        if run.manifest.digest == digest:
            return run
        if is_same_recipe(held, recipe):
            return run.record_moved(table, digest)
    try:
        return Run.open_or_create(out, command=command, recipe=table, digest=digest)
    except RunError as error:
        if not (out / MANIFEST).exists():
            raise
        keys = differing_keys(recorded_recipe(out), recipe)
        raise RunError(f"{error}: {', '.join(keys)}" if keys else str(error), hint=error.hint) from error


def _close_run(run: Run, result: TrainResult) -> None:
    """Remove the states of a finished training and record its result, unless that is done."""
    for name in (RESUME_FILE, PREVIOUS_FILE):
        (run.path / name).unlink(missing_ok=True)
    if next(run.events().named("trained"), None) is None:
        run.append("trained", **asdict(result))


class _Loop:
    """Trains, validates, saves and reports, until the last epoch or until validation stops improving."""

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
        self._is_writer = trainer.world.is_main
        self._start = time.monotonic()
        self._next_save = self._start + save_seconds
        self._saved_step: int | None = None

    def resume(self) -> None:
        """Load the latest intact state, if there is one; a damaged state is reported."""
        files = [file for name in (RESUME_FILE, PREVIOUS_FILE) if (file := self._run.path / name).exists()]
        damaged: list[DamagedError] = []
        for file in files:
            try:
                self._trainer.load_state(file, self._fingerprint)
            except DamagedError as error:
                damaged.append(error)
                continue
            self._report_resumed(file, damaged)
            return
        if damaged:
            raise damaged[0]

    def _report_resumed(self, file: Path, damaged: Sequence[DamagedError]) -> None:
        step = self._trainer.state.step
        self._saved_step = step
        if damaged:
            log.warning("%s; resuming from %s, of step %d", damaged[0], file.name, step)
        if not self._is_writer:
            return
        if damaged:
            self._run.append("damaged", file=RESUME_FILE, used=file.name, step=step)
            (self._run.path / RESUME_FILE).unlink()  # the next save would keep it as the previous state
        self._run.append("resumed", step=step)

    def run_to_end(self) -> TrainResult:
        self._report_labels_without_positives()
        try:
            while not self._is_over():
                self._run_epoch()
        except DivergedError as error:
            raise self._diverged(error) from error
        if self._is_writer and self._trainer.recipe.run.keep_last:
            save_trained(self._run.path, self._trainer.finish(self._fingerprint, last=True), LAST_FILE)
        trained = self._trainer.finish(self._fingerprint)
        if self._is_writer:
            save_trained(self._run.path, trained)
            _close_run(self._run, trained.result)
        self._trainer.world.barrier()
        return trained.result

    def _report_labels_without_positives(self) -> None:
        """Warn once about labels that no training sample has: the model only learns that they are rare."""
        data = self._trainer.data
        empty = [data.label_set.labels[index] for index in LabelCounts.of(data.targets).without_positives]
        if empty and self._is_writer and self._trainer.state.step == 0:
            names = ", ".join(empty)
            log.warning("no sample of %r has the label %s; the model will not learn it", data.split, names)
            self._run.append("labels_without_positives", split=data.split, labels=empty)

    def _diverged(self, error: DivergedError) -> DivergedError:
        """Save the best weights so far, and say in the error what is left."""
        state, left = self._trainer.state, []
        if self._saved_step is not None:
            left.append(f"the last good state is of step {self._saved_step}, in {RESUME_FILE}")
        if state.best_epoch:
            left.append(f"the weights of epoch {state.best_epoch}, the best on val, are in {BEST_FILE}")
        if self._is_writer:
            if state.best_epoch:
                save_trained(self._run.path, self._trainer.finish(self._fingerprint), BEST_FILE)
            self._run.append("diverged", step=state.step + 1, reason=str(error))
        what = "; ".join(left) or "no epoch was finished, so there are no good weights to keep"
        return DivergedError(f"{error}; {what}", hint=error.hint)

    def _is_over(self) -> bool:
        options, epoch = self._trainer.options, self._trainer.epoch
        return epoch >= options.epochs or epoch - self._trainer.state.best_epoch >= options.patience

    def _run_epoch(self) -> None:
        """Run the remaining steps of the current epoch; the last step includes the validation."""
        trainer = self._trainer
        for micro_batches in trainer.remaining_steps():
            rate = trainer.learning_rate
            loss = trainer.train_step(micro_batches)
            if trainer.state.step % _TRACK_EVERY == 0:
                self._trackers.log({"train/loss": loss, "train/lr": rate}, trainer.state.step)
            if trainer.state.step % trainer.steps_per_epoch == 0:
                self._report_epoch(trainer.validate())
                trainer.state.loss_sum = 0.0
            self._end_step(loss)

    def _report_epoch(self, score: float) -> None:
        trainer = self._trainer
        mean = trainer.state.loss_sum / trainer.steps_per_epoch
        seconds = time.monotonic() - self._start
        if not self._is_writer:
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
        if self._is_writer and time.monotonic() >= self._next_save:
            self._save_state()
        if self._is_writer and self._on_progress is not None:
            self._on_progress(self._progress(loss))

    def _save_state(self) -> None:
        start = time.monotonic()
        file = self._run.path / RESUME_FILE
        if file.exists():
            file.replace(self._run.path / PREVIOUS_FILE)
        self._trainer.save_state(file, self._fingerprint)
        self._saved_step = self._trainer.state.step
        end = time.monotonic()
        pause = max(self._save_seconds, (end - start) / _MAX_SAVE_SHARE) if self._save_seconds else 0.0
        self._next_save = end + pause

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

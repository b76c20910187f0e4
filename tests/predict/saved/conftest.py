"""A trained run whose models are gone, and the folder that it was saved to before."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.factories.saved_models import calibrate_run, plain_predictions
from tests.predict.conftest import train_run

from mien.predict.predictor import Predictor
from mien.types import Sample, Subject


@dataclass(frozen=True)
class Saved:
    """A saved folder, people, and what the run predicted of them before it and its models were deleted."""

    folder: Path
    subjects: list[Subject]
    predictions: list[dict[str, Any]]
    machine: Path


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory, llava: Path, samples: dict[str, list[Sample]]) -> Saved:
    home = tmp_path_factory.mktemp("saved")
    machine = home / "machine-of-the-author"
    machine.mkdir()
    model = Path(shutil.copytree(llava, machine / "llava"))
    made = train_run(machine, model, samples, "qformer", "local")
    calibrate_run(made.run)
    predictor = Predictor.from_pretrained(made.run, device="cpu")
    subjects = [sample.subject for sample in samples["test"]][:4]
    predictions = plain_predictions(predictor, subjects)
    predictor.save_pretrained(home / "model")
    shutil.rmtree(machine)
    return Saved(folder=home / "model", subjects=subjects, predictions=predictions, machine=machine)


@pytest.fixture
def copy(saved: Saved, tmp_path: Path) -> Path:
    """A copy of the folder, to damage."""
    return Path(shutil.copytree(saved.folder, tmp_path / "copy"))

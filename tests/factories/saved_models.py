"""Predictions in a process that has loaded nothing yet, for tests of models that are handed over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mien.evaluate.calibration.calibrate import Calibration
from mien.labels import CAERS
from mien.model.checkpoint import model_digest
from mien.predict.predictor import Predictor
from mien.types import Prediction, Subject

_PROGRAM = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import mien
from tests.factories.saved_models import plain_predictions
from mien.types import Box, Subject
model, rows = sys.argv[1], json.load(sys.stdin)
subjects = [Subject.still(name, Path(path), Box(**box)) for name, path, box in rows]
print(json.dumps(plain_predictions(mien.Predictor.from_pretrained(model, device="cpu"), subjects)))
"""


def plain_predictions(predictor: Predictor, subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """All that is predicted of each subject; numbers keep every bit."""
    return [_plain(prediction) for prediction in predictor.predict(subjects)]


def _plain(prediction: Prediction) -> dict[str, Any]:
    return {
        "id": prediction.subject_id,
        "scores": dict(prediction.scores),
        "dimensions": prediction.dimensions and dict(prediction.dimensions),
        "thresholds": prediction.thresholds and dict(prediction.thresholds),
        "text": prediction.description and prediction.description.text,
        "status": prediction.status,
    }


def predict_in_fresh_process(
    model: str | Path, subjects: Sequence[Subject], folder: Path, environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """`plain_predictions` of a new process that works in `folder`."""
    rows = []
    for subject in subjects:
        (image,), (box,) = subject.images, subject.boxes
        assert box is not None
        rows.append([subject.id, str(image.path), asdict(box)])
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(model)],
        input=json.dumps(rows),
        cwd=folder,
        env={
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return found


def calibrate_run(run: Path) -> Calibration:
    """Writes a calibration into a run with CAER-S's labels, as if it had been evaluated."""
    calibration = Calibration(
        method="temperature",
        split="val",
        n=8,
        label_set=CAERS.name,
        labels=CAERS.labels,
        exclusive=True,
        slopes=(1.7,) * len(CAERS),
        offsets=(0.0,) * len(CAERS),
        thresholds=None,
        rule="f1",
        cost=1.0,
        defaulted=(),
        shared=(),
        model=model_digest(run),
    )
    calibration.save(run)
    return calibration

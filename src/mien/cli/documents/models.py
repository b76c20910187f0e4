"""Documents of the commands that train, score, explain, save and serve models."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from mien.evaluate.results.results import Evaluation
from mien.predict.explain.explanation import ExplanationDict
from mien.types import PredictionDict

__all__ = [
    "DemoRun",
    "ExplainedPhoto",
    "ExportedFiles",
    "ExportedOnnx",
    "ExportedSubjects",
    "FinishedTraining",
    "OfRun",
    "PushedModel",
    "SavedModel",
    "ServedAddress",
    "WrittenPages",
]


class FinishedTraining(TypedDict):
    """A trained model. A key SPLIT_METRIC, such as `val_mAP`, repeats the score.

    Attributes:
        run: The run directory.
        best_epoch: The epoch whose weights were kept, from 1.
        split: The split on which these weights were chosen.
        metric: The metric by which they were chosen.
        score: The value of that metric on that split.
        steps: How many steps the optimizer took.
    """

    run: str
    best_epoch: int
    split: str
    metric: str
    score: float
    steps: int


class OfRun(TypedDict):
    """A document about a run without training.

    Attributes:
        run: The run directory; missing for a trained run, which the command line names.
    """

    run: NotRequired[str]


class DemoRun(TypedDict):
    """What the demo has made.

    Attributes:
        results: The scores of all variants, as in `results.json`.
        report: The file of the page.
        run: The run that the prediction is of.
        image: The image that was predicted.
        prediction: What the run predicts for that image.
    """

    results: Evaluation
    report: str
    run: str
    image: str
    prediction: PredictionDict


class WrittenPages(TypedDict, total=False):
    """What was written; only what there is.

    Attributes:
        report: The page about a run.
        curve: The learning curve of the run, as SVG.
        comparison: The page that compares runs.
        tables: The folder of tables.
    """

    report: str
    curve: str
    comparison: str
    tables: str


class ExplainedPhoto(TypedDict):
    """Why the people in a photo have their scores.

    Attributes:
        source: The photo.
        status: "ok"; "partial" if some people could not be processed; "failed" if none could; "no person" if
            no one was found.
        people: One explanation per person.
        files: The files that were written.
    """

    source: str
    status: str
    people: list[ExplanationDict]
    files: list[str]


class SavedModel(TypedDict):
    """A model as one folder.

    Attributes:
        folder: The folder.
        files: How many files the folder has.
        size: The size of the files in words, such as "1.3 MB".
        models: The models that it needs besides the folder, in words; "none" if it needs no other.
    """

    folder: str
    files: int
    size: str
    models: str


class ExportedOnnx(TypedDict):
    """A model as ONNX.

    Attributes:
        folder: The folder.
        files: The names of the files, with commas between them.
        difference: The largest difference of a score from that of PyTorch, such as "1.2e-06".
    """

    folder: str
    files: str
    difference: str


class ExportedSubjects(TypedDict):
    """Features for others.

    Attributes:
        folder: The folder.
        subjects: How many people were written.
    """

    folder: str
    subjects: int


class ExportedFiles(TypedDict):
    """Descriptions with their images and prompts.

    Attributes:
        folder: The folder.
        descriptions: How many descriptions were written.
        left_out: How many people have no description, and were left out.
    """

    folder: str
    descriptions: int
    left_out: int


class PushedModel(TypedDict):
    """A model on the Hugging Face Hub.

    Attributes:
        name: The name of the model on the Hub.
        commit: The address of the commit.
    """

    name: str
    commit: str


class ServedAddress(TypedDict):
    """A service that is ready; it answers until it is stopped.

    Attributes:
        url: The address of the service.
        model: What clients call the model.
        endpoints: What the service can do: "predict", "describe", "explain".
    """

    url: str
    model: str
    endpoints: list[str]

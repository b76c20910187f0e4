"""JSON schemas of recipes, of the documents that commands print, and of files, from the types behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scripts.docs.json_types import DIALECT, VERSION, Part

from mien.ablation.grid import GridOptions
from mien.ablation.study import AblationFacts
from mien.cli.documents import data, describe, models
from mien.cli.render.console import SCHEMA
from mien.data.audit.doctor import DiagnosisDict
from mien.data.audit.near_duplicate_splits import SplitChangesDict
from mien.data.audit.summary import SummaryDict
from mien.data.export import SampleLine
from mien.data.splits import SplitLine
from mien.describe.preflight import Preflight
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.descriptions.description_audit import DescriptionAudit
from mien.evaluate.explanations.stored import ExplanationsDict
from mien.evaluate.results.comparison import ComparisonFacts
from mien.evaluate.results.examples import ExampleLine
from mien.evaluate.results.results import Evaluation
from mien.evaluate.shared_images import TrainingImages
from mien.export.onnx import OnnxConfig
from mien.predict.explain.explanation import ExplanationDict
from mien.predict.output.tables import COLUMNS
from mien.predict.results import ImageRow, PersonRow
from mien.predict.saved.config import SavedConfig
from mien.predict.saved.layout import SavedFiles
from mien.predict.saved.recipe import SavedRecipe
from mien.predict.track.summary import TRACK_COLUMNS, TrackRow
from mien.recipe import Recipe
from mien.registry import registered_names
from mien.report.audit.page import AuditDocument
from mien.runs import Event, RunManifest
from mien.train.plan import Plan, PlanTotals
from mien.types import Description

__all__ = ["COMMANDS", "FILES", "INTERNAL_FILES", "RENAMED", "SCHEMAS", "TABLES", "Schema", "schema_name"]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A schema and what it is for.

    Attributes:
        about: What the document holds, for the page.
        parts: The kinds of documents, one of which it is.
        files: The files, as `docs/reference/files.md` names them; empty for documents of commands.
        version: The value of the key `schema` next to the keys of the types; None if a type has that key, or
            the document has none.
        columns: The keys that rows of all parts have, in order; null in rows whose part lacks them. None if
            each part has keys of its own.
        is_lines: Whether the file or the output has one document per line.
        is_complete: Whether all documents have all keys; files of earlier versions can lack some.
    """

    about: str
    parts: tuple[Part, ...]
    files: tuple[str, ...] = ()
    version: int | None = None
    columns: tuple[str, ...] | None = None
    is_lines: bool = False
    is_complete: bool = False

    def document(self, *, is_complete: bool | None = None) -> dict[str, Any]:
        """The schema; `is_complete` replaces that of the schema."""
        complete = self.is_complete if is_complete is None else is_complete
        parts = [self._versioned(part.document(is_complete=complete)) for part in self.parts]
        if self.columns is not None:
            return {"$schema": DIALECT, **_one_row(parts, self.columns)}
        if len(parts) == 1:
            return {"$schema": DIALECT, **parts[0]}
        definitions: dict[str, Any] = {}
        for part in parts:
            definitions |= part.pop("$defs", {})
        return {
            "$schema": DIALECT,
            "description": self.about,
            "anyOf": parts,
            **({"$defs": definitions} if definitions else {}),
        }

    def _versioned(self, part: dict[str, Any]) -> dict[str, Any]:
        if self.version is None:
            return part
        version = {"const": self.version, "description": VERSION}
        properties = {"schema": version, **part["properties"]}
        return part | {"properties": properties, "required": ["schema", *part.get("required", [])]}


def _one_row(parts: list[dict[str, Any]], columns: tuple[str, ...]) -> dict[str, Any]:
    """The first part with the columns alone, which are null in rows of the other parts if they lack them."""
    properties = {
        name: value if all(name in part["properties"] for part in parts) else _nullable(value)
        for name, value in ((name, parts[0]["properties"][name]) for name in columns)
    }
    return parts[0] | {"properties": properties, "required": list(columns)}


def _nullable(value: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {name: value[name] for name in ("title", "description") if name in value}
    options = value.get("anyOf", [{name: part for name, part in value.items() if name not in about}])
    null = {"type": "null"}
    return {**about, "anyOf": [*(option for option in options if option != null), null]}


def schema_name(command: str) -> str:
    """The name of the schema of a command's document."""
    return command.replace(" ", "-")


def _printed(about: str, *parts: Part | type, version: int | None = SCHEMA, is_lines: bool = False) -> Schema:
    """The document of a command; the console adds the version to those that have none of their own."""
    return Schema(
        about=about, parts=tuple(map(_part, parts)), version=version, is_lines=is_lines, is_complete=True
    )


def _file(
    about: str, *files: str, part: Part | type, version: int | None = None, lines: bool = False
) -> Schema:
    return Schema(about=about, parts=(_part(part),), files=files, version=version, is_lines=lines)


def _part(kind: Part | Any) -> Part:
    return kind if isinstance(kind, Part) else Part((kind,))


_AUDIT: Final = Part((DescriptionAudit,), computed=("level",))
_CALIBRATION: Final = ("temperature",)
# Of scores in the document of a training, such as "val_mAP"; later versions may add other keys with "_".
_SPLIT_METRIC: Final = rf"^[\w-]+_({'|'.join(map(re.escape, registered_names('metric')))})$"

# By command, the document that it prints with --json.
COMMANDS: Final[Mapping[str, Schema]] = {
    "mien ablate": _printed(
        "rows and differences of all variants, as in `results.json`", Part((Evaluation, AblationFacts))
    ),
    "mien calibrate": _printed(
        "what was fitted, as in `calibration.json`", Part((Calibration, models.OfRun), computed=_CALIBRATION)
    ),
    "mien compare": _printed("scores of runs and their differences", Part((Evaluation, ComparisonFacts))),
    "mien data dedup": _printed("what a split file changes", SplitChangesDict),
    "mien data export": _printed(
        "what was written of a dataset; or of a run or of predictions",
        data.ExportedSplit,
        data.ExportedPeople,
    ),
    "mien data playhouse": _printed("the folder of drawn scenes", data.DrawnDataset),
    "mien data summary": _printed("counts of images, people and labels", SummaryDict, version=None),
    "mien data verify": _printed("problems of a dataset", data.VerifiedDataset),
    "mien demo": _printed("scores of the demo, its page, and a prediction", models.DemoRun),
    "mien describe run": _printed(
        "how many people were described, and who was not; with `--dry-run`, an estimate",
        describe.DescribeRun,
        Preflight,
    ),
    "mien describe status": _printed("how many people are described", describe.DescribeStatus),
    "mien describe check": _printed("what is in a store, and what is damaged", describe.CheckedStore),
    "mien describe export": _printed("how many descriptions were written", describe.ExportedDescriptions),
    "mien describe import": _printed("how many descriptions were read", describe.ImportedDescriptions),
    "mien describe merge": _printed("what a merged store has", describe.MergedStore),
    "mien describe models": _printed("models that describe well", describe.KnownModels),
    "mien describe prompts": _printed("the built-in prompts", describe.KnownPrompts),
    "mien describe audit": _printed(
        "what the audit found, as in `description_audit.json`", _AUDIT, version=None
    ),
    "mien doctor": _printed("what a copy of a dataset has and lacks", DiagnosisDict, version=None),
    "mien evaluate": _printed("scores, as in `evaluation.json`", Part((Evaluation, models.OfRun))),
    "mien explain": _printed("why people in a photo have their scores", models.ExplainedPhoto),
    "mien export descriptions": _printed("how many descriptions were written", models.ExportedFiles),
    "mien export features": _printed("how many people were written", models.ExportedSubjects),
    "mien export hub": _printed("the folder of a saved model", models.SavedModel),
    "mien export onnx": _printed("the files of a model as ONNX", models.ExportedOnnx),
    "mien predict": _printed(
        "a person, or an image in which no one is found or that cannot be read",
        PersonRow,
        ImageRow,
        is_lines=True,
    ),
    "mien push": _printed("the address of an uploaded model", models.PushedModel),
    "mien report": _printed("the pages and tables that were written", models.WrittenPages),
    "mien serve": _printed("the address of a service that is ready", models.ServedAddress),
    "mien train": _printed(
        "a trained model; with `--dry-run`, an estimate",
        Part((models.FinishedTraining,), patterns=((_SPLIT_METRIC, float),)),
        Part((Plan, PlanTotals)),
    ),
}

# What `mien predict --out` writes, by schema.
TABLES: Final[Mapping[str, Schema]] = {
    "predictions": Schema(
        about="people in images and in frames of videos: `--out FILE`",
        parts=(Part((PersonRow,)), Part((ImageRow,))),
        columns=COLUMNS,
        is_lines=True,
    ),
    "tracks": Schema(
        about="people of videos: `FILE.tracks`",
        parts=(Part((TrackRow,)),),
        columns=TRACK_COLUMNS,
        is_lines=True,
    ),
}

FILES: Final[Mapping[str, Schema]] = {
    "recipe": _file("a recipe, read as JSON", "recipes/*.toml", part=Recipe),
    "grid": _file("an ablation, read as JSON", "recipes/ablations/*.toml", part=GridOptions),
    "manifest": _file("what a run is", "manifest.json", part=RunManifest),
    "event": _file(
        "what happened to a run or a store; further keys depend on the event",
        *("events.jsonl", "descriptions.sqlite.events.jsonl", "zero_shot_scores.jsonl"),
        part=Part((Event,), is_open=True),
        lines=True,
    ),
    "evaluation": _file(
        "scores, differences and intervals", "evaluation.json", "results.json", part=Evaluation, version=1
    ),
    "calibration": _file(
        "temperature, thresholds, prediction sets",
        "calibration.json",
        part=Part((Calibration,), computed=_CALIBRATION),
        version=1,
    ),
    "sample": _file("a person of an evaluated split", "samples-SPLIT.jsonl", part=ExampleLine, lines=True),
    "explanations": _file(
        "why some people of a split have their scores", "explanations-SPLIT.json", part=ExplanationsDict
    ),
    "training_images": _file(
        "the images that a model was trained with", "training_images.json", part=TrainingImages
    ),
    "description_audit": _file("what the audit found", "description_audit.json", part=_AUDIT),
    "explanation": _file("why a person has these scores", "explanation.json", part=ExplanationDict),
    "audit": _file("everything on the page of `mien data verify`", "audit.json", part=AuditDocument),
    "subject": _file(
        "a person of a split, from `mien data export`", "SPLIT.jsonl", part=SampleLine, lines=True
    ),
    "split": _file(
        "the split of a person, from `mien data dedup`", "splits.jsonl", part=SplitLine, lines=True
    ),
    "description": _file(
        "a description, from `mien describe export`", "descriptions.jsonl", part=Description, lines=True
    ),
    "saved_config": _file("what a saved model takes and gives", "config.json", part=SavedConfig),
    "onnx_config": _file(
        "what a model of `mien export onnx` takes and gives", "FOLDER/config.json", part=OnnxConfig
    ),
    "saved_recipe": _file("the recipe of a saved model", "recipe.json", part=SavedRecipe),
    "saved_files": _file("the files of a saved model", "hashes.json", part=SavedFiles),
}

# By schema, keys that files of version 0.1.0 call otherwise, though the number in `schema` is the same.
RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "calibration": {"how": "method"},
    "evaluation": {"looks": "split_accesses"},
}

# Files of a run or of the cache that only mien reads, and why they have no schema.
INTERNAL_FILES: Final[Mapping[str, str]] = {
    "dtypes.json": "the types of numbers that `auto` was, so that a run is resumed with the same ones",
    "variant.json": "what a finished variant of an ablation was made of, so that it is not trained again",
    "request.json": "in the journal of `mien predict --out`, which a killed command reads when run again",
    "results.jsonl": "in the journal of `mien predict --out`: what was predicted so far",
    "index.json": "in the cache of parsed tables",
    "batch_sizes.json": "in the cache: batch sizes that were measured",
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    **FILES,
    **TABLES,
    **{schema_name(command): schema for command, schema in COMMANDS.items()},
}

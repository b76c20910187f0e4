"""Writes the page of a run: one HTML file that needs no network, no script and no other file.

Goes in: a run directory. Comes out: `report.html` in it.
Knows nothing about: data sets, models; it shows what `mien evaluate` left in the directory.

Everything that comes from outside (names, ids, descriptions, messages) is escaped by the template
engine, and the page forbids itself scripts and any request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mien.errors import RunError
from mien.evaluate.metrics.targets import POSITIVE
from mien.report.run.calibration import Fitted, dimension_lines, fitted_section, label_figures, seen_often
from mien.report.run.contents import Contents, gather
from mien.report.run.descriptions import words_view
from mien.report.run.gallery import best_and_worst
from mien.report.run.tables import difference_tables, headline, label_table, score_tables
from mien.report.template import environment
from mien.runs import atomic_write_bytes
from mien.version import __version__

__all__ = ["REPORT", "write_report"]

REPORT: Final = "report.html"
_EXAMPLES: Final = 4  # of the best, and as many of the worst
_EMBEDDED: Final = "playhouse"


def write_report(run: Path) -> Path:
    """Writes the page of a run and returns its path; RunError if the run was not evaluated yet."""
    page = environment("page.css").get_template("page.html").render(_view(gather(run)))
    path = run / REPORT
    try:
        # A description may hold half a surrogate pair, which no file can; it becomes a question mark.
        atomic_write_bytes(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", hint="make room for it") from error
    return path


def _view(contents: Contents) -> dict[str, Any]:
    scores, labels = contents.scores, contents.labels
    tables = score_tables(contents.results.rows)
    best, worst = ((), ()) if scores is None else best_and_worst(scores, contents.examples, _EXAMPLES)
    return {
        "version": __version__,
        "manifest": contents.manifest,
        "facts": _facts(contents),
        "recipe": json.dumps(contents.manifest.recipe, indent=2, ensure_ascii=False),
        "notice": _notice(contents),
        "headline": headline(tables[0]) if tables else "",
        "tables": tables,
        "differences": difference_tables(contents.results.differences),
        "labels": label_table(labels, () if scores is None else scores.label_set.labels) if labels else None,
        "words": None if contents.words is None else words_view(contents.words),
        "figures": label_figures(labels) if any(row.auc is not None for row in labels) else None,
        "dimensions": dimension_lines(contents.results.dimensions, None if scores is None else scores.split),
        "fitted": _fitted(contents),
        "looks": seen_often(contents.results.split_accesses),
        "positive": POSITIVE,
        "best": best,
        "worst": worst,
    }


def _fitted(contents: Contents) -> Fitted | None:
    """What was fitted on another split than the one that is shown."""
    scores, calibration = contents.scores, contents.calibration
    if scores is None or calibration is None or scores.split == calibration.split:
        return None
    if calibration.labels != scores.label_set.labels:
        return None  # of an evaluation with other labels than those scores have
    return fitted_section(scores, calibration, contents.results.calibration)


def _notice(contents: Contents) -> str:
    """What must stand beside every number of the embedded play."""
    if contents.recipe("data").get("name") == _EMBEDDED:
        return (
            "Playhouse is a little theatre drawn by code, and its labels follow written rules. "
            "It is a demonstration and a test bed: its numbers say nothing about real photographs."
        )
    models = (
        contents.recipe("describe").get("model"),
        contents.recipe("features").get("vision"),
        contents.recipe("features").get("tokenizer"),
    )
    if _EMBEDDED in models:
        return (
            "This run used models that are embedded in mien and know only the drawn scenes of Playhouse. "
            "What they say about other pictures shows that the programs work, and nothing else."
        )
    return ""


def _facts(contents: Contents) -> tuple[tuple[str, str], ...]:
    """What was run, in the few words that tell one run from another."""
    data, describe = contents.recipe("data"), contents.recipe("describe")
    features, model = contents.recipe("features"), contents.recipe("model")
    facts = (
        ("Data", _joined(data, "name", "label_set")),
        ("Described by", _joined(describe, "model", "engine")),
        ("Prompt", _joined(describe, "prompt")),
        ("Subject marked by", _joined(describe, "marking")),
        ("Picture read by", _joined(features, "vision", "fit")),
        ("Fusion", _joined(model, "fusion")),
        ("Command", contents.manifest.command),
        ("Begun", contents.manifest.created[:16].replace("T", " ") + " UTC"),
        ("Recipe digest", contents.manifest.digest[:12]),
    )
    return tuple((name, value) for name, value in facts if value)


def _joined(section: Mapping[str, Any], *keys: str) -> str:
    return ", ".join(str(section[key]) for key in keys if section.get(key) is not None)

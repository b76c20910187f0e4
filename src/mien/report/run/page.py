"""Writes `report.html` into a run directory, from what `mien evaluate` or `mien ablate` stored there.

A learning curve is also written as a file, `curve.svg`.

Names, ids, descriptions and messages are untrusted: the template engine escapes them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from mien.evaluate.metrics.targets import POSITIVE
from mien.evaluate.results.learning_curve import learning_curves
from mien.evaluate.results.measured_on import dataset_text, embedded_notice, size_notice
from mien.evaluate.results.results import Evaluation
from mien.files import atomic_write_bytes
from mien.locks import lock_run
from mien.recipe.data import lowest_dimension
from mien.report.error_browser.section import error_browser
from mien.report.formatting import format_count
from mien.report.photos import FaceFinder, PhotoMode, PhotoReader
from mien.report.run.calibration import CalibrationSection, calibration_section
from mien.report.run.contents import RunContents, load_contents
from mien.report.run.curves import CurveSection, curve_section, render_curve
from mien.report.run.descriptions import description_section
from mien.report.run.gallery import best_and_worst
from mien.report.run.precision_recall import precision_recall_section
from mien.report.run.tables import (
    difference_tables,
    headline,
    interval_name,
    label_details,
    label_table,
    repeated_evaluations,
    score_tables,
)
from mien.report.run.uncertainty import uncertainty_section
from mien.report.sections.annotators import annotator_section
from mien.report.sections.dimensions import dimension_section
from mien.report.sections.groups import group_section
from mien.report.sections.label_errors import label_error_section
from mien.report.sections.provenance import provenance_section
from mien.report.template import render_page
from mien.runs import Run
from mien.version import __version__

__all__ = ["CURVE", "REPORT", "write_report"]

REPORT: Final = "report.html"
CURVE: Final = "curve.svg"
_STYLES: Final = (
    *("base.css", "run/page.css", "run/curves.css"),
    *("sections/sections.css", "error_browser/section.css"),
)
_NUM_EXAMPLES: Final = 4  # of the best, and of the worst


def write_report(run: Path, *, photos: PhotoMode = "full", find_faces: FaceFinder | None = None) -> Path:
    """Writes the page of a run.

    Args:
        run: The run directory.
        photos: Whether photos are shown as they are, with heads blurred, or not at all.
        find_faces: Finds further faces to blur.

    Returns:
        The path of the page.

    Raises:
        RunError: The run has not been evaluated.
        RunLockedError: Another process writes to the run.
        DataError: The page cannot be written.
    """
    Run.open(run)  # a lock file belongs into runs only
    with lock_run(run):
        contents = load_contents(run)
        return _write_report(run, contents, PhotoReader(photos, contents.examples.values(), find_faces))


def _write_report(run: Path, contents: RunContents, photos: PhotoReader) -> Path:
    curves = [curve_section(curve) for curve in learning_curves(contents.results)]
    html = render_page("run/page.html", _page_values(contents, curves, photos), styles=_STYLES)
    path = run / REPORT
    # A description can contain a lone surrogate, which UTF-8 cannot encode; it becomes a question mark.
    atomic_write_bytes(path, html.encode("utf-8", "replace"))
    if curves:
        name = interval_name(contents.results, curves[0].split)
        atomic_write_bytes(run / CURVE, render_curve(curves[0], name).encode("utf-8"))
    return path


def _page_values(
    contents: RunContents, curves: Sequence[CurveSection], photos: PhotoReader
) -> dict[str, object]:
    scores, labels = contents.scores, contents.labels
    tables = score_tables([row for row in contents.results.rows if row.train_size is None])
    lowest = lowest_dimension(contents.recipe_section("data").get("name"))
    best, worst = (
        ((), ())
        if scores is None
        else best_and_worst(
            scores,
            contents.examples,
            _NUM_EXAMPLES,
            lowest=lowest,
            photos=photos,
            explanations=contents.explanations,
        )
    )
    return {
        "version": __version__,
        "manifest": contents.manifest,
        "facts": _facts(contents),
        "notice": embedded_notice(contents.manifest.recipe),
        "headline": headline(tables[0], interval_name(contents.results, tables[0].split))
        if tables
        else _curve_headline(contents.results),
        "curves": curves,
        "shown_model": contents.shown_model,
        "interval_name": partial(interval_name, contents.results),
        "interval_kind": contents.results.interval,
        "tables": tables,
        "repeated_evaluations": repeated_evaluations(contents.results.split_accesses),
        "notes": (*contents.results.notes, *_size_notices(contents)),
        "shared_images": [str(found) for found in contents.results.shared_images],
        "differences": difference_tables(
            [item for item in contents.results.differences if item.train_size is None]
        ),
        "labels": label_table(labels, () if scores is None else scores.label_set.labels) if labels else None,
        "label_details": label_details(labels) if any(row.auc is not None for row in labels) else None,
        "label_errors": None if scores is None else label_error_section(scores, contents.usable_calibration),
        "dimensions": dimension_section(contents.results, scores),
        "annotators": annotator_section(
            contents.results.annotators, split=None if scores is None else scores.split
        ),
        "groups": group_section(contents.results.groups, split=None if scores is None else scores.split),
        "made": provenance_section(contents.run, contents.manifest, contents.examples),
        "precision_recall": None if scores is None else precision_recall_section(scores),
        "calibration": _calibration(contents),
        "uncertainty": None
        if scores is None
        else uncertainty_section(
            contents.results.abstention,
            contents.results.prediction_sets,
            split=scores.split,
            exclusive=scores.label_set.exclusive,
        ),
        "descriptions": None if contents.descriptions is None else description_section(contents.descriptions),
        "positive": POSITIVE,
        "best": best,
        "worst": worst,
        "has_explanations": any(card.why for card in (*best, *worst)),
        "photos_note": photos.note,
        "error_browser": None
        if scores is None
        else error_browser(
            scores, contents.examples, contents.usable_calibration, photos, contents.explanations
        ),
    }


def _curve_headline(results: Evaluation) -> str:
    """The result with the most training images; "" without a learning curve."""
    most = max((row.train_size or 0 for row in results.rows), default=0)
    if not most:
        return ""
    (table, *_) = score_tables([row for row in results.rows if row.train_size == most])
    sentence = headline(table, interval_name(results, table.split))
    return f"With {format_count(most)} training images, o{sentence.removeprefix('O')}"


def _calibration(contents: RunContents) -> CalibrationSection | None:
    scores, calibration = contents.scores, contents.usable_calibration
    if scores is None or calibration is None:
        return None
    return calibration_section(scores, calibration, contents.results.calibration)


def _size_notices(contents: RunContents) -> list[str]:
    """Which splits have not as many people as published, once each."""
    name = contents.recipe_section("data").get("name")
    sizes = dict.fromkeys((row.split, row.n) for row in contents.results.rows)
    return [notice for split, n in sizes if (notice := size_notice(name, split, n))]


def _scored_on(contents: RunContents) -> Sequence[tuple[str, str]]:
    """On whom the shown numbers are measured, and what chose the weights."""
    scores, found = contents.scores, []
    if scores is not None:
        people, images = format_count(len(scores)), format_count(len(set(scores.groups)))
        found.append(("Scored on", f"split {scores.split}: {people} people in {images} images"))
    selected = contents.recipe_section("train").get("select_on")
    if selected is not None and contents.recipe_section("zero_shot").get("method") is None:
        found.append(("Weights chosen on", f"split {selected}"))
    return found


def _facts(contents: RunContents) -> tuple[tuple[str, str], ...]:
    """The settings that distinguish runs."""
    data, describe = contents.recipe_section("data"), contents.recipe_section("describe")
    features, model = contents.recipe_section("features"), contents.recipe_section("model")
    zero_shot = contents.recipe_section("zero_shot")
    method = zero_shot.get("method")
    used = (
        ("Described by", _join(describe, "model", "engine")),
        ("Prompt", _join(describe, "prompt")),
        ("Marking", _join(describe, "marking")),
        ("Vision encoder", _join(features, "vision", "fit")),
        ("Fusion", _join(model, "fusion")),
    )
    if method is not None:
        used = (
            ("Scored without training by", _join(describe, "model", "engine")),
            ("Method", _join(zero_shot, "method", *(["answer"] if method == "likelihood" else []))),
            ("Prompt", _join(describe, "prompt") if method == "words" else ""),
            ("Sentence encoder", _join(zero_shot, "encoder") if method == "words" else ""),
            ("Marking", _join(describe, "marking")),
        )
    facts = (
        ("Dataset", f"{dataset_text(contents.manifest.recipe)} (labels: {data.get('label_set', 'unknown')})"),
        *_scored_on(contents),
        *used,
        ("Command", contents.manifest.command),
        ("Started", contents.manifest.created[:16].replace("T", " ") + " UTC"),
        ("Recipe digest", contents.manifest.digest[:12]),
    )
    return tuple((name, value) for name, value in facts if value)


def _join(section: Mapping[str, Any], *keys: str) -> str:
    return ", ".join(str(section[key]) for key in keys if section.get(key) is not None)

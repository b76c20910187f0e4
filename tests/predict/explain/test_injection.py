"""Scripts in labels, descriptions, file names, notes and errors: none runs in the page or the chart."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.chromium import require_inert
from tests.factories.script_injections import INJECTIONS

from mien.errors import UsageError
from mien.evaluate.explanations.heat_map import HeatMap
from mien.predict.explain.counterfactuals import Counterfactual
from mien.predict.explain.explanation import Explanation, LabelExplanation, NamedLabel, WordImportance
from mien.types import ImageRef

SCORES = {label: 1 - number / 1000 for number, label in enumerate(INJECTIONS)}
DESCRIPTION = " ".join(INJECTIONS)


def _words() -> tuple[WordImportance, ...]:
    """One string after another, of alternating importance; every fourth is said to name the label."""
    starts = [0]
    for text in INJECTIONS:
        starts.append(starts[-1] + len(text) + 1)
    return tuple(
        WordImportance(
            word=text,
            start=start,
            end=end - 1,
            occlusion=(-1) ** number * 0.01 * (number % 7),
            gradient=0.1 if number % 2 else None,
            names_label=number % 4 == 0,
        )
        for number, (text, (start, end)) in enumerate(zip(INJECTIONS, pairwise(starts), strict=True))
    )


@pytest.fixture
def explanation(tmp_path: Path) -> Explanation:
    """Every string is a label, a word, a file name, a note, an error, and what is different."""
    Image.new("RGB", (40, 20), (200, 100, 0)).save(tmp_path / "photo.png")
    labels = [
        LabelExplanation(
            label=label,
            score=SCORES[label],
            occlusion=HeatMap(method="occlusion", values=np.array([[0.4, -0.2]])),
        )
        for label in INJECTIONS
    ]
    labels[0] = LabelExplanation(
        label=INJECTIONS[0],
        score=1.0,
        words=_words(),
        naming=NamedLabel(num_mentions=2, bonus=1.0, drop=0.2, drop_of_bonus=0.1),
        attention=HeatMap(method="attention", values=np.array([[0.5, 0.5]])),
        occlusion=HeatMap(method="occlusion", values=np.array([[0.4, -0.2]])),
    )
    different = [
        Counterfactual(kind="description", what=text, scores=SCORES, description=f"{text}.")
        for text in INJECTIONS[:6]
    ]
    failed = [
        Counterfactual(kind="other_box", what=text, error=UsageError(text, hint=text)) for text in INJECTIONS
    ]
    return Explanation(
        source=DESCRIPTION,
        image=ImageRef(path=tmp_path / "photo.png"),
        person=0,
        box=None,
        scores=SCORES,
        description=DESCRIPTION,
        labels=tuple(labels),
        attention_shares=None,
        counterfactuals=(*different, *failed),
        notes=INJECTIONS,
    )


def test_no_script_runs_in_the_page(explanation: Explanation, tmp_path: Path) -> None:
    page, *_ = (path for path in explanation.save(tmp_path / "out") if path.suffix == ".html")
    require_inert(page, INJECTIONS)


def test_no_script_runs_in_a_notebook(explanation: Explanation, tmp_path: Path) -> None:
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><title>x</title>{explanation._repr_html_()}", encoding="utf-8")
    require_inert(page, INJECTIONS)


def test_no_script_runs_in_the_chart(explanation: Explanation, tmp_path: Path) -> None:
    chart = explanation.plot(top=len(INJECTIONS))
    chart.save(tmp_path / "chart.svg")
    require_inert(tmp_path / "chart.svg", INJECTIONS)

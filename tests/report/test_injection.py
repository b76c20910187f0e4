"""Scripts in names, ids, descriptions and messages: none runs in Chromium, and pages show them as text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.factories.chromium import chromium, open_page, require_inert
from tests.factories.datasets import InMemoryDataset, image_record
from tests.factories.script_injections import INJECTIONS

from mien.data.audit.agreement import measure_agreement
from mien.data.audit.summary import summarize
from mien.data.audit.verify import verify
from mien.data.dataset import Record
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.results.results import EVALUATION, read_results
from mien.evaluate.results.votes import Votes
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.recipe import EvaluateOptions, Recipe
from mien.report.audit.page import write_audit_report
from mien.report.run.page import write_report
from mien.runs import Run
from mien.types import Box, Sample, Subject, Target


def _shifted(by: int) -> tuple[str, ...]:
    """The strings in another order, so that each stands in several places of a page."""
    return INJECTIONS[by:] + INJECTIONS[:by]


def _run(path: Path) -> Path:
    """A run with a script wherever a user, a file, a model or an error can put text."""
    recipe = Recipe(name=INJECTIONS[0])
    describe = recipe.to_json()["describe"]
    assert isinstance(describe, dict)
    resolved = {
        **recipe.to_json(),
        "data": {"name": INJECTIONS[1], "label_set": INJECTIONS[2]},
        "describe": {**describe, "model": INJECTIONS[3], "prompt": INJECTIONS[4]},
    }
    Run.create(path, command=INJECTIONS[5], recipe=resolved, digest=recipe.digest())
    labels = LabelSet(name=INJECTIONS[6], labels=INJECTIONS, exclusive=False)
    # File names that do not exist: the message of the error has them.
    names = [text.replace("/", "\N{DIVISION SLASH}").replace("\0", "") for text in _shifted(40)]
    box = Box(left=1, top=1, right=9, bottom=9)
    samples = [
        Sample(subject=Subject.still(id, path / name, box), target=Target(labels={label: 1.0}), split="test")
        for id, name, label in zip(_shifted(80), names, INJECTIONS, strict=True)
    ]
    ids = tuple(sample.subject.id for sample in samples)
    scores = np.random.default_rng(0).random((len(ids), len(labels))).astype(np.float32)
    found = SplitScores(
        split="test",
        label_set=labels,
        ids=ids,
        groups=ids,
        scores=scores,
        targets=np.eye(len(ids), dtype=np.float32),
    )
    votes = {id: Votes(annotators=3, chosen={label: 2}) for id, label in zip(ids, INJECTIONS, strict=True)}
    save_split(path, found, samples, dict(zip(ids, _shifted(120), strict=True)), votes=votes)
    write_evaluation(path, [found], name=INJECTIONS[7], seed=0, options=EvaluateOptions(bootstrap=20))
    results = json.loads((path / EVALUATION).read_text())
    results["notes"] = list(_shifted(160))
    (path / EVALUATION).write_text(json.dumps(results))
    assert read_results(path / EVALUATION).notes == _shifted(160)
    return path


def test_there_are_200_strings_and_they_run_where_they_are_not_escaped(tmp_path: Path) -> None:
    assert len(set(INJECTIONS)) == 200
    (tmp_path / "x.html").write_text(f"<!doctype html><title>x</title>{INJECTIONS[3]}", encoding="utf-8")
    with chromium() as browser, open_page(browser, tmp_path / "x.html", scripts=True) as (page, events):
        assert page.evaluate("window.ran") == 1
        assert (events.dialogs, events.console[-1]) == (["1"], "1")


def test_no_script_runs_in_the_report_of_a_run(tmp_path: Path) -> None:
    require_inert(write_report(_run(tmp_path / "run")), INJECTIONS)


@pytest.mark.parametrize("mode", ["blurred", "none"])
def test_no_script_runs_with_photos_changed(tmp_path: Path, mode: str) -> None:
    page = write_report(_run(tmp_path / "run"), photos="blurred" if mode == "blurred" else "none")
    require_inert(page, INJECTIONS)


def test_no_script_runs_in_an_audit(tmp_path: Path) -> None:
    records: list[Record] = [
        image_record(id, tmp_path / text.replace("/", "\N{DIVISION SLASH}")[:200], label)
        for id, text, label in zip(INJECTIONS, _shifted(40), _shifted(80), strict=True)
    ]
    dataset = InMemoryDataset(
        {"train": records}, label_set=LabelSet(name=INJECTIONS[0], labels=INJECTIONS, exclusive=False)
    )
    page, _ = write_audit_report(
        tmp_path / "out", dataset, summarize(dataset), measure_agreement(dataset), verify(dataset, workers=1)
    )
    require_inert(page, INJECTIONS)

"""Stores, runs and feature caches that version 0.1.0 wrote still open, and mean the same."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.playhouse_1 import use_playhouse_1

from mien.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures" / "0.1.0"
WRITTEN_AT = "/data/mien-0.1.0/runs"  # run directories of 0.1.0 record absolute paths
Json = Callable[..., dict[str, Any]]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixtures, with the recorded paths changed to where the copy is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_playhouse_1(monkeypatch)
    shutil.copytree(FIXTURES, tmp_path / "runs")
    for manifest in (tmp_path / "runs").glob("*/manifest.json"):
        manifest.write_text(manifest.read_text().replace(WRITTEN_AT, str(tmp_path / "runs")))
        # The sidecars are here to be compared; the arrays are not committed.
        shutil.rmtree(manifest.parent / "features")
    return tmp_path / "runs"


@pytest.fixture
def mien(capsys: pytest.CaptureFixture[str]) -> Json:
    """mien("evaluate", run): what a command prints as JSON."""

    def call(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([str(argument) for argument in (*arguments, "--json")]) == exit_code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


def test_no_subject_of_a_store_is_described_again(runs: Path, mien: Json) -> None:
    summary = mien("describe", runs / "tiny.toml", "--out", runs / "tiny")
    assert (summary["described"], summary["already_described"], summary["failed"]) == (0, 20, 0)


def test_failures_of_a_store_are_kept_with_their_reason(runs: Path, mien: Json) -> None:
    with sqlite3.connect(runs / "failing" / "descriptions.sqlite") as store:
        assert store.execute("SELECT count(*) FROM failures").fetchone() == (1,)
    # The engine that failed was the same one: its options do not enter the key.
    status = mien("describe", "status", runs / "tiny.toml", "--out", runs / "failing")
    test = status["splits"]["test"]
    assert (test["described"], test["missing"]) == (5, 0)
    assert test["failed"] == {"subject ... was refused": 1}
    again = mien("describe", runs / "tiny.toml", "--out", runs / "failing", "--retry-failed")
    assert (again["described"], again["already_described"], again["failed"]) == (1, 19, 0)


@pytest.mark.parametrize("name", ["tiny", "views"])
def test_a_run_scores_as_before(runs: Path, mien: Json, name: str) -> None:
    recorded = json.loads((runs / name / "evaluation.json").read_text())
    again = mien("evaluate", runs / name, "--split", "test")
    assert [row["metric"] for row in again["rows"]] == [row["metric"] for row in recorded["rows"]]
    before = np.load(FIXTURES / name / "scores-test.npz")
    after = np.load(runs / name / "scores-test.npz")
    for array in ("scores", "targets", "dimensions", "dimension_targets"):
        # Processors differ in the last digits of a score.
        np.testing.assert_allclose(after[array], before[array], atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "views"])
def test_cached_features_keep_their_names(runs: Path, mien: Json, name: str) -> None:
    mien("evaluate", runs / name, "--split", "test")
    (recorded,) = (FIXTURES / name / "features").glob("*/test.json")
    (made,) = (runs / name / "features").glob("*/test.json")
    assert made.parent.name == recorded.parent.name
    before, after = json.loads(recorded.read_text()), json.loads(made.read_text())
    assert {key: after[key] for key in before} == before


def test_runs_are_compared_and_reported(runs: Path, mien: Json) -> None:
    compared = mien("compare", runs / "tiny", runs / "views")
    assert {row["name"] for row in compared["rows"]} == {"tiny", "views"}
    assert main(["report", str(runs / "tiny")]) == 0
    assert "<html" in (runs / "tiny" / "report.html").read_text()


def test_descriptions_are_exported(runs: Path) -> None:
    store, out = runs / "tiny" / "descriptions.sqlite", runs / "texts.jsonl"
    assert main(["describe", "export", str(store), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 20
    assert all(row["text"].endswith(").") for row in rows)

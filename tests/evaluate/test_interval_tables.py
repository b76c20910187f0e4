"""The tables about intervals in the docs are those of the committed simulations."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "intervals.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("intervals_benchmark", ROOT / "benchmarks" / "intervals.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("bias_table", "2026-11-29-interval-coverage.json"),
        ("coverage_table", "2026-11-29-interval-coverage.json"),
    ],
)
def test_a_table_of_the_page_is_that_of_the_results(script: ModuleType, table: str, file: str) -> None:
    found = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    lines = getattr(script, table)(found)
    assert len(lines) > 4
    assert "\n".join(lines) in PAGE


def test_from_100_people_on_intervals_cover_nearly_95_percent() -> None:
    parts = json.loads((RESULTS / "2026-11-29-interval-coverage.json").read_text(encoding="utf-8"))["parts"]
    covered = [
        (part, row["quantity"], row["kinds"]["centered"]["same_size"])
        for part, rows in parts.items()
        for row in rows
        if not part.endswith(", 50 people") and not row["quantity"].startswith("AP of")
    ]
    assert len(covered) >= 30
    assert min(share for *_, share in covered) >= 0.9
    assert sum(share for *_, share in covered) / len(covered) >= 0.93

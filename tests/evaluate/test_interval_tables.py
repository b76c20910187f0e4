"""The tables about intervals in the docs are those of the committed simulations."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "intervals.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def script() -> Mapping[str, Any]:
    """What the benchmark defines."""
    return runpy.run_path(str(ROOT / "benchmarks" / "intervals.py"), run_name="intervals")


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("bias_table", "2026-11-29-interval-coverage.json"),
        ("coverage_table", "2026-11-29-interval-coverage.json"),
        ("power_table", "2026-11-29-interval-power.json"),
    ],
)
def test_a_table_of_the_page_is_that_of_the_results(script: Mapping[str, Any], table: str, file: str) -> None:
    found = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    lines = script[table](found)
    assert len(lines) > 4
    assert "\n".join(lines) in PAGE


def _kind(quantity: str) -> str:
    return "percentile" if quantity.startswith("difference") else "centered"


def test_from_100_people_on_intervals_cover_nearly_95_percent() -> None:
    parts = json.loads((RESULTS / "2026-11-29-interval-coverage.json").read_text(encoding="utf-8"))["parts"]
    covered = [
        (part, row["quantity"], row["kinds"][_kind(row["quantity"])]["same_size"])
        for part, rows in parts.items()
        for row in rows
        if not part.endswith(", 50 people") and not row["quantity"].startswith("AP of")
    ]
    assert len(covered) >= 30
    assert min(share for *_, share in covered) >= 0.88
    assert sum(share for *_, share in covered) / len(covered) >= 0.93


def test_power_was_checked_with_intervals() -> None:
    parts = json.loads((RESULTS / "2026-11-29-interval-power.json").read_text(encoding="utf-8"))["parts"]
    assert len(parts) == 9
    assert all(0.7 <= part["check"]["above_zero"] <= 0.92 for part in parts.values())

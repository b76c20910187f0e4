"""The tables of a run have the numbers of its page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.factories.html_pages import read_page
from tests.report.conftest import make_demo_run
from tests.report.tables.test_write import parse_latex

from mien.cli import main
from mien.report.run.contents import load_contents
from mien.report.tables.of_run import run_tables


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of enough people for pairs of errors, and its tables."""
    folder = tmp_path_factory.mktemp("exported")
    make_demo_run(folder / "run", count=120, seeds=(0,))
    assert main(["report", str(folder / "run"), "--tables", str(folder / "tables")]) == 0
    return folder


def _frame(exported: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(exported / "tables" / f"{name}.csv", keep_default_na=False, dtype=str)


def test_every_table_of_the_page_is_a_file(exported: Path) -> None:
    names = {path.stem for path in (exported / "tables").iterdir()}
    assert names == {
        *("scores", "differences", "labels", "error-pairs", "dimensions", "calibration"),
        *("annotators", "abstention", "prediction-sets", "made"),
    }
    for name in names:
        rows = parse_latex((exported / "tables" / f"{name}.tex").read_text(encoding="utf-8"))
        assert len(rows) == len(_frame(exported, name)) + 1


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("scores", ["Score", "95% interval low", "95% interval high", "Chance"]),
        ("differences", ["First minus second", "95% interval low"]),
        ("labels", ["AP", "95% interval low", "Share", "AUC", "F1"]),
        ("annotators", ["Score", "95% interval low", "95% interval high", "Chance", "Labels"]),
        ("dimensions", ["Error", "95% interval high", "R2"]),
        ("calibration", ["Before", "After", "95% interval of the change low"]),
        ("prediction-sets", ["Found", "Labels in a set"]),
        ("abstention", ["Accuracy"]),
    ],
)
def test_its_numbers_are_those_of_the_page(exported: Path, name: str, columns: list[str]) -> None:
    text = read_page(exported / "run" / "report.html").text.replace("\N{MINUS SIGN}", "-")
    frame = _frame(exported, name)
    assert len(frame)
    for column in columns:
        cells = [cell for cell in frame[column] if cell]
        assert cells
        assert [cell for cell in cells if cell not in text] == []


def test_pairs_of_errors_are_those_of_the_page(exported: Path) -> None:
    text = read_page(exported / "run" / "report.html").text
    frame = _frame(exported, "error-pairs")
    for _, kind in frame.groupby("Kind"):
        for row in kind.head(8).to_dict("records"):
            assert f"{row['First']}{row['Second']}{row['People']}{row['Expected']}" in text.replace(
                " ", ""
            ).replace("\n", "")


def test_the_first_table_of_a_paper_can_be_read_as_numbers(exported: Path) -> None:
    frame = pd.read_csv(exported / "tables" / "scores.csv")
    assert frame["Score"].dtype == float
    assert (frame["95% interval low"] <= frame["Score"]).all()
    assert frame["Subjects"].dtype == int


def test_tables_without_rows_are_left_out(demo_run: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "results.json"):
        (tmp_path / name).write_bytes((demo_run / name).read_bytes())
    assert [table.name for table in run_tables(load_contents(tmp_path))] == [
        "scores",
        "differences",
        "labels",
        "made",
    ]

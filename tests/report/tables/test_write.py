"""Tables as CSV, read back with pandas, and as LaTeX, of which the structure is parsed."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.report.tables.table import Column, Table
from mien.report.tables.write import csv_text, latex_text, write_tables

COLUMNS = (
    Column(name="Model"),
    Column(name="Score", kind="number"),
    Column(name="95% interval", kind="interval", signed=True),
    Column(name="People", kind="count"),
)
TABLE = Table(
    name="scores",
    caption="Scores & chance_levels",
    columns=COLUMNS,
    rows=(
        ("fused", 0.45678, (-0.01, 0.025), 7203),
        ("image_only", 1, (None, None), 5),
        ("none", None, None, None),
    ),
)
HOSTILE = (
    '=HYPERLINK("http://evil.example")',
    "+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    r"\input{/etc/passwd} \write18{id}",
    "}}\\end{tabular}",
    "a & b \\\\ % c",
    "[0.5ex] x",
    "*",
    "$x^2_3$ #1 ~ <b> |",
    'quo"te, comma\nline',
    "nul\0 half \ud83d",
)


def parse_latex(text: str) -> list[list[str]]:
    """The cells of each row; AssertionError where braces, environments or the number of cells do not fit."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\(?:[{}$&#%_,]|textbackslash\{\}|\\)", "", body)
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\(begin|end)\{(\w+)\}", body) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    layout = re.search(r"\\begin\{tabular\}\{([lr]+)\}", body)
    assert layout is not None
    inside = body[layout.end() : body.index(r"\end{tabular}")]
    assert [inside.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    rows = [line.strip() for line in inside.splitlines() if line.strip().endswith(r"\\")]
    cells = [re.split(r"(?<!\\)&", row.removesuffix(r"\\")) for row in rows]
    assert {len(row) for row in cells} == {len(layout[1])}
    commands = set(re.findall(r"\\([A-Za-z]+)", inside))
    assert commands <= {
        *("toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde", "textasciicircum"),
        *("textless", "textgreater", "textbar"),
    }
    assert not any(row.startswith(("[", "*")) for row in rows)
    return [[cell.strip() for cell in row] for row in cells]


def test_numbers_have_the_digits_of_the_page() -> None:
    frame = pd.read_csv(io.StringIO(csv_text(TABLE)))
    assert list(frame.columns) == ["Model", "Score", "95% interval low", "95% interval high", "People"]
    assert frame.iloc[0].tolist() == ["fused", 0.457, -0.01, 0.025, 7203]
    assert csv_text(TABLE).splitlines()[1:] == [
        "fused,0.457,-0.010,0.025,7203",
        "image_only,1.000,,,5",
        "none,,,,",
    ]
    assert parse_latex(latex_text(TABLE)) == [
        ["Model", "Score", r"95\% interval", "People"],
        ["fused", "$0.457$", "$[-0.010, +0.025]$", r"7\,203"],
        [r"image\_only", "$1.000$", "--", "5"],
        ["none", "--", "--", "--"],
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_is_neither_a_formula_nor_a_command(text: str) -> None:
    table = Table(
        name="x", caption=text, columns=(Column(name=text), Column(name="n", kind="count")), rows=((text, 1),)
    )
    cells = [cell for row in csv.reader(io.StringIO(csv_text(table))) for cell in row]
    assert len(cells) == 4
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\n")) for cell in cells)
    assert len(parse_latex(latex_text(table))) == 2
    csv_text(table).encode()
    latex_text(table).encode()


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_text_gives_a_table(texts: list[str]) -> None:
    table = Table(
        name="x",
        caption=texts[0],
        columns=(Column(name="a"), Column(name="b", kind="count")),
        rows=tuple((text, index) for index, text in enumerate(texts)),
    )
    assert len(parse_latex(latex_text(table))) == len(texts) + 1
    rows = list(csv.reader(io.StringIO(csv_text(table))))
    assert [row[1] for row in rows[1:]] == [str(index) for index in range(len(texts))]


def test_files_are_named_after_tables(tmp_path: Path) -> None:
    written = write_tables([TABLE], tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["scores.csv", "scores.tex"]
    assert r"\label{tab:scores}" in written[1].read_text(encoding="utf-8")
    assert r"\caption{Scores \& chance\_levels}" in written[1].read_text(encoding="utf-8")

"""Writes tables as CSV and as LaTeX (booktabs), with the numbers of the page.

Text in them comes from datasets and models. In CSV, no cell is a formula; in LaTeX, none is a command.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from mien.describe.store.export import escape_cell
from mien.files import atomic_write_text, make_folder
from mien.report.tables.table import Column, Table, Value

__all__ = ["csv_text", "latex_text", "write_tables"]

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{MINUS SIGN}": "$-$",
}


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Writes NAME.csv and NAME.tex of each table into a folder, and returns their paths.

    Raises:
        DataError: The folder cannot be made, or a file cannot be written.
    """
    make_folder(folder)
    written = []
    for table in tables:
        for suffix, text in ((".csv", csv_text(table)), (".tex", latex_text(table))):
            path = folder / f"{table.name}{suffix}"
            atomic_write_text(path, text)
            written.append(path)
    return written


# --- CSV -----------------------------------------------------------------------------------------------


def csv_text(table: Table) -> str:
    """A header and a line per row; an interval is two columns, and what is not known is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([escape_cell(_plain(name)) for column in table.columns for name in _csv_names(column)])
    for row in table.rows:
        writer.writerow([cell for pair in zip(table.columns, row, strict=True) for cell in _csv_cells(*pair)])
    return file.getvalue()


def _csv_names(column: Column) -> Sequence[str]:
    return (f"{column.name} low", f"{column.name} high") if column.kind == "interval" else (column.name,)


def _csv_cells(column: Column, value: Value) -> Iterator[str]:
    if isinstance(value, tuple):
        yield from ("" if bound is None else f"{bound:.{column.digits}f}" for bound in value)
    elif value is None:
        yield from ("" for _ in _csv_names(column))
    else:
        yield escape_cell(_plain(value)) if isinstance(value, str) else f"{value:.{_digits(column)}f}"


def _digits(column: Column) -> int:
    return 0 if column.kind == "count" else column.digits


def _plain(text: str) -> str:
    """Text on one line that every encoding can write."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line.encode("utf-8", "replace").decode()


# --- LaTeX ---------------------------------------------------------------------------------------------


def latex_text(table: Table) -> str:
    r"""A `table` environment with the label `tab:NAME`; the document needs `\usepackage{booktabs}`."""
    layout = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    lines = [_line(_escape(column.name) for column in table.columns)]
    rows = [_line(_latex_cell(*pair) for pair in zip(table.columns, row, strict=True)) for row in table.rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escape(table.caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{layout}}}",
            r"    \toprule",
            *(f"    {line}" for line in lines),
            r"    \midrule",
            *(f"    {line}" for line in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    line = " & ".join(cells)
    # After the end of a row, LaTeX takes a bracket or a star for an option of it.
    return (f"{{}}{line}" if line.lstrip().startswith(("[", "*")) else line) + r" \\"


def _latex_cell(column: Column, value: Value) -> str:
    if value is None:
        return "--"
    if isinstance(value, str):
        return _escape(value)
    if isinstance(value, tuple):
        low, high = value
        if low is None or high is None:
            return "--"
        return f"$[{_latex_number(column, low)}, {_latex_number(column, high)}]$"
    if column.kind == "count":
        return f"{value:,}".replace(",", r"\,")
    return f"${_latex_number(column, value)}$"


def _latex_number(column: Column, value: float) -> str:
    return f"{value:{'+' if column.signed else ''}.{column.digits}f}"


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in _plain(text))

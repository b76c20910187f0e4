"""Reads CSV strictly: no row is merged with another, cut or filled up silently.

Python's reader accepts a quote that is never closed, which joins all rows below it into one cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.text_files import MAX_LINE, open_text, read_lines
from mien.errors import ManifestError

__all__ = ["CsvRow", "read_csv_rows", "read_header"]

_DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # Excel's
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_QUOTES: Final = 'close its quote; write a quote within a cell twice, as in ""'


class CsvRow(NamedTuple):
    """A row: the lines that it takes, and its cells or why they cannot be used."""

    first_line: int
    last_line: int
    cells: list[str]
    error: str = ""


@dataclass
class _Progress:
    """What the lines that the csv module has asked for so far have told."""

    length: int = 0
    has_nul: bool = False


def read_header(path: Path, known: Collection[str]) -> tuple[list[str], str]:
    """The column names of a file, and its delimiter: the one that gives the most `known` names.

    Names are compared without case and outer spaces, but returned unchanged.
    """
    first = _first_line(path)
    if first is None:
        raise ManifestError(f"{path} has no rows", hint="the first line names the columns")
    number, text, delimiter = first
    if delimiter is None:
        folded = {name.casefold() for name in known}
        delimiter = max(
            _DELIMITERS,
            key=lambda mark: sum(name.strip().casefold() in folded for name in _split(text, mark)),
        )
    header = _split(text, delimiter)
    names = [name.strip().casefold() for name in header if name.strip()]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ManifestError(
            f"{path}, line {number}: two columns are named {twice[0]!r}", hint="rename or remove one of them"
        )
    return header, delimiter


def read_csv_rows(path: Path, *, delimiter: str = ",", num_cells: int | None = None) -> Iterator[CsvRow]:
    """The rows, including the header, without blank ones and Excel's line `sep=`.

    Args:
        path: The file.
        delimiter: What separates cells.
        num_cells: How many cells each row has. A row with another number has an `error`.

    Raises:
        ManifestError: A quote is not closed before the end of the file, or a line is too long.
    """
    # Process-wide; the default of 131,072 refuses long cells. Lines are bounded here.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    progress = _Progress()
    reader = csv.reader(_checked_lines(path, progress), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        progress.length, progress.has_nul = 0, False
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise ManifestError(
                    f"{path}, line {first}: a cell's quote is not closed before the end of the file",
                    hint=_QUOTES,
                ) from error
            last = reader.line_num
            yield CsvRow(first, last, [], f"{_span(first, last)}{error}; {_QUOTES}")
            continue
        if not any(cells) or (first == 1 and _SEPARATOR_LINE.fullmatch(delimiter.join(cells).strip())):
            continue
        if num_cells is not None and len(cells) > num_cells and not any(cells[num_cells:]):
            del cells[num_cells:]  # each row ends with a separator
        row = CsvRow(first, reader.line_num, cells)
        if row.last_line > first or progress.has_nul or num_cells not in (None, len(cells)):
            row = row._replace(error=_row_error(row, delimiter, num_cells, has_nul=progress.has_nul))
        yield row


def _checked_lines(path: Path, progress: _Progress) -> Iterator[str]:
    number = 0
    with open_text(path, newline="") as file:
        while text := file.readline(MAX_LINE + 1):
            number += 1
            progress.length += len(text)
            if progress.length > MAX_LINE:
                raise ManifestError(
                    f"{path}, line {number}: a row has more than {MAX_LINE:,} characters", hint=_QUOTES
                )
            if "\0" in text:
                progress.has_nul = True
            yield text


def _row_error(row: CsvRow, delimiter: str, num_cells: int | None, *, has_nul: bool) -> str:
    first, last, cells, _ = row
    if has_nul:
        return f"{_span(first, last)}a cell has a NUL character; save the file again"
    if num_cells is not None and len(cells) != num_cells:
        more = "; quote cells that contain the separator" if len(cells) > num_cells else ""
        amount = "more" if len(cells) > num_cells else "fewer"
        return f"{amount} cells than the header: {len(cells)}, not {num_cells}{more}"
    if any(_looks_merged(cell, index, len(cells), delimiter) for index, cell in enumerate(cells)):
        return f"{_span(first, last)}a quoted cell holds what looks like another row; {_QUOTES}"
    return ""


def _looks_merged(cell: str, index: int, num_cells: int, delimiter: str) -> bool:
    """Whether the quote of a cell was closed in a later row.

    Then its first line has the rest of the cells of its row, and its last line as many as are before it. JSON
    may have several lines.
    """
    if cell.lstrip().startswith(("{", "[")):
        return False
    lines = _LINE_END.split(cell)
    if len(lines) < 2:
        return False
    return lines[0].count(delimiter) == num_cells - 1 - index and lines[-1].count(delimiter) == index


def _first_line(path: Path) -> tuple[int, str, str | None] | None:
    """The first line that is not blank, with its number, and the delimiter if the file states it."""
    delimiter = None
    for number, text in read_lines(path):
        if text is None:
            raise ManifestError(f"{path}, line {number} has more than {MAX_LINE:,} characters", hint=_QUOTES)
        match = _SEPARATOR_LINE.fullmatch(text.strip(" \r\n")) if number == 1 else None
        if match is not None:
            delimiter = match[1]
        elif text.strip(" ,;|\t\r\n"):
            return number, text, delimiter
    return None


def _split(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _span(first: int, last: int) -> str:
    return f"lines {first} to {last}: " if last > first else f"line {first}: "

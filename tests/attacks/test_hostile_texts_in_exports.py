"""`mien describe export` of any text: common readers get every row back, and no cell is a formula."""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from pyarrow import parquet

from mien.cli import main
from mien.describe.store.export import COLUMNS, read_export
from mien.describe.store.store import Store
from mien.types import Description

TEXTS = (
    *("a\nb", "a\r\nb", "a\rb", "\n", "\r", "\u2028\u2029\x85\x0b\x0c", "\t", " ends with spaces  "),
    *('"', '""', '","', "a,b;c\td", "'", "''", "\\", '\\"', "a|b"),
    *("\0", "a\0b", "\x1b[31mred", "\x1a", "\x7f"),
    *(
        "\ufeff",
        "\ufeffcalm",
        "\ufeff=1+1",
        "\ufffe",
        "\uffff",
        "\U0010ffff",
        "e\u0301",
        "\u202eright to left",
    ),
    *("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/c calc'!A0", "\t=1", "\r=1", "'=1"),
    *("", " ", "null", "NA", "NaN", "None", "1e5", "007", "true", "[1]", "{}", "#N/A", "//", "#"),
    *("\ud800", "\udcff.jpg", "a" * 1_000_000, "\n" * 1_000_000, '"' * 1_000_000),
)


def from_csv(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as file:
        return [unescaped(row) for row in csv.DictReader(file, strict=True)]


def from_jsonl(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def from_parquet(path: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = parquet.read_table(path).to_pylist()
    return rows


def unescaped(row: dict[str, str]) -> dict[str, str]:
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    return {name: cell.removeprefix("'") for name, cell in row.items()}


@pytest.mark.parametrize(
    ("name", "read"),
    [("a.csv", from_csv), ("a.jsonl", from_jsonl), ("a.parquet", from_parquet)],
)
def test_every_text_is_read_back(
    tmp_path: Path, name: str, read: Callable[[Path], list[dict[str, str]]]
) -> None:
    store, out = tmp_path / "store.sqlite", tmp_path / name
    with Store(store) as file:
        file.put(
            Description(
                key=f"{number:03}",
                subject_id=text[:1000] or "s",
                text=text,
                prompt_id="paper",
                engine="fake@1",
                finish="stop",
            )
            for number, text in enumerate(TEXTS)
        )
    assert main(["describe", "export", str(store), "--out", str(out)]) == 0
    with Store(store, writable=False) as file:
        rows = list(file)
    # Lone surrogates cannot be written as UTF-8; the store has escaped them.
    assert [row.text for row in rows] == [text.encode(errors="backslashreplace").decode() for text in TEXTS]
    assert read(out) == [asdict(row) for row in rows]
    assert list(read_export(out)) == rows
    assert tuple(read(out)[0]) == COLUMNS

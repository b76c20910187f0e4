"""Exports are read back exactly for any text, and a spreadsheet finds no formula in them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.describe.store.export import COLUMNS, FORMATS, read_export, write_export
from mien.describe.store.store import Store
from mien.errors import DataError
from mien.types import Description

# Any text without lone surrogates, which the store escapes.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NASTY = (
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'", "''", "'=1", '"', '""', '","', ",", ";"),
    *(
        "",
        " ",
        " = 1 ",
        "a\r\nb",
        "a\rb",
        "a\nb",
        "\0",
        "a\0b",
        "\ufeff",
        "\u2028",
        "\x85",
        "\x1c",
        "é",
        "😀",
        "\\",
    ),
    *("null", "NaN", "1e5", "true", "\x1a", "x" * 200_000),
)


def description(text: str, key: str = "k", subject_id: str = "s") -> Description:
    return Description(
        key=key, subject_id=subject_id, text=text, prompt_id="paper", engine="fake@1", finish="length"
    )


@pytest.mark.parametrize("format_", FORMATS)
@given(texts=st.lists(st.tuples(TEXT, TEXT.filter(bool)), max_size=5))
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, format_: str, texts: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("e") / f"out.{format_}"
    put = [description(text, f"k{number}", name) for number, (text, name) in enumerate(texts)]
    assert write_export(path, put) == len(put)
    assert list(read_export(path)) == put


@pytest.mark.parametrize("format_", FORMATS)
def test_hostile_texts_are_read_back(tmp_path: Path, format_: str) -> None:
    put = [description(text, f"k{number}") for number, text in enumerate(NASTY)]
    write_export(tmp_path / f"out.{format_}", put)
    assert list(read_export(tmp_path / f"out.{format_}")) == put


@pytest.mark.parametrize("format_", FORMATS)
def test_a_store_is_read_back_with_lone_surrogates_escaped(tmp_path: Path, format_: str) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        store.put(
            description(text, f"k{number:02}", text or "s") for number, text in enumerate([*NASTY, "\ud800"])
        )
        write_export(tmp_path / f"out.{format_}", store)
        assert list(read_export(tmp_path / f"out.{format_}")) == list(store)


@given(text=TEXT)
def test_no_csv_cell_is_a_formula(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("e") / "out.csv"
    write_export(path, [description(text, subject_id=f"={text}")])
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file, strict=True)
    assert tuple(header) == COLUMNS
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_any_reader_finds_one_row_per_line_of_jsonl(tmp_path: Path) -> None:
    write_export(tmp_path / "out.jsonl", [description("a\u2028b\x85c\nd")] * 3)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a\u2028b\x85c\nd"] * 3


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_are_written_as_they_are_read(tmp_path: Path, format_: str) -> None:
    alive = most = 0

    class Counted(str):
        __slots__ = ()

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Iterator[Description]:
        nonlocal alive, most
        for number in range(5000):
            alive += 1
            most = max(most, alive)
            yield description(Counted("calm"), f"k{number}")

    write_export(tmp_path / f"out.{format_}", stream())
    assert most <= 2000


@pytest.mark.parametrize("format_", FORMATS)
def test_a_failed_export_leaves_only_the_old_file(tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"out.{format_}"
    write_export(path, [description("old")])

    def broken() -> Iterator[Description]:
        yield description("new")
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError):
        write_export(path, broken())
    assert [row.text for row in read_export(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not name an export format") as caught:
        write_export(tmp_path / "out.xlsx", [])
    assert ".csv" in caught.value.hint


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_export(tmp_path / "no" / "out.csv", [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"name,age\nx,1\n"),
        ("a.jsonl", b"{"),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl", b'{"key": "k"}'),
        ("a.parquet", b"PAR1"),
    ],
)
def test_a_file_that_is_not_an_export_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="not an export of descriptions"):
        list(read_export(tmp_path / name))

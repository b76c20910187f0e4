"""Parsed tables in the cache: parsed once, and again if a cached file is missing or damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mien.data.table_cache import CachedTables, ParsedTables, RowProblem
from mien.errors import DataError
from mien.types import Problem

PROBLEM = Problem(kind="bad_row", file="a.csv, row 2", message="no number")


class Source:
    """A file, and a parser that counts its calls."""

    def __init__(self, folder: Path) -> None:
        self.file, self.cache, self.calls = folder / "a.csv", folder / "cache", 0
        self.file.write_text("1")

    def open(self, **how: str) -> CachedTables:
        def parse() -> ParsedTables:
            self.calls += 1
            rows = [{"name": self.file.read_text(), "number": number} for number in range(3)]
            tables = {"train": pa.Table.from_pylist(rows), "test": pa.Table.from_pylist(rows[:1])}
            problems = [RowProblem("train", PROBLEM, True), RowProblem("test", PROBLEM, False)]
            return ParsedTables(tables, problems)

        return CachedTables.open(
            self.cache, name="a", version=1, sources=[self.file], options={**how} or None, parse=parse
        )

    @property
    def folder(self) -> Path:
        (folder,) = (self.cache / "tables").iterdir()
        return folder


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_tables_and_problems_are_read_back(source: Source) -> None:
    tables = source.open()
    assert tables.splits == ("test", "train")
    assert [row["number"] for row in tables.rows("train")] == [0, 1, 2]
    assert [row["number"] for row in tables.rows("test")] == [0]
    assert tables.problems() == [PROBLEM, PROBLEM]
    assert tables.problems("train", unusable_only=True) == [PROBLEM]
    assert tables.problems("test", unusable_only=True) == []


def test_files_are_parsed_once_per_content_and_options(source: Source) -> None:
    source.open()
    source.open()
    assert source.calls == 1
    source.open(form="csv")
    assert source.calls == 2
    source.file.write_text("2")
    assert next(source.open().rows("train"))["name"] == "2"
    assert source.calls == 3


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _clear(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_delete, _truncate, _clear])
@pytest.mark.parametrize("name", ["train.parquet", ".problems.parquet", "index.json"])
def test_an_incomplete_cache_entry_is_replaced(
    source: Source, name: str, damage: Callable[[Path], None]
) -> None:
    source.open()
    damage(source.folder / name)
    tables = source.open()
    assert source.calls == 2
    assert tables.splits == ("test", "train")
    assert len(list(tables.rows("train"))) == 3
    assert len(tables.problems()) == 2
    assert [path.name for path in (source.cache / "tables").iterdir()] == [source.folder.name]


def test_a_damaged_cache_file_is_an_error_that_says_what_to_delete(source: Source) -> None:
    source.open()
    path = source.folder / "train.parquet"
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.parquet is damaged") as caught:
        list(source.open().rows("train"))
    assert str(source.folder) in caught.value.hint


def test_a_cache_that_cannot_be_written_is_an_error(source: Source) -> None:
    source.cache.write_text("a file, where a folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        source.open()


def test_a_missing_source_file_is_an_error(source: Source) -> None:
    shutil.move(source.file, source.file.with_suffix(".old"))
    with pytest.raises(DataError, match=r"a\.csv cannot be read"):
        source.open()

"""Reads a manifest file row by row: JSON Lines, CSV with any common separator, Parquet, or a JSON array.

A row that cannot be parsed becomes a `ManifestRow` with an `error`, so that the other rows are still read. A
file that cannot be read at all raises ManifestError. What the cells mean is up to `row_parser`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from mien.data.csv_files import read_csv_rows, read_header
from mien.data.json_text import parse_strict_json
from mien.data.manifest.cells import MISSING, shown
from mien.data.manifest.columns import COLUMNS, EXPORT_COLUMNS, column_names, require_columns
from mien.data.text_files import MAX_LINE, open_text, read_lines, require_regular_file
from mien.errors import ManifestError, first_line

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "BATCH_SIZE",
    "EXAMPLE",
    "READERS",
    "Cells",
    "ManifestRow",
    "arrow_columns",
    "batch_rows",
    "json_form",
    "read_json",
    "read_json_array",
    "read_parquet",
]

EXAMPLE: Final = (
    'a row looks like {"image": "photo.jpg", "box": [10, 20, 90, 200], "labels": ["Peace"], "split": "test"}'
)
BATCH_SIZE: Final = 64  # rows in memory at once: they may embed whole images
_HEAD: Final = 1 << 16  # characters
_KNOWN_NAMES: Final = COLUMNS | EXPORT_COLUMNS

Cells = Mapping[str, Any]


class ManifestRow(NamedTuple):  # a dataclass takes five times as long to build
    """One row of a manifest.

    Attributes:
        file: The file that holds the row.
        number: Differs for every row of a manifest, also where the manifest is several files.
        cells: Values by column, None if the row cannot be parsed.
        error: Why the row cannot be parsed.
        place: The place in the file, if that is not the row's number.
    """

    file: Path
    number: int
    cells: Cells | None = None
    error: str = ""
    place: str = ""

    @property
    def location(self) -> str:
        """The place in the file, such as "row 3". Rows are numbered as editors number lines."""
        return self.place or f"row {self.number}"

    @property
    def source(self) -> str:
        """File and location, for messages."""
        return f"{self.file}, {self.location}"


def _read_jsonl(path: Path, ignore: frozenset[str]) -> Iterator[ManifestRow]:
    for number, text in read_lines(path):
        if text is None:
            yield _row(path, number, error=f"the line has more than {MAX_LINE:,} characters")
        elif not text.isspace():
            try:
                yield _json_row(path, number, parse_strict_json(text), ignore)
            except ValueError as error:
                if number == 1 and text.strip() == "[":
                    raise ManifestError(
                        f"{path} is a JSON array, not JSON Lines", hint="end its name with .json"
                    ) from error
                yield _row(path, number, error=f"not JSON: {error}")


def _read_csv(path: Path, ignore: frozenset[str]) -> Iterator[ManifestRow]:
    header, delimiter = read_header(path, _KNOWN_NAMES)
    names = _column_names(path, header, ignore)
    columns = [names.get(name, "") for name in header]
    # The first column without a name holds the index; others must be empty.
    unnamed = [index for index, name in enumerate(header) if index and not name.strip()]
    rows = read_csv_rows(path, delimiter=delimiter, num_cells=len(header))
    next(rows, None)  # the header
    for row in rows:
        if row.error:
            yield _row(path, row.last_line, error=row.error)
            continue
        stray = [row.cells[index] for index in unnamed if row.cells[index].strip()]
        if stray:
            yield _row(path, row.last_line, error=f"{shown(stray[0])} is in a column without a name")
            continue
        named = zip(columns, row.cells, strict=True)
        yield _row(path, row.last_line, {name: cell for name, cell in named if name and cell not in MISSING})


def read_parquet(
    path: Path, ignore: frozenset[str] = frozenset(), *, extra: frozenset[str] = frozenset()
) -> Iterator[ManifestRow]:
    """The rows of a Parquet file, `BATCH_SIZE` at a time. Ignored columns are not read.

    Args:
        path: The file.
        ignore: Columns not to read.
        extra: Columns that are known in addition to those of manifests.
    """
    import pyarrow
    from pyarrow import parquet

    require_regular_file(path)
    try:
        file = parquet.ParquetFile(path)
        names = arrow_columns(path, file.schema_arrow, ignore, extra)
        yield from batch_rows(path, file.iter_batches(batch_size=BATCH_SIZE, columns=list(names)), names)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ManifestError(
            f"{path} cannot be read as Parquet: {first_line(error)}", hint="write the file again"
        ) from error


def arrow_columns(
    path: Path, schema: pyarrow.Schema, ignore: frozenset[str], extra: frozenset[str]
) -> dict[str, str]:
    """The columns to read from Arrow data, each with its name in a manifest.

    Raises:
        ManifestError: A column is unknown or named twice, or holds times, which manifests have no use for.
    """
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise ManifestError(f"{path}: two columns are named {twice[0]!r}", hint="rename one of them")
    names = _column_names(path, schema.names, ignore, extra)
    for name in names:
        kind = schema.field(name).type
        if _holds_times(kind):
            raise ManifestError(
                f"{path}: the column {name!r} holds {kind}, not text, numbers or lists",
                hint=f'leave it out: data.options.ignore = ["{name}"], or save it as text',
            )
    return names


def batch_rows(
    path: Path, batches: Iterable[pyarrow.RecordBatch], names: Mapping[str, str]
) -> Iterator[ManifestRow]:
    """The rows of Arrow batches, by the manifest's column names."""
    number = 0
    for batch in batches:
        columns = [names[name] for name in batch.schema.names]
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield _row(path, number, dict(zip(columns, values, strict=True)))


def _column_names(
    path: Path, header: Sequence[str], ignore: frozenset[str], extra: frozenset[str] = frozenset()
) -> dict[str, str]:
    try:
        names = column_names(header, ignore)
    except ValueError as error:
        raise ManifestError(f"{path}: {error}", hint="rename or remove one of them") from error
    require_columns(str(path), set(names.values()) - extra, EXAMPLE)
    return names


def _holds_times(kind: pyarrow.DataType) -> bool:
    """Whether a type is a point in time or a duration, or contains one. Python has no nanoseconds."""
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        return _holds_times(kind.storage_type)
    if types.is_dictionary(kind):
        return _holds_times(kind.value_type)
    return types.is_temporal(kind) or any(
        _holds_times(kind.field(index).type) for index in range(kind.num_fields)
    )


def read_json(path: Path) -> Any:
    """A whole JSON document, in memory."""
    require_regular_file(path)
    try:
        return parse_strict_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {error}", hint="write the file again") from error


def json_form(path: Path) -> Literal["array", "lines", "document"]:
    """What a JSON file is, judged by its beginning: an array, objects line by line, or one object."""
    with open_text(path) as file:
        head = file.read(_HEAD).lstrip()
        if head.startswith("["):
            return "array"
        first, _, rest = head.partition("\n")
    try:
        row = parse_strict_json(first)
    except ValueError:
        return "document"
    is_row = isinstance(row, dict) and (bool(rest.strip()) or _names_an_image(row))
    return "lines" if is_row else "document"


def _names_an_image(row: Mapping[str, Any]) -> bool:
    """Whether an object is a row and not a COCO document, whose `images` are objects."""
    images = row.get("images")
    return isinstance(row.get("image", row.get("clip")), str) or (
        isinstance(images, list) and bool(images) and isinstance(images[0], str)
    )


def read_json_array(path: Path, ignore: frozenset[str] = frozenset()) -> Iterator[ManifestRow]:
    """The rows of a JSON array, which is read into memory."""
    for number, value in enumerate(read_json(path), start=1):
        yield _json_row(path, number, value, ignore)


def _json_row(path: Path, number: int, value: object, ignore: frozenset[str]) -> ManifestRow:
    """A row, with column names as in `COLUMNS` where they are spelled differently."""
    if not isinstance(value, dict):
        return _row(path, number, error="not a JSON object")
    if value.keys() <= _KNOWN_NAMES:
        return _row(path, number, value)
    try:
        names = column_names(value, ignore)
    except ValueError as error:
        return _row(path, number, error=str(error))
    return _row(path, number, {names[name]: cell for name, cell in value.items() if name in names})


def _row(path: Path, number: int, cells: Cells | None = None, *, error: str = "") -> ManifestRow:
    return ManifestRow(path, number, cells, error)


# By file suffix.
READERS: Final[Mapping[str, Callable[[Path, frozenset[str]], Iterator[ManifestRow]]]] = MappingProxyType(
    {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": read_parquet}
    | dict.fromkeys((".csv", ".tsv", ".txt"), _read_csv)
)

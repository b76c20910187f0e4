"""Opens text files that anyone may have written: by their byte-order mark, in bounded memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from mien.documents import file_kind
from mien.errors import ManifestError

__all__ = ["MAX_LINE", "open_text", "read_lines", "require_regular_file"]

MAX_LINE: Final = 1 << 24  # characters; a row with 100,000 people has about 10 million

# The longer marks first: UTF-32's begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY: Final = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive", "save it as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV in UTF-8"),
    (b"PAR1", "a Parquet file", "end its name with .parquet"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"SQLite format 3", "an SQLite database", "export a table of it as CSV"),
    (b"\x89PNG", "an image", "name the file that lists the images"),
    (b"\xff\xd8\xff", "an image", "name the file that lists the images"),
    (b"%PDF", "a PDF document", "save the table as CSV"),
)
_HEAD: Final = 4096  # bytes
_SAVE: Final = "save it as UTF-8, in Excel as CSV UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8"


def require_regular_file(path: Path) -> None:
    """ManifestError unless there is a regular file: opening a pipe or a device can block for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise ManifestError(f"no file at {path}", hint="check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ManifestError(f"{path} cannot be read: {error}", hint="check the path") from error
    kind = file_kind(mode)
    if kind is not None:
        raise ManifestError(
            f"{path} is {kind}, not an ordinary file", hint="name an ordinary file; it is read more than once"
        )


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """A text file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Args:
        path: The file.
        newline: As in `open`.

    Raises:
        ManifestError: It is not such a file. The message names the line that is not text.
    """
    require_regular_file(path)
    try:
        with path.open("rb") as file:
            encoding = _encoding(path, file.read(_HEAD))
        with path.open(encoding=encoding, newline=newline) as lines:
            yield lines
    except UnicodeError as error:  # also for a UTF-16 file that ends within a character
        place, byte = _first_fault(path, encoding)
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        raise ManifestError(f"{path} cannot be read: {place} is not {name}{byte}", hint=_SAVE) from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}", hint="check the file") from error


def read_lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str | None]]:
    """The lines with their numbers from 1; None for a line of more than `MAX_LINE` characters."""
    with open_text(path, newline=newline) as file:
        number = 0
        while text := file.readline(MAX_LINE + 1):
            number += 1
            if len(text) <= MAX_LINE:
                yield number, text
                continue
            while text and not text.endswith(("\n", "\r")):
                text = file.readline(MAX_LINE)
            yield number, None


def _encoding(path: Path, head: bytes) -> str:
    for magic, what, hint in _BINARY:
        if head.startswith(magic):
            raise ManifestError(f"{path} is {what}, not a text file", hint=hint)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head.count(0) > len(head) // 3:
        raise ManifestError(
            f"{path} is not UTF-8: it has zero bytes, as UTF-16 without a byte-order mark has", hint=_SAVE
        )
    return "utf-8-sig"


def _first_fault(path: Path, encoding: str) -> tuple[str, str]:
    """Where a file cannot be decoded, and the byte there."""
    if encoding != "utf-8-sig":
        return "a part of it", ""
    number = 1
    decoder = codecs.getincrementaldecoder("utf-8")()  # a character may be cut at the end of a part
    with path.open("rb") as file:
        while part := file.readline(1 << 20):
            try:
                decoder.decode(part)
            except UnicodeDecodeError as error:
                return f"line {number}", f": byte 0x{error.object[error.start]:02x}"
            number += part.endswith(b"\n")
    return "the end", ""

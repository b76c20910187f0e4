"""Finds the file that a row names, also where its name was written on another system.

Windows separates folders by backslashes, and macOS decomposes accented letters. Such a name is used only
where no file has exactly the given name.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mien.data.manifest.cells import MAX_TEXT, RowError, shown
from mien.names import is_path_below

__all__ = ["find_image", "require_encodable"]

_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SPECIAL: Final = frozenset("\\:\0")
_WEB: Final = re.compile(r"(https?|ftp|s3|gs|data):", re.IGNORECASE)


def find_image(folder: Path, given: Any, *, only_below: bool = False) -> Path:
    """The path of the image of this name, relative to the folder. The file need not exist.

    Args:
        folder: The folder.
        given: The name.
        only_below: Whether the image must lie in the folder.

    Raises:
        RowError: The name is not that of a file on this machine, or is outside the folder.
    """
    if only_below and isinstance(given, str) and not is_path_below(given):
        raise _outside(given)
    path = _find(folder, given)
    # A URL is a path only now.
    if only_below and not (path.is_relative_to(folder) and is_path_below(str(path.relative_to(folder)))):
        raise _outside(given)
    return path


def _outside(given: Any) -> RowError:
    return RowError("bad_row", f"the image {ascii(given)[:100]} is not a path below the folder")


def _find(folder: Path, given: Any) -> Path:
    if type(given) is str and given.isascii() and len(given) <= MAX_TEXT and _SPECIAL.isdisjoint(given):
        return folder / given
    name = _file_name(given)
    path = folder / name
    if os.path.lexists(path):
        return path
    other = _in_other_form(folder, name.replace("\\", "/"))
    if os.path.lexists(other):
        return other
    if os.name != "nt" and _DRIVE.match(name):
        raise RowError(
            "missing", f"{shown(name)} is a path of Windows; give the path on this machine, or a relative one"
        )
    return path


def _file_name(given: Any) -> str:
    """A name that a file can have."""
    if not isinstance(given, str):
        raise RowError("bad_row", f"the image is {shown(given)}, not a file name")
    name: str = given
    if len(name) > MAX_TEXT:
        raise RowError("bad_row", f"the image's name has {len(name):,} characters; give at most {MAX_TEXT:,}")
    if "\0" in name:
        raise RowError("bad_row", f"the image's name {shown(name)} has a NUL character")
    if ":" in name and _WEB.match(name):
        raise RowError("bad_row", f"{shown(name)} is not a file; download the image and name the file")
    if name.lower().startswith("file:"):
        name = str(unquote(urlsplit(name).path))
    _require_file_name(name)
    return name


def require_encodable(name: str) -> None:
    """JSON can contain lone surrogates, which no text has."""
    if name.isascii():
        return
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RowError("bad_row", f"{ascii(name)[:100]} is not valid text: {error.reason}") from error


def _require_file_name(name: str) -> None:
    """Surrogates can stand for the bytes of a file name that is not UTF-8; others stand for nothing."""
    if name.isascii():
        return
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        require_encodable(name)


def _in_other_form(folder: Path, name: str) -> Path:
    """The path with each part in the form that exists, if one does."""
    path = folder
    for part in Path(name).parts:
        forms = (unicodedata.normalize(form, part) for form in ("NFC", "NFD"))
        existing = (form for form in (part, *forms) if os.path.lexists(path / form))
        path /= next(existing, part)
    return path

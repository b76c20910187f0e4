"""Names that become files or folders, such as those of splits, recipes and variants.

They come from files of others: a manifest, a recipe, a run. A name that could mean another place, or that not
every file system can hold, is refused where it is read; the functions that build paths check it once more.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from mien.errors import DataError, MienError

__all__ = ["is_path_below", "plain_name", "plain_name_fault"]

_MAX_CHARACTERS: Final = 100
# A file name has at most 255 bytes, and ours add a prefix, a suffix and the mark of a temporary file.
_MAX_BYTES: Final = 200
_SHOWN: Final = 60
_FORBIDDEN: Final = frozenset('/\\:*?"<>|')
# These names are devices on Windows, with any ending.
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$) *(\..*)?", re.IGNORECASE | re.DOTALL
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_HINT: Final = (
    f"use at most {_MAX_CHARACTERS} letters, digits, spaces, dots, hyphens and underscores, and begin with a "
    "letter or digit"
)


def plain_name(name: object, what: str, *, error: type[MienError] = DataError) -> str:
    """The name, if it can be the name of a file or folder in any place.

    Args:
        name: The name, as read.
        what: What it names, with its place if known, as in "run.json: the split"; begins the message.
        error: The class of the error.

    Raises:
        MienError: An `error`: the name is not text, empty, or too long; is a path or a device; begins with a
            dot or a hyphen; or has characters that are invisible or that not every file system allows.
    """
    fault = plain_name_fault(name)
    if fault or not isinstance(name, str):
        raise error(f"{what} {_shown(name)} {fault}", hint=_HINT)
    return name


def plain_name_fault(name: object) -> str:
    """Why a name is not plain, to follow it in a sentence; empty if it is plain."""
    if not isinstance(name, str):
        fault = "it is not text"
    elif len(name) <= _MAX_CHARACTERS:
        fault = _fault(name)
    else:
        fault = _fault.__wrapped__(name)  # a long name is not kept
    return fault and f"cannot be the name of a file: {fault}"


@lru_cache(maxsize=1024)
def _fault(name: str) -> str:
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name:
        return "it is empty"
    if len(name) > _MAX_CHARACTERS or size > _MAX_BYTES:
        return f"it has {len(name):,} characters, {size:,} bytes in UTF-8"
    # The compatible form has the ordinary character for one that looks like it, such as a full-width slash.
    return _fault_of_form(name) or _fault_of_form(unicodedata.normalize("NFKC", name))


def _fault_of_form(name: str) -> str:
    bad = next((character for character in name if not _is_allowed(character)), None)
    if bad is not None:
        return f"it has the character {bad!a} (U+{ord(bad):04X})"
    if name[0] in ".- ":
        return f"it begins with {name[0]!r}"
    if name[-1] in ". ":
        return f"it ends with {name[-1]!r}"
    return "it is the name of a device on Windows" if _DEVICES.fullmatch(name) else ""


def _is_allowed(character: str) -> bool:
    """Whether a character is visible, or a space, and allowed on every file system."""
    return character == " " or (
        character not in _FORBIDDEN and unicodedata.category(character)[0] not in ("C", "Z")
    )


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_path_below(path: str) -> bool:
    """Whether a path that a dataset or a run states lies below the folder that it is relative to.

    It does not look at the disk: links in that folder are its owner's.
    """
    parts = path.replace("\\", "/").split("/")
    is_absolute = parts[0] == "" or _DRIVE.match(path) is not None
    return bool(path) and not is_absolute and "\0" not in path and ".." not in parts

"""MATLAB files (v5 to v7) of strangers, made safe for SciPy's reader.

In: a path. Out: one variable of it; and beforehand, whether its bytes can be trusted.
Knows nothing about what the variables hold.

SciPy's reader is quick, but damaged bytes make it crash, and the interpreter with it. Compressed variables
carry a checksum, which is verified here first; a file without is better read in a process of its own.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from mien.errors import DataError

__all__ = ["has_checksums", "load_variable"]

_HEADER: Final = 128  # bytes of text, version and byte order
_COMPRESSED: Final = 15  # the type of an element, after the format's own documentation
_CHUNK: Final = 1 << 20
_HINT: Final = "copy the file again"


def has_checksums(path: Path) -> bool:
    """True if every variable is compressed and is as it was saved, False if any is not compressed.

    DataError if a checksum is wrong, the file breaks off, or it is no MATLAB file of these versions.
    """
    try:
        with path.open("rb") as file:
            order = _byte_order(file.read(_HEADER), path)
            kinds = [kind == _COMPRESSED for kind in iter(lambda: _element(file, order, path), None)]
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}", hint=_HINT) from error
    if not kinds:
        raise DataError(f"{path} cannot be read as a MATLAB file: it holds no variable", hint=_HINT)
    return all(kinds)


def load_variable(path: Path, name: str) -> Any:
    """A variable as SciPy gives it by default, or None if it is not there."""
    from scipy.io import loadmat

    try:
        # utf-16: what MATLAB writes where a text is not ASCII; scipy's own guess is utf-8.
        return loadmat(path, variable_names=[name], uint16_codec="utf-16-le").get(name)
    except Exception as error:  # damaged bytes raise nearly anything in scipy; this is the seam
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}", hint=_HINT) from error


def _byte_order(header: bytes, path: Path) -> Literal["little", "big"]:
    if len(header) < _HEADER or header[126:] not in (b"IM", b"MI"):
        raise DataError(f"{path} cannot be read as a MATLAB file: it begins otherwise", hint=_HINT)
    order: Literal["little", "big"] = "little" if header[126:] == b"IM" else "big"
    if int.from_bytes(header[124:126], order) >> 8 != 1:
        hint = "save it in MATLAB with the flag -v7, or copy the official file again"
        raise DataError(f"{path} is in a format of MATLAB 7.3", hint=hint)
    return order


def _element(file: BinaryIO, order: Literal["little", "big"], path: Path) -> int | None:
    """The type of the next element, which is gone through; None at the end of the file."""
    tag = file.read(8)
    if not tag:
        return None
    kind, left = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
    checked = zlib.decompressobj() if kind == _COMPRESSED else None
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise DataError(f"{path} cannot be read as a MATLAB file: it breaks off", hint=_HINT)
        left -= len(chunk)
        while checked is not None and chunk:
            checked.decompress(chunk, _CHUNK)
            chunk = checked.unconsumed_tail
    if checked is not None and not checked.eof:
        raise DataError(f"{path} cannot be read as a MATLAB file: a variable breaks off", hint=_HINT)
    return kind

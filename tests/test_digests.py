import math
from pathlib import Path

import pytest

from mien.digests import canonical_json, digest, file_version
from mien.errors import DataError


def test_canonical_json_ignores_the_order_of_keys() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    # Stored keys depend on this value; it must never change.
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_different_values_have_different_digests() -> None:
    values: list[object] = [{}, [], 0, 0.0, "0", None, False, {"a": 0}, {"a": None}]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, b"bytes"])
def test_values_that_json_cannot_represent_are_refused(value: object) -> None:
    with pytest.raises(DataError, match="canonical JSON"):
        digest({"a": value})


def test_the_version_of_a_file_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert file_version(path) == ()
    assert file_version(Path("a\0b")) == ()
    path.write_bytes(b"one")
    first = file_version(path)
    assert first == file_version(path) != ()
    path.write_bytes(b"four")
    assert file_version(path) != first

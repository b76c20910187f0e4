"""The feature file: what is read is what was written, also after crashes."""

import errno
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError, StoreLockedError
from mien.features.cache import FeatureFile

SHAPE = (2, 3)


def open_at(folder: Path, signature: str = "encoder") -> FeatureFile:
    return FeatureFile.open(folder / "cache" / "train.npy", signature=signature)


def rows_of(*numbers: float) -> np.ndarray:
    """One row per number, filled with it."""
    return np.array([np.full(SHAPE, number, dtype=np.float32) for number in numbers])


def write(file: FeatureFile, keys: str, *numbers: float) -> None:
    with file.writing(keys, SHAPE) as writer:
        writer.write(list(keys), rows_of(*numbers))


def test_rows_are_read_in_any_order_and_repeatedly(tmp_path: Path) -> None:
    write(open_at(tmp_path), "abc", 1, 2, 3)
    reader = open_at(tmp_path).reader(["c", "a", "c", "b"])
    assert (len(reader), reader.num_tokens, reader.dim) == (4, 2, 3)
    assert reader.read(np.array([0, 1, 2, 3]))[:, 0, 0].tolist() == [3, 1, 3, 2]
    assert reader.read(np.array([3, 3])).shape == (2, *SHAPE)
    assert reader.read(np.array([0])).dtype == np.float16


def test_the_file_grows_in_place_and_stays_an_ordinary_array(tmp_path: Path) -> None:
    file = open_at(tmp_path)
    write(file, "ab", 1, 2)
    early = file.reader(["b"])
    write(file, "bcd", 2, 3, 4)
    assert np.load(file.path)[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert early.read(np.array([0]))[0, 0, 0] == 2
    # More rows than the first header has digits for.
    many = [f"key {number}" for number in range(2000)]
    with file.writing(many, SHAPE) as writer:
        writer.write(many, rows_of(*range(2000)))
    assert open_at(tmp_path).reader(["d", "key 1999"]).read(np.array([0, 1]))[:, 0, 0].tolist() == [4, 1999]


def test_missing_keys_are_listed_once_and_in_order(tmp_path: Path) -> None:
    file = open_at(tmp_path)
    assert file.missing("cabca") == ["c", "a", "b"]
    write(file, "a", 1)
    assert file.missing("cabca") == ["c", "b"]
    with pytest.raises(DataError, match="lacks 2 of 3"):
        file.reader(["a", "b", "c"])


def test_rows_written_before_an_error_are_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="float16"):
        write_and_fail(open_at(tmp_path))
    file = open_at(tmp_path)
    assert file.missing("abc") == ["a", "c"]
    write(file, "ac", 1, 3)
    assert file.reader("abc").read(np.arange(3))[:, 0, 0].tolist() == [1, 2, 3]


def write_and_fail(file: FeatureFile) -> None:
    with file.writing("abc", SHAPE) as writer:
        writer.write(["b"], rows_of(2))
        writer.write(["c"], rows_of(1e6))


KILLED = """
import os, sys
import numpy as np
from pathlib import Path
from mien.features.cache import FeatureFile
file = FeatureFile.open(Path(sys.argv[1]), signature="encoder")
with file.writing("abcd", (2, 3)) as writer:
    writer.write(["a", "b"], np.full((2, 2, 3), 7.0))
    writer.flush()
    writer.write(["c"], np.full((1, 2, 3), 8.0))
    os._exit(9)
"""


def test_a_killed_process_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "train.npy"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
    file = open_at(tmp_path)
    assert file.missing("abcd") == ["c", "d"]
    write(file, "cd", 8, 9)
    assert file.reader(list("abcd")).read(np.arange(4))[:, 0, 0].tolist() == [7, 7, 8, 9]


def test_only_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = open_at(tmp_path), open_at(tmp_path)
    with first.writing("ab", SHAPE) as writer:
        writer.write(["a"], rows_of(1))
        with pytest.raises(StoreLockedError, match="another process"), second.writing("b", SHAPE):
            pass
    # When the first is done, the second has its rows.
    with second.writing("bc", SHAPE) as writer:
        writer.write(["b", "c"], rows_of(2, 3))
    assert open_at(tmp_path).reader(list("abc")).read(np.arange(3))[:, 0, 0].tolist() == [1, 2, 3]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=6))
def test_any_sequence_of_writes_is_kept(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    for group in groups:
        file = open_at(folder)
        missing = file.missing(str(number) for number in group)
        with file.writing(missing, SHAPE) as writer:
            for key in missing:
                writer.write([key], rows_of(float(key)))
    keys = [str(number) for group in groups for number in group]
    if keys:
        got = open_at(folder).reader(keys).read(np.arange(len(keys)))
        assert got[:, 1, 2].tolist() == [float(key) for key in keys]


def test_refuses_features_of_another_encoder(tmp_path: Path) -> None:
    write(open_at(tmp_path), "a", 1)
    with pytest.raises(DataError, match=r"another encoder \(encoder, not other\)"):
        open_at(tmp_path, "other")


def test_refuses_features_of_another_shape(tmp_path: Path) -> None:
    file = open_at(tmp_path)
    write(file, "a", 1)
    with pytest.raises(DataError, match=r"shape \(2, 3\), not \(3, 2\)"), file.writing("b", (3, 2)):
        pass


@pytest.mark.parametrize("number", [1e6, float("nan")])
def test_refuses_numbers_that_float16_cannot_hold(tmp_path: Path, number: float) -> None:
    file = open_at(tmp_path)
    with pytest.raises(DataError, match="float16"), file.writing("a", SHAPE) as writer:
        writer.write(["a"], rows_of(number))
    assert file.missing("a") == ["a"]


def cut_array(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-6])


def remove_array(path: Path) -> None:
    path.unlink()


def break_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"'shape': (", b"'shape': {", 1))


def cut_sidecar(path: Path) -> None:
    path.with_suffix(".json").write_text('{"schema": 1, "signature')


def drop_keys(path: Path) -> None:
    state = json.loads(path.with_suffix(".json").read_text())
    del state["keys"]
    path.with_suffix(".json").write_text(json.dumps(state))


def drop_marks(path: Path) -> None:
    state = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(state | {"done": ""}))


def set_schema(path: Path) -> None:
    state = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(state | {"schema": 2}))


@pytest.mark.parametrize(
    "damage", [cut_array, remove_array, break_header, cut_sidecar, drop_keys, drop_marks, set_schema]
)
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: object) -> None:
    file = open_at(tmp_path)
    write(file, "abc", 1, 2, 3)
    damage(file.path)  # type: ignore[operator]
    with pytest.raises(DataError, match=r"damaged|schema 2") as caught:
        open_at(tmp_path)
    assert "delete" in caught.value.hint


def test_a_full_disk_is_an_error_and_existing_rows_are_kept(tmp_path: Path) -> None:
    file = open_at(tmp_path)
    write(file, "ab", 1, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with (
            pytest.raises(DataError, match=r"train\.npy needs 240\.2 kB, which could not") as caught,
            file.writing([str(number) for number in range(20_000)], SHAPE),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "run.cache" in caught.value.hint
    again = open_at(tmp_path)
    assert again.reader("ab").read(np.arange(2))[:, 0, 0].tolist() == [1, 2]
    write(again, "c", 3)
    assert again.reader("abc").read(np.arange(3))[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("shape", "size"), [((2, 3), "140 bytes"), ((2**16, 2**13), "1.1 GB")])
def test_a_new_file_that_does_not_fit_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], size: str
) -> None:
    def full(_: int, __: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = open_at(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("mien.features.cache._allocate", full)
        with (
            pytest.raises(DataError, match=f"needs {re.escape(size)}, which could not be allocated"),
            file.writing("a", shape),
        ):
            pass
    assert not list(tmp_path.rglob("*.npy"))
    write(open_at(tmp_path), "a", 1)
    assert open_at(tmp_path).reader("a").read(np.arange(1))[:, 0, 0].tolist() == [1]

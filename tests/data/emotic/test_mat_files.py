"""MATLAB files with any content: the reader returns or raises DataError, and never crashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from tests.factories.emotic_copies import MAT, annotated_image, compress_elements, open_emotic, ticked

from mien.data.emotic import mat_reader, mat_subprocess
from mien.data.emotic.mat_reader import check_elements, load_variable
from mien.errors import DataError, MienError
from mien.playhouse.layouts.emotic import write_emotic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_emotic(tmp_path / "copy", {"train": [annotated_image("ä b.jpg", [ticked("Peace|Fear", None)])]})
    return tmp_path / "copy"


def _unpack(root: Path) -> None:
    """Saves the file again without compression, hence without checksums."""
    variables = {name: value for name, value in loadmat(root / MAT).items() if not name.startswith("_")}
    savemat(root / MAT, variables)


def test_compressed_variables_have_checksums(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    noise = np.random.default_rng(0).integers(0, 256, (3000, 1000))  # larger than one chunk
    for compressed in (True, False):
        savemat(path, {"noise": noise, "zeros": np.zeros((2000, 2000))}, do_compression=compressed)
        assert check_elements(path) is compressed
        assert np.array_equal(load_variable(path, "noise"), noise)
        assert load_variable(path, "other") is None


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_changed_byte_is_detected(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    path = tmp_path_factory.mktemp("mat") / "x.mat"
    values = np.arange(500) % 7
    savemat(path, {"x": values}, do_compression=True)
    content = bytearray(path.read_bytes())
    # Anywhere but in the header, whose text is free.
    content[128 + int(place * (len(content) - 128))] ^= value
    path.write_bytes(bytes(content))
    try:
        whole = check_elements(path)
    except DataError:
        return
    # Otherwise the element now claims not to be compressed, or the byte has no effect, such as a hint at the
    # compression level.
    assert not whole or np.array_equal(load_variable(path, "x"), values[None])


def test_a_file_without_checksums_is_read_the_same(root: Path) -> None:
    (before,) = open_emotic(root).records("train")
    _unpack(root)
    assert not check_elements(root / MAT)
    (after,) = open_emotic(root).records("train")
    assert after == before


def test_a_file_that_unpacks_to_too_much_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_reader, "_MAX_BYTES", 1 << 20)
    savemat(root / MAT, {"train": np.zeros(1 << 20)}, do_compression=True)
    assert (root / MAT).stat().st_size < 1 << 16
    with pytest.raises(DataError, match="unpack to more than 1 MiB"):
        open_emotic(root)


def test_problems_are_passed_on_from_the_child_process(root: Path) -> None:
    variables = loadmat(root / MAT)
    variables["train"][0, 0]["person"][0, 0]["body_bbox"] = np.array([[5.0, 5.0, np.nan, 9.0]])
    savemat(root / MAT, {"train": variables["train"]})
    dataset = open_emotic(root)
    assert [problem.kind for problem in dataset.problems()] == ["box_not_finite"]
    assert len(dataset.unusable_rows("train")) == 1


def _crash(content: bytes) -> bytes:
    """An invalid number type makes SciPy read out of bounds."""
    return content.replace(b"\x09\0\0\0\x08\0\0\0", b"\0\0\0\0\x08\0\0\0", 1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_crash, id="crash"),
        pytest.param(lambda content: content[:-40], id="truncated"),
        pytest.param(lambda content: content[:128], id="no-variable"),
        pytest.param(lambda content: content[:50], id="no-header"),
    ],
)
def test_damage_without_checksums_is_an_error(root: Path, damage: Callable[[bytes], bytes]) -> None:
    _unpack(root)
    content = (root / MAT).read_bytes()
    assert damage(content) != content
    (root / MAT).write_bytes(damage(content))
    with pytest.raises(DataError, match="cannot be read as a MATLAB file") as caught:
        open_emotic(root)
    assert caught.value.hint


def test_a_valid_checksum_does_not_let_hostile_content_crash_the_program(root: Path) -> None:
    _unpack(root)
    content = (root / MAT).read_bytes()
    (root / MAT).write_bytes(compress_elements(_crash(content)))
    assert _crash(content) != content
    assert check_elements(root / MAT)
    with pytest.raises(DataError, match="the reader crashed"):
        open_emotic(root)


def test_a_failing_child_process_is_not_mistaken_for_damage(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(MienError, match="child process") as caught:
        list(mat_subprocess.read_mat_in_subprocess(root / MAT, image_root=root))
    assert not isinstance(caught.value, DataError)

"""MATLAB files of strangers: whatever their bytes are, an answer or a DataError, and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from tests.factories.emotic_copies import MAT, open_emotic, photograph, said

from mien.data.emotic import mat_subprocess
from mien.data.emotic.mat_reader import has_checksums, load_variable
from mien.errors import DataError, MienError
from mien.playhouse.layouts.emotic import write_emotic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_emotic(tmp_path / "copy", {"train": [photograph("ä b.jpg", [said("Peace|Fear", None)])]})
    return tmp_path / "copy"


def _unpack(root: Path) -> None:
    """The file without compression, hence without checksums."""
    held = {name: value for name, value in loadmat(root / MAT).items() if not name.startswith("_")}
    savemat(root / MAT, held)


def test_compressed_variables_have_checksums(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    noise = np.random.default_rng(0).integers(0, 256, (3000, 1000))  # more than is unpacked at once
    for compressed in (True, False):
        savemat(path, {"noise": noise, "zeros": np.zeros((2000, 2000))}, do_compression=compressed)
        assert has_checksums(path) is compressed
        assert np.array_equal(load_variable(path, "noise"), noise)
        assert load_variable(path, "other") is None


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    path = tmp_path_factory.mktemp("mat") / "x.mat"
    held = np.arange(500) % 7
    savemat(path, {"x": held}, do_compression=True)
    content = bytearray(path.read_bytes())
    # All but the header, whose text may say anything.
    content[128 + int(place * (len(content) - 128))] ^= value
    path.write_bytes(bytes(content))
    try:
        whole = has_checksums(path)
    except DataError:
        return
    # Else its type says now that it is not compressed, and that it is damaged is for others to find; or the
    # byte meant nothing, such as a hint of how hard it was compressed.
    assert not whole or np.array_equal(load_variable(path, "x"), held[None])


def test_a_file_without_checksums_reads_the_same(root: Path) -> None:
    (before,) = open_emotic(root).records("train")
    _unpack(root)
    assert not has_checksums(root / MAT)
    (after,) = open_emotic(root).records("train")
    assert after == before


def test_problems_come_through_as_well(root: Path) -> None:
    held = loadmat(root / MAT)
    held["train"][0, 0]["person"][0, 0]["body_bbox"] = np.array([[5.0, 5.0, np.nan, 9.0]])
    savemat(root / MAT, {"train": held["train"]})
    dataset = open_emotic(root)
    assert [problem.kind for problem in dataset.problems()] == ["box_not_finite"]
    assert len(dataset.unusable_rows("train")) == 1


def _crash(content: bytes) -> bytes:
    """A number whose type is none makes SciPy read where nothing is."""
    return content.replace(b"\x09\0\0\0\x08\0\0\0", b"\0\0\0\0\x08\0\0\0", 1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_crash, id="crash"),
        pytest.param(lambda content: content[:-40], id="breaks-off"),
        pytest.param(lambda content: content[:128], id="no-variable"),
        pytest.param(lambda content: content[:50], id="no-header"),
    ],
)
def test_damage_that_no_checksum_shows_is_an_error(root: Path, damage: Callable[[bytes], bytes]) -> None:
    _unpack(root)
    content = (root / MAT).read_bytes()
    assert damage(content) != content
    (root / MAT).write_bytes(damage(content))
    with pytest.raises(DataError, match="cannot be read as a MATLAB file") as caught:
        open_emotic(root)
    assert caught.value.hint


def test_another_failure_of_the_other_process_is_not_taken_for_damage(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(MienError, match="child process") as caught:
        list(mat_subprocess.read_mat_in_subprocess(root / MAT, image_root=root))
    assert not isinstance(caught.value, DataError)

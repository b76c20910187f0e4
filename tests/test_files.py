"""Files and folders that appear when they are complete, and what killed processes leave."""

import errno
import json
import multiprocessing
import os
import signal
import stat
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mien import files
from mien.errors import DataError
from mien.files import (
    atomic_file,
    atomic_folder,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    cache_directory,
    check_writable,
    is_empty,
    map_write_errors,
    require_new_folder,
    temporary_folder,
)


def test_an_atomic_write_replaces_the_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write_text(path, "a much longer text than the next")
    atomic_write_json(path, {"é": 1})
    assert json.loads(path.read_text()) == {"é": 1}
    atomic_write_bytes(path, b"x")
    assert path.read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["a.json"]  # noqa: PTH208  hidden files count


def test_an_atomic_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DataError, match="No space"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_an_atomic_write_respects_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    atomic_write_text(tmp_path / "atomic", "x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_an_atomic_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"n")
        file.flush()
        assert path.read_text() == "old"
        file.write(b"ew")
    assert path.read_text() == "new"
    with pytest.raises(KeyError), atomic_file(path) as file:
        raise KeyError
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- Folders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [False, True])
def test_an_atomic_folder_appears_when_it_is_complete(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "a"
    if exists:
        path.mkdir()
    with atomic_folder(path) as part:
        (part / "deep").mkdir()
        (part / "deep" / "file").write_text("x")
        assert not (path / "deep").exists()
    assert (path / "deep" / "file").read_text() == "x"
    assert names(tmp_path) == ["a"]
    assert names(path) == ["deep"]


def test_an_atomic_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"), atomic_folder(tmp_path / "a") as part:
        (part / "file").write_text(max([], key=str))
    assert names(tmp_path) == []


def test_an_atomic_folder_never_replaces_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("x")
    with pytest.raises(DataError, match="not empty"), atomic_folder(tmp_path / "a") as part:
        (part / "mine").write_text("y")
    assert (tmp_path / "a" / "mine").read_text() == "x"
    assert names(tmp_path / "a") == ["mine"]


def test_a_temporary_folder_is_private_and_removed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, "ray") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").write_text("x")
    assert names(tmp_path) == []


# --- Errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "writable"),
        (errno.EIO, "disk"),
    ],
)
def test_an_error_of_the_disk_names_the_file_and_what_to_do(number: int, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(DataError, match=f"^{path} cannot be written: ") as caught, atomic_file(path):
        raise OSError(number, os.strerror(number))
    assert hint in caught.value.hint
    assert names(tmp_path) == []


def test_an_error_about_another_file_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), map_write_errors(tmp_path / "a"):
        (tmp_path / "other").read_text()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv cannot be written: No such file"):
        atomic_write_bytes(tmp_path / "no" / "a.csv", b"")


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127, "\N{GRINNING FACE}" * 63, "line\nbreak"):
        atomic_write_bytes(tmp_path / name, b"1")
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_a_writable_place_is_checked_without_leaving_anything(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "deep" / "run")
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/run cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "run")


def test_the_error_of_a_user_without_a_home_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(DataError) as caught:
        cache_directory()
    assert "XDG_CACHE_HOME" in caught.value.hint


# --- What killed processes leave -----------------------------------------------------------------------


def hold(write: Callable[..., None], path: Path, connection: Connection) -> None:
    """Report from inside of the write, then wait."""

    def wait() -> None:
        connection.send(None)
        connection.recv()

    write(path, wait)


def hold_file(path: Path, wait: Callable[[], None]) -> None:
    with atomic_file(path) as file:
        file.write(b"half")
        file.flush()
        wait()


def hold_folder(path: Path, wait: Callable[[], None]) -> None:
    with atomic_folder(path) as part:
        (part / "half").write_text("x")
        wait()


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process sweeps a folder once; each test counts as one."""
    monkeypatch.setattr(files, "_swept", set())


class Writer:
    """A process in the middle of writing a file or a folder."""

    def __init__(self, write: Callable[..., None], path: Path) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=hold, args=(write, path, theirs))
        self.process.start()
        self.connection.recv()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def finish(self) -> None:
        self.connection.send(None)
        self.process.join()


@pytest.mark.parametrize("write", [hold_file, hold_folder])
def test_what_a_killed_process_left_is_removed_by_the_next(
    write: Callable[..., None], tmp_path: Path
) -> None:
    Writer(write, tmp_path / "a").kill()
    assert len(names(tmp_path)) == 1
    atomic_write_bytes(tmp_path / "b", b"")
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize("write", [hold_file, hold_folder])
def test_what_a_living_process_writes_is_never_removed(write: Callable[..., None], tmp_path: Path) -> None:
    writer = Writer(write, tmp_path / "a")
    (temporary,) = tmp_path.iterdir()
    os.utime(temporary, (0, 0))  # however old it is
    atomic_write_bytes(tmp_path / "b", b"")
    assert len(names(tmp_path)) == 2
    writer.finish()
    assert names(tmp_path) == ["a", "b"]


def test_what_other_machines_write_is_removed_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_kernel", lambda: "0123")
    Writer(hold_file, tmp_path / "a").kill()
    monkeypatch.setattr(files, "_kernel", lambda: "4567")
    (temporary,) = tmp_path.iterdir()
    for age, count in ((0.9, 1), (1.1, 0)):
        then = time.time() - age * 86_400
        os.utime(temporary, (then, then))
        files._swept.clear()
        assert is_empty(tmp_path) == (count == 0)
        assert len(names(tmp_path)) == count


def test_files_that_only_look_alike_are_kept(tmp_path: Path) -> None:
    Writer(hold_file, tmp_path / "a").kill()
    (real,) = tmp_path.iterdir()
    token = real.name.split(".")[-2]
    alike = [
        f".b.{token}.tmp",  # its token is that of another name
        f"a.{token}.tmp",
        f".a.{token}.tmp2",
        f".a.{token[:-1]}0.tmp" if token[-1] != "0" else f".a.{token[:-1]}1.tmp",
        ".a.0123456789ab.tmp",
        ".a.tmp",
        "a.tmp",
    ]
    for name in alike:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    assert not is_empty(tmp_path)
    assert names(tmp_path) == sorted(alike)


def test_links_and_pipes_under_a_temporary_name_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    link, pipe = (tmp_path / files._new_name(name) for name in ("a", "b"))
    link.symlink_to(target)
    os.mkfifo(pipe)
    assert not is_empty(tmp_path)
    assert names(tmp_path) == sorted([target.name, link.name, pipe.name])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_other_users_are_kept(tmp_path: Path) -> None:
    Writer(hold_file, tmp_path / "a").kill()
    (temporary,) = tmp_path.iterdir()
    os.chown(temporary, 12_345, 12_345)
    assert not is_empty(tmp_path)


def test_a_file_that_was_swept_before_it_was_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, created = files._create, []

    def create_and_sweep(path: Path, folder_mode: int | None) -> int:
        descriptor = create(path, folder_mode)
        created.append(path)
        if len(created) == 1:
            path.unlink()  # what a sweeping process would do
        return descriptor

    monkeypatch.setattr(files, "_create", create_and_sweep)
    atomic_write_bytes(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert len(created) == 2
    assert names(tmp_path) == ["a"]


def test_a_new_folder_may_hold_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    require_new_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").is_dir()
    out = tmp_path / "out"
    out.mkdir()
    Writer(hold_folder, out / "x").kill()
    require_new_folder(out)
    assert names(out) == []
    (out / "mine").write_text("mine")
    for taken in (out, out / "mine"):
        with pytest.raises(DataError, match="is not an empty folder"):
            require_new_folder(taken)

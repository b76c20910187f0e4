"""One process at a time writes, the others learn at once who does, and the lock dies with its owner."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mien.errors import RunError, RunLockedError
from mien.locks import FileLock, LockHolder, lock_run, run_writer, try_lock

HOLD = (
    "import sys; from pathlib import Path; from mien.locks import lock_run\n"
    "with lock_run(Path(sys.argv[1]), shared=len(sys.argv) > 2):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


def hold(run: Path, *shared: str) -> subprocess.Popen[str]:
    """A process that holds the lock of a run until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(run), *shared]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_error_of_a_second_process_names_the_holder_of_the_lock_until_it_is_killed(
    tmp_path: Path,
) -> None:
    process = hold(tmp_path / "a run")
    try:
        with pytest.raises(RunLockedError) as caught, lock_run(tmp_path / "a run"):
            pass
        assert f"process {process.pid} on {os.uname().nodename}, since 2" in str(caught.value)
        assert caught.value.retryable
        assert caught.value.hint
        writer = run_writer(tmp_path / "a run")
        assert writer is not None
        assert writer.pid == process.pid
    finally:
        process.kill()
        process.communicate()
    assert run_writer(tmp_path / "a run") is None
    with lock_run(tmp_path / "a run"):
        pass


def test_steps_inside_of_a_step_share_its_lock_and_other_threads_do_not(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    refused = []

    def other_thread() -> None:
        try:
            with lock_run(tmp_path / "run"):
                pass
        except RunLockedError as error:
            refused.append(error)

    with lock_run(tmp_path / "run"):
        with lock_run(tmp_path / "link"):
            pass
        assert run_writer(tmp_path / "link") is None  # this context itself
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
    assert len(refused) == 1
    other_thread()
    assert len(refused) == 1


def test_shards_write_side_by_side_and_no_training_does(tmp_path: Path) -> None:
    process = hold(tmp_path, "shared")
    try:
        with lock_run(tmp_path, shared=True):
            pass
        with pytest.raises(RunLockedError), lock_run(tmp_path):
            pass
    finally:
        process.communicate("")


def test_a_lock_does_not_outlive_its_owner_in_a_forked_process(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "x.lock")
    assert isinstance(lock, FileLock)
    ready, done = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        lock.release()  # not its own, so nothing happens
        ready.send_bytes(b"up")
        ready.recv_bytes()
        os._exit(0)
    assert done.recv_bytes() == b"up"
    assert isinstance(try_lock(tmp_path / "x.lock"), LockHolder)  # the child did not release it
    lock.release()
    again = try_lock(tmp_path / "x.lock")
    assert isinstance(again, FileLock)  # although the child lives
    done.send_bytes(b"end")
    os.waitpid(child, 0)
    again.release()
    again.release()


def test_a_forked_worker_belongs_to_the_owner(tmp_path: Path) -> None:
    with lock_run(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                with lock_run(tmp_path):
                    os._exit(0)
            except BaseException:  # noqa: BLE001  a child must not return into pytest
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 5000, b'{"pid": "x"}', b'{"pid": 99999999999999999999, "host": "HOST"}', b"0",
     b'{"pid": -1}', b"x" * 100_000],
)  # fmt: skip
def test_a_lock_file_with_any_content_can_be_locked_and_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(content.replace(b"HOST", os.uname().nodename.encode()))
    with lock_run(tmp_path):
        said = json.loads(path.read_text())
        assert said["pid"] == os.getpid()
        path.write_bytes(content.replace(b"HOST", os.uname().nodename.encode()))
        holder = try_lock(path)
        assert isinstance(holder, LockHolder)
        assert len(str(holder)) < 500


def test_a_lock_file_that_is_a_link_does_not_overwrite_its_target(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="cannot be written"), lock_run(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "text"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, Path.touch])
def test_a_lock_file_of_another_kind_never_hangs(tmp_path: Path, make: object) -> None:
    make(tmp_path / "run.lock")  # type: ignore[operator]
    if make is Path.mkdir:
        with pytest.raises(RunError, match="cannot be written"), lock_run(tmp_path):
            pass
        return
    with lock_run(tmp_path):
        pass
    assert run_writer(tmp_path) is None

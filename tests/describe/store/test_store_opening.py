"""Opening a store: one writer, any earlier state of the file, or an error that says why not."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.factories.descriptions import description, failure
from tests.factories.old_stores import write_old_store

from mien.describe.store import layout
from mien.describe.store.store import Store
from mien.errors import StoreError, StoreLockedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def test_reading_a_missing_store_says_how_to_make_it(path: Path) -> None:
    with pytest.raises(StoreError, match="no store at") as caught:
        Store(path, writable=False)
    assert "mien describe" in caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize("writable", [False, True])
def test_a_schema_that_is_not_text_is_a_store_error(path: Path, writable: bool) -> None:
    with Store(path) as store:
        store.put([description("a")])
    content = path.read_bytes()
    # SQLite's message about a statement that it cannot parse quotes the place.
    assert b"TABLE failures (" in content
    path.write_bytes(content.replace(b"TABLE failures (", b"TABLE failures \xff"))
    with pytest.raises(StoreError, match="is damaged"):
        Store(path, writable=writable)


def test_a_second_writer_is_refused(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(StoreLockedError, match="another process") as caught:
            Store(path)
        assert caught.value.retryable
        store.put([description("a")])
    with Store(path) as store:
        assert list(store.keys()) == ["a"]


def test_a_writer_in_another_process_is_refused_until_it_is_killed(path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from mien.describe.store.store import Store\n"
    code += "store = Store(Path(sys.argv[1])); print('open', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=str(process.pid)):
            Store(path)
    finally:
        process.kill()
        process.communicate()
    with Store(path) as store:
        store.put([description("a")])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"Dear diary, " * 200, "is not a store"), (b"SQLite format 3\0" + b"\xff" * 5000, "store")],
    ids=["text", "header only"],
)
def test_a_file_that_is_not_a_store_is_refused_and_kept(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    for writable in (True, False):
        with pytest.raises(StoreError, match=message) as caught:
            Store(path, writable=writable)
        assert caught.value.hint
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table recipes (name text)")
    connection.close()
    with pytest.raises(StoreError, match="not a store"):
        Store(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_store_is_refused(path: Path, share: float) -> None:
    with Store(path) as store:
        store.put(description(f"k{number}", "word " * 200) for number in range(300))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(StoreError) as caught, Store(path):
        pass
    assert caught.value.hint


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    # A process was killed while it created the store.
    path.touch()
    with Store(path) as store:
        store.put([description("a")])
        assert len(store) == 1


def test_a_newer_layout_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ("languages", ("alter table descriptions add column language text",))
    with monkeypatch.context() as newer:
        newer.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, step))
        with Store(path):
            pass
    for writable in (True, False):
        with pytest.raises(StoreError, match=r"newer mien.*'languages'"):
            Store(path, writable=writable)


def test_a_new_step_keeps_existing_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        store.put([description("a")])
    step = ("notes", ("create table notes (text text)",))
    monkeypatch.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, step))
    with pytest.raises(StoreError, match="older layout"):
        Store(path, writable=False)
    with Store(path) as store:
        assert list(store) == [description("a")]
    with Store(path, writable=False) as store:
        assert len(store) == 1


def test_the_names_of_released_steps_are_frozen() -> None:
    assert [name for name, _ in layout.MIGRATIONS] == [
        "descriptions and failures",
        "index of keys",
        "digests",
    ]


@pytest.mark.parametrize("num_steps", [1, 2], ids=["without an index", "of version 0.1.0"])
def test_an_older_store_is_read_unchanged_and_migrated_by_a_writer(path: Path, num_steps: int) -> None:
    write_old_store(path, [description("a", "ruhig \U0001f600"), description("c")], [failure("b")], num_steps)
    before = path.read_bytes()
    with Store(path, writable=False) as store:
        assert not store.has_digests
        assert store.described_keys(["a", "b"]) == {"a"}
        assert [*store, *store.failures()] == [
            description("a", "ruhig \U0001f600"),
            description("c"),
            failure("b"),
        ]
    assert path.read_bytes() == before
    with Store(path) as store:
        assert store.has_digests
        assert store.described_keys(["a", "b"]) == {"a"}
        plan = store._connection.execute(
            f"explain query plan {store._select_keys} where key = 'a'"
        ).fetchall()
        assert "USING COVERING INDEX" in str(plan)
        store.put([description("d")])
    with Store(path, writable=False) as store:
        assert store.has_digests
        assert list(store.keys()) == ["a", "c", "d"]
        assert store.failures() == [failure("b")]
        assert store.damaged_rows == ()


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written") as caught:
        Store(tmp_path / "file" / "store.sqlite")
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", "begun"])
def test_a_store_whose_creation_has_only_begun_reads_as_empty(path: Path, content: bytes | str) -> None:
    # A process was killed at that moment, or is still creating the store.
    if content == "begun":
        connection = sqlite3.connect(path)
        connection.execute("pragma journal_mode = wal")
        connection.close()
        assert path.stat().st_size > 0
    else:
        path.write_bytes(b"")
    before = path.read_bytes()
    with Store(path, writable=False) as store:
        assert [*store, *store.failures()] == []
        with pytest.raises(StoreError):
            store.put([description("a")])
    assert path.read_bytes() == before
    with Store(path) as store:
        store.put([description("a")])
        assert len(store) == 1


# Prints what a reader and a writer get, as a user without write access to the file and its folder.
# Path.as_uri imports urllib late, and that user may not read the folder of the interpreter.
OTHER_USER = """
import os, sys, urllib.parse
from pathlib import Path
from mien.describe.store.store import Store
from mien.errors import StoreError
path = Path(sys.argv[1])
if os.getuid() == 0:
    os.setuid(65534)
with Store(path, writable=False) as store:
    print(len(store))
try:
    Store(path)
except StoreError as error:
    print(f"{error}; {error.hint}")
"""


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_store_in_a_read_only_folder_can_be_read_and_says_why_it_cannot_be_written(killed: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's folder is not accessible to other users
        folder = Path(name)
        with Store(folder / "store.sqlite") as store:
            store.put([description("a")])
            if killed:  # copied while it is open, with a journal that is never cleaned up
                (folder / "copy").mkdir()
                for file in folder.glob("store.sqlite*"):
                    shutil.copy(file, folder / "copy")
        place = folder / "copy" if killed else folder
        for file in place.glob("store.sqlite*"):
            file.chmod(0o444)
        place.chmod(0o555)
        folder.chmod(0o555)
        try:
            command = [sys.executable, "-c", OTHER_USER, str(place / "store.sqlite")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            folder.chmod(0o755)
            place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    count, message = done.stdout.splitlines()
    assert count == "1"
    assert "cannot be written" in message
    assert "make its folder writable" in message


def test_processes_that_start_at_the_same_time_have_one_writer(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mien.describe.store.store import Store\n"
        "from mien.errors import StoreLockedError\n"
        "try:\n    store = Store(Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()\n"
        "except StoreLockedError: print('locked', flush=True)"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=pipe, stdout=pipe, text=True)
        for _ in range(3)
    ]
    said = [process.stdout.readline() for process in processes if process.stdout]
    for process in processes:
        process.communicate("")
    assert sorted(said) == ["locked\n", "locked\n", "mine\n"]
    with Store(path) as store:
        assert len(store) == 0

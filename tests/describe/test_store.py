"""The store: what is put comes back, whole, once, by one writer, or an error says why not."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.describe import schema
from mien.describe.store import Store
from mien.errors import StoreError, StoreLockedError
from mien.types import Description, Failure


def description(key: str, text: str = "calm", subject_id: str = "s") -> Description:
    return Description(
        key=key, subject_id=subject_id, text=text, prompt_id="paper", engine="fake@1", finish="stop"
    )


def failure(key: str, error: str = "refused", attempts: int = 1) -> Failure:
    return Failure(key=key, subject_id="s", error=error, retryable=False, attempts=attempts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@given(st.text(), st.text(min_size=1), st.sampled_from(["stop", "length"]))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, subject_id: str, finish: str
) -> None:
    put = Description(
        key="k",
        subject_id=subject_id,
        text=text,
        prompt_id="p",
        engine="e",
        finish=finish,  # type: ignore[arg-type]
    )
    with Store(tmp_path_factory.mktemp("s") / "store.sqlite") as store:
        store.put([put])
        assert store.get("k") == put


def test_half_a_character_is_spelt_out(path: Path) -> None:
    with Store(path) as store:
        store.put([description("k", subject_id="caf\udce9")], [failure("f", "no \ud800")])
        assert store.descriptions(["k"])["k"].subject_id == r"caf\udce9"
        assert store.failures()[0].error == r"no \ud800"


def test_what_is_put_is_there_after_reopening(path: Path) -> None:
    with Store(path) as store:
        store.put([description("b"), description("a")], [failure("c")])
    with Store(path) as store:
        assert list(store.keys()) == ["a", "b"]
        assert list(store) == [description("a"), description("b")]
        assert len(store) == 2
        assert store.failures() == [failure("c")]
        assert store.get("nothing") is None


def test_many_keys_are_asked_for_at_once(path: Path) -> None:
    keys = [f"k{number:04}" for number in range(1201)]
    with Store(path) as store:
        store.put(description(key) for key in keys)
        assert sorted(store.descriptions([*keys, "other"])) == keys


def test_a_description_is_never_replaced(path: Path) -> None:
    with Store(path) as store:
        store.put([description("k", "first")])
        store.put([description("k", "second")], [failure("k")])
        found = store.get("k")
        assert found is not None
        assert found.text == "first"
        assert store.failures() == []


def test_a_failure_is_replaced_and_ended_by_a_description(path: Path) -> None:
    with Store(path) as store:
        store.put(failures=[failure("k", attempts=1), failure("other")])
        store.put(failures=[failure("k", attempts=3)])
        assert store.failures(["k"]) == [failure("k", attempts=3)]
        store.put([description("k")], resolved=["other"])
        assert store.failures() == []


def test_a_group_is_written_whole_or_not_at_all(path: Path) -> None:
    broken = description("b")
    object.__setattr__(broken, "prompt_id", None)
    with Store(path) as store:
        with pytest.raises(StoreError):
            store.put([description("a"), broken])
        assert list(store.keys()) == []
        store.put([description("c")])
        assert list(store.keys()) == ["c"]


def test_each_group_is_synced(path: Path) -> None:
    # FULL is 2; NORMAL (1) would lose the last groups in a power cut.
    with Store(path) as store:
        assert store._connection.execute("pragma synchronous").fetchone() == (2,)


def test_readers_read_while_one_writes(path: Path) -> None:
    with Store(path) as writer:
        writer.put([description("a")])
        with Store(path, writable=False) as reader:
            assert list(reader.keys()) == ["a"]
            writer.put([description("b")])
            assert list(reader.keys()) == ["a", "b"]


def test_a_reader_cannot_write(path: Path) -> None:
    Store(path).close()
    with Store(path, writable=False) as reader, pytest.raises(StoreError, match="cannot be written"):
        reader.put([description("a")])


def test_reading_what_is_not_there_says_how_to_make_it(path: Path) -> None:
    with pytest.raises(StoreError, match="no store at") as caught:
        Store(path, writable=False)
    assert "mien describe" in caught.value.hint
    assert not path.exists()


def test_a_second_writer_is_refused(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(StoreLockedError, match="another process") as caught:
            Store(path)
        assert caught.value.retryable
        store.put([description("a")])
    with Store(path) as store:
        assert list(store.keys()) == ["a"]


def test_a_writer_in_another_process_is_refused_until_it_is_killed(path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from mien.describe.store import Store\n"
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
def test_a_file_that_is_no_store_is_refused_and_kept(path: Path, content: bytes, message: str) -> None:
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
    # What a process leaves that was killed while it made the store.
    path.touch()
    with Store(path) as store:
        store.put([description("a")])
        assert len(store) == 1


def test_a_newer_layout_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ("languages", ("alter table descriptions add column language text",))
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
        with Store(path):
            pass
    for writable in (True, False):
        with pytest.raises(StoreError, match=r"newer mien.*'languages'"):
            Store(path, writable=writable)


def test_a_step_that_is_added_keeps_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        store.put([description("a")])
    step = ("notes", ("create table notes (text text)",))
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    with pytest.raises(StoreError, match="older layout"):
        Store(path, writable=False)
    with Store(path) as store:
        assert list(store) == [description("a")]
    with Store(path, writable=False) as store:
        assert len(store) == 1


def test_the_names_of_released_steps_are_frozen() -> None:
    assert [name for name, _ in schema.MIGRATIONS] == ["descriptions and failures"]


def test_a_full_disk_is_said_and_earlier_rows_are_kept(path: Path) -> None:
    with Store(path) as store:
        store.put([description("a")])
        pages = store._connection.execute("pragma page_count").fetchone()[0]
        store._connection.execute(f"pragma max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="disk is full") as caught:
            store.put(description(f"k{number}", "word " * 500) for number in range(50))
        assert "kept" in caught.value.hint
        assert list(store.keys()) == ["a"]
    with Store(path) as store:
        store.put([description("b")])
        assert list(store.keys()) == ["a", "b"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written") as caught:
        Store(tmp_path / "file" / "store.sqlite")
    assert caught.value.hint


def test_closing_twice_is_no_error(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.get("a")

"""The store: rows are read back exactly, once, or an error says why not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.descriptions import description, failure

from mien.describe.store.store import Store
from mien.errors import StoreError
from mien.types import Description


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@given(st.text(), st.text(min_size=1), st.sampled_from(["stop", "length"]))
def test_any_text_is_read_back(
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


def test_lone_surrogates_are_escaped(path: Path) -> None:
    with Store(path) as store:
        store.put([description("k", subject_id="caf\udce9")], [failure("f", "no \ud800")])
        assert store.descriptions(["k"])["k"].subject_id == r"caf\udce9"
        assert store.failures()[0].error == r"no \ud800"


def test_rows_survive_reopening(path: Path) -> None:
    with Store(path) as store:
        store.put([description("b"), description("a")], [failure("c")])
    with Store(path) as store:
        assert list(store.keys()) == ["a", "b"]
        assert list(store) == [description("a"), description("b")]
        assert len(store) == 2
        assert store.failures() == [failure("c")]
        assert store.get("nothing") is None


def test_many_keys_are_looked_up_at_once(path: Path) -> None:
    keys = [f"k{number:04}" for number in range(1201)]
    with Store(path) as store:
        store.put(description(key) for key in keys)
        assert sorted(store.descriptions([*keys, "other"])) == keys


def test_described_keys_are_found_without_reading_texts(path: Path) -> None:
    keys = [f"k{number:04}" for number in range(1201)]
    with Store(path) as store:
        store.put((description(key) for key in keys), [failure("failed")])
        assert store.described_keys([*keys, "failed", "other"]) == set(keys)
        assert store.described_keys([]) == set()


def test_failures_are_iterated_in_the_order_of_keys(path: Path) -> None:
    with Store(path) as store:
        store.put(failures=[failure("b"), failure("a")])
        found = store.iterate_failures()
        assert next(found) == failure("a")
        assert list(found) == [failure("b")]


def test_a_description_is_never_replaced(path: Path) -> None:
    with Store(path) as store:
        store.put([description("k", "first")])
        store.put([description("k", "second")], [failure("k")])
        found = store.get("k")
        assert found is not None
        assert found.text == "first"
        assert store.failures() == []


def test_a_failure_is_replaced_by_a_failure_and_removed_by_a_description(path: Path) -> None:
    with Store(path) as store:
        store.put(failures=[failure("k", attempts=1), failure("other")])
        store.put(failures=[failure("k", attempts=3)])
        assert store.failures(["k"]) == [failure("k", attempts=3)]
        store.put([description("k")], resolved=["other"])
        assert store.failures() == []


def test_a_group_is_written_as_a_whole_or_not_at_all(path: Path) -> None:
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


def test_readers_read_while_a_writer_writes(path: Path) -> None:
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


def test_a_full_disk_is_reported_and_earlier_rows_are_kept(path: Path) -> None:
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


def test_closing_twice_is_allowed(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.get("a")

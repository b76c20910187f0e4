"""The batch size grows while it saves time and fits into memory, is remembered, and changes no text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.factories.engines import RecordingEngine
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.engine import Request
from mien.describe.generate import describe
from mien.describe.local import batch_size
from mien.describe.local.batch_size import AutoBatchSize
from mien.describe.local.engine import LocalEngine
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import ConfigError
from mien.files import cache_directory
from mien.recipe import RunOptions
from mien.types import Subject

HERE: dict[str, Any] = {"model": "a", "device": "cpu"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(chosen: AutoBatchSize, seconds: Callable[[int], float], calls: int = 40) -> list[int]:
    """The sizes of the calls of a run in which a batch takes this long."""
    sizes = []
    for _ in range(calls):
        sizes.append(chosen.size)
        chosen.record(chosen.size, seconds(chosen.size))
    return sizes


def fixed_and_per_item(fixed: float, per_item: float) -> Callable[[int], float]:
    return lambda size: fixed + per_item * size


def test_it_grows_while_the_time_per_item_falls_and_is_remembered() -> None:
    sizes = run(AutoBatchSize(HERE), fixed_and_per_item(1.0, 0.01))
    assert sizes[:9] == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert set(sizes[9:]) == {64}
    assert set(run(AutoBatchSize(HERE), fixed_and_per_item(9.0, 0.0))) == {64}
    assert AutoBatchSize({**HERE, "device": "cuda"}).size == 1


def test_a_smaller_batch_that_is_nearly_as_fast_is_chosen() -> None:
    assert run(AutoBatchSize(HERE), fixed_and_per_item(0.1, 1.0))[-1] == 4
    assert run(AutoBatchSize({"model": "b"}), lambda size: size**1.5)[-1] == 1


def test_a_disturbed_batch_does_not_end_the_search() -> None:
    calls = iter(range(100))

    def seconds(size: int) -> float:
        return (1.0 + 0.01 * size) * (5 if next(calls) in {0, 2, 4, 5} else 1)

    assert run(AutoBatchSize(HERE), seconds)[-1] == 64


def test_batches_of_another_size_tell_nothing() -> None:
    chosen = AutoBatchSize(HERE)
    for _ in range(9):
        chosen.record(3, 1.0)
    assert chosen.size == 1


def test_it_stops_before_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = AutoBatchSize(HERE)
    monkeypatch.setattr(batch_size, "_available_memory", lambda: 900)
    monkeypatch.setattr(batch_size, "_peak_memory", lambda: 10_000 + 30 * chosen.size)
    # One of 16 takes 450 more than one of 1, so one of 32 would take more than half of what is available.
    assert run(chosen, fixed_and_per_item(1.0, 0.0))[-1] == 16
    assert AutoBatchSize(HERE).size == 16


def test_memory_is_read_on_linux() -> None:
    peak, available = batch_size._peak_memory(), batch_size._available_memory()
    if Path("/proc/meminfo").exists():
        assert peak is not None
        assert available is not None
        assert peak > 10**7
        assert available > 10**7


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "null"])
def test_a_damaged_file_counts_as_none(content: str) -> None:
    run(AutoBatchSize(HERE), fixed_and_per_item(1.0, 0.0))
    file = cache_directory() / "batch_sizes.json"
    file.write_text(content)
    assert run(AutoBatchSize(HERE), fixed_and_per_item(1.0, 0.0))[:2] == [1, 2]
    assert AutoBatchSize(HERE).size == 64


@pytest.mark.parametrize("value", ['"8"', "0", "-1", "1.5", "1000000", "null", "[8]"])
def test_a_damaged_size_counts_as_none(value: str) -> None:
    run(AutoBatchSize(HERE), fixed_and_per_item(1.0, 0.0))
    file = cache_directory() / "batch_sizes.json"
    file.write_text(file.read_text().replace("64", value))
    assert AutoBatchSize(HERE).size == 1


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert run(AutoBatchSize(HERE), fixed_and_per_item(1.0, 0.0))[-1] == 64


# --- With a model ---


@pytest.fixture
def llava(tmp_path: Path) -> Path:
    return build_tiny_llava(tmp_path / "llava")


def describe_all(
    engine: LocalEngine, people: list[Subject], options: dict[str, Any], path: Path, size: int | None
) -> tuple[dict[str, str], list[int], int]:
    """The texts by key, the sizes of the calls, and the size in the summary."""
    recorder = RecordingEngine(engine)
    with Store(path) as store:
        requests = RequestBuilder(engine=recorder, **options)
        summary = describe(people, requests, store, batch_size=size)
        texts = {item.key: item.text for item in store}
    return texts, [len(call) for call in recorder.calls], summary.batch_size


def test_texts_and_keys_are_those_of_one_by_one(
    llava: Path, subjects: Callable[..., list[Subject]], request_options: dict[str, Any], tmp_path: Path
) -> None:
    people = subjects(23)
    engine = LocalEngine(llava, max_new_tokens=6)
    texts, sizes, last = describe_all(engine, people, request_options, tmp_path / "auto.sqlite", None)
    assert sizes[:2] == [1, 2]
    assert sum(sizes) == 23
    assert last >= 2
    single = describe_all(engine, people, request_options, tmp_path / "single.sqlite", 1)
    assert single == (texts, [1] * 23, 1)


def test_a_batch_that_does_not_fit_limits_the_size_also_of_the_next_run(
    llava: Path,
    subjects: Callable[..., list[Subject]],
    request_options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people = subjects(30)
    engine = LocalEngine(llava, max_new_tokens=2)
    answer = engine._model.describe

    def limited(requests: list[Request], *args: Any, **kwargs: Any) -> Any:
        if len(requests) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return answer(requests, *args, **kwargs)

    monkeypatch.setattr(engine._model, "describe", limited)
    monkeypatch.setattr(AutoBatchSize, "_advance", lambda self: setattr(self, "size", self.size * 2))
    _, sizes, last = describe_all(engine, people, request_options, tmp_path / "a.sqlite", None)
    assert set(sizes[sizes.index(8) + 1 : -1]) == {4}
    assert last == 4
    again = describe_all(LocalEngine(llava, max_new_tokens=2), people, request_options, tmp_path / "b", None)
    assert again[1][:2] == [4, 4]


def test_a_recipe_gives_a_number_or_leaves_it_to_the_engine() -> None:
    assert (RunOptions().batch_size, RunOptions().fixed_batch_size) == ("auto", 8)
    given = RunOptions.parse({"batch_size": 3}, where="[run]")
    assert (given.batch_size, given.fixed_batch_size) == (3, 3)
    for wrong in (0, -1, "8", 1.5, "automatic"):
        with pytest.raises(ConfigError, match="batch_size"):
            RunOptions.parse({"batch_size": wrong}, where="[run]")

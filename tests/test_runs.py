import math
from pathlib import Path

import pytest

from mien.errors import DataError, RunError
from mien.runs import (
    Run,
    append_event,
    read_events,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "deep" / "run", command="train", recipe={"name": "x"}, digest="d1")


def test_a_created_run_can_be_opened(run: Run) -> None:
    opened = Run.open(run.path)
    assert opened.manifest == run.manifest
    assert (opened.manifest.command, opened.manifest.recipe, opened.manifest.digest) == (
        "train",
        {"name": "x"},
        "d1",
    )
    assert {"python", "mien", "torch"} <= set(opened.manifest.versions)


def test_a_second_run_in_the_same_place_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(run.path, command="train", recipe={}, digest="d2")


def test_open_or_create_accepts_only_the_same_recipe(run: Run, tmp_path: Path) -> None:
    again = Run.open_or_create(run.path, command="train", recipe={}, digest="d1")
    assert again.manifest == run.manifest
    with pytest.raises(RunError, match="a different recipe"):
        Run.open_or_create(run.path, command="train", recipe={}, digest="d2")
    assert Run.open_or_create(tmp_path / "new", command="a", recipe={}, digest="d2").manifest.digest == "d2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run"),
        ("{", "cannot be read"),
        ("[]", "schema None"),
        ('{"schema": 3}', "schema 3, not 2"),
        ('{"schema": 1, "color": 3}', "is not a manifest"),
    ],
)
def test_a_folder_that_is_not_a_run_is_an_error(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        Run.open(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tutoral", "did you mean {runs}/tutorial? "), ("other", "name a directory with a manifest.json")],
)
def test_a_run_that_does_not_exist_gets_the_nearest_one_as_a_hint(
    tmp_path: Path, name: str, hint: str
) -> None:
    Run.create(tmp_path / "tutorial", command="train", recipe={}, digest="d")
    (tmp_path / "tutora").mkdir()  # closer, and no run
    with pytest.raises(RunError, match=f"^no run at {tmp_path / name}$") as caught:
        Run.open(tmp_path / name)
    assert caught.value.hint.startswith(hint.format(runs=tmp_path))


def test_a_run_in_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        Run.open(tmp_path / "none" / "run")


def test_a_run_cannot_be_created_at_the_path_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written: File exists"):
        Run.create(tmp_path / "file", command="a", recipe={}, digest="d")
    with pytest.raises(RunError, match="is not a run"):
        Run.open(tmp_path / "file")


def test_events_are_read_in_order_with_their_times(run: Run) -> None:
    assert run.events().items == ()
    run.append("step", loss=0.5)
    run.append("note", text="two\nlines")
    run.append("step", loss=0.25)
    assert [event["loss"] for event in run.events().named("step")] == [0.5, 0.25]
    assert [event["event"] for event in run.events().items] == ["step", "note", "step"]
    assert all(event["time"].endswith("+00:00") for event in run.events().items)


def test_an_incomplete_last_line_is_reported_and_the_next_event_is_intact(run: Run) -> None:
    run.append("step", n=1)
    run.append("step", n=2)
    file = run.path / "events.jsonl"
    whole = file.read_bytes()
    for end in range(whole.index(b"\n") + 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        assert read_events(file).torn_lines == (2,)
        run.append("step", n=3)
        assert [event["n"] for event in run.events().items] == [1, 3]
        assert run.events().torn_lines == (2,)


def test_an_event_without_its_newline_is_read(run: Run) -> None:
    run.append("step", n=1)
    file = run.path / "events.jsonl"
    file.write_bytes(file.read_bytes().rstrip())
    run.append("step", n=2)
    assert [event["n"] for event in run.events().items] == [1, 2]
    assert run.events().torn_lines == ()


@pytest.mark.parametrize("value", [math.nan, object()])
def test_an_event_that_is_not_json_is_refused_and_not_written(run: Run, value: object) -> None:
    with pytest.raises(RunError, match="'step' cannot be written"):
        run.append("step", loss=value)
    assert run.events().items == ()


def test_events_can_be_appended_to_any_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append_event(path, "first", number=1)
    with path.open("ab") as file:
        file.write(b'{"event": "to')  # a crash
    append_event(path, "second", number=2)
    found = read_events(path)
    assert [(item["event"], item["number"]) for item in found.items] == [("first", 1), ("second", 2)]
    assert found.torn_lines == (2,)

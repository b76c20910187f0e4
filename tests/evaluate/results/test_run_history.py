"""What it took to make a run, from its events."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.evaluate.results.run_history import duration_text, recorded_commands, training_seconds
from mien.runs import Run, command_line


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", command="train", recipe={}, digest="d")


def test_epochs_count_from_the_start_of_each_process(run: Run) -> None:
    for epoch, seconds in ((1, 10.0), (2, 20.0), (3, 5.0), (4, 11.5)):  # resumed after the second epoch
        run.append("epoch", epoch=epoch, seconds=seconds)
    assert training_seconds(run.path) == 31.5
    assert training_seconds(run.path.parent) == 0.0  # not a run


def test_a_command_is_recorded_once_and_none_outside_of_the_command_line(run: Run) -> None:
    run.record_command()
    assert recorded_commands(run.path) == ()
    with command_line(["mien", "train", "my recipe.toml"]):
        run.record_command()
        run.record_command()
    with command_line(["mien", "evaluate", "run"]):
        run.record_command()
    run.record_command()
    found = recorded_commands(run.path)
    assert [command.line for command in found] == ["mien train 'my recipe.toml'", "mien evaluate run"]
    assert found[0].versions == run.manifest.versions
    assert found[0].seconds is not None


def test_events_of_others_are_skipped(run: Run) -> None:
    run.append("command", line=5)
    run.append("command", line="mien train", versions="new", seconds="long")
    (command,) = recorded_commands(run.path)
    assert (command.line, command.seconds, command.versions) == ("mien train", None, {})


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.2, "3 seconds"), (119, "119 seconds"), (150, "2.5 minutes"), (5400, "1.5 hours")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text

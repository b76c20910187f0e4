"""What it took to make a run: commands, time, descriptions and carbon, from the files of the run."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien.errors import MienError
from mien.runs import MANIFEST, Run, read_events

__all__ = [
    "Describing",
    "RecordedCommand",
    "carbon_emissions",
    "describing_time",
    "duration_text",
    "recorded_commands",
    "training_seconds",
]

_EMISSIONS: Final = "emissions.csv"  # as CodeCarbon writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCommand:
    """A command line that worked on a run. `seconds` is None if it was not recorded."""

    line: str
    time: str
    seconds: float | None = None
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Describing:
    """How many descriptions the store of a run got, by which engines, in how many seconds and tokens.

    Runs may share a store: it may have descriptions of people that this run does not score.

    Attributes:
        replies: The replies whose tokens were counted; some engines do not count them.
        prompt_tokens: The tokens that the model read for these.
        completion_tokens: The tokens that it wrote.
    """

    engines: tuple[str, ...]
    done: int
    seconds: float
    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    commands: tuple[RecordedCommand, ...] = ()


def recorded_commands(run: Path) -> tuple[RecordedCommand, ...]:
    """The command lines that worked on a run, in order; of runs made in Python there are none."""
    return tuple(
        RecordedCommand(
            line=event["line"],
            time=str(event.get("time", "")),
            seconds=_number(event.get("seconds")),
            machine=str(event.get("machine", "")),
            versions={str(name): str(version) for name, version in event["versions"].items()}
            if isinstance(event.get("versions"), dict)
            else {},
        )
        for event in _events(run, "command")
        if isinstance(event.get("line"), str)
    )


def describing_time(store: Path) -> Describing | None:
    """What was described into a store, from the events next to it; None without any."""
    try:
        events = list(read_events(store.with_name(f"{store.name}.events.jsonl")).named("described"))
    except MienError:
        return None
    counted = [
        (event, done, seconds)
        for event in events
        if (done := _number(event.get("done"))) and (seconds := _number(event.get("seconds"))) is not None
    ]
    if not counted:
        return None
    lines: dict[str, RecordedCommand] = {}
    for event, _, seconds in counted:
        line = event.get("command")
        if isinstance(line, str):
            lines.setdefault(
                line, RecordedCommand(line=line, time=str(event.get("time", "")), seconds=seconds)
            )
    return Describing(
        engines=tuple(dict.fromkeys(str(event.get("engine")) for event, _, _ in counted)),
        done=int(sum(done for _, done, _ in counted)),
        seconds=sum(seconds for _, _, seconds in counted),
        **_tokens([event for event, _, _ in counted]),
        commands=tuple(lines.values()),
    )


def _tokens(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The tokens of all runs that counted them."""
    names = {"replies": "replies", "prompt_tokens": "prompt", "completion_tokens": "completion"}
    totals = dict.fromkeys(names, 0)
    for event in events:
        found = event.get("tokens")
        counts = [_number(found.get(key)) for key in names.values()] if isinstance(found, dict) else [None]
        if None not in counts:
            for name, count in zip(names, counts, strict=True):
                totals[name] += int(count or 0)
    return totals


def training_seconds(run: Path) -> float:
    """How long the epochs of a run took; 0 if that is unknown.

    Events have the time since the start of the process. After an interruption it starts again from zero.
    """
    total, previous = 0.0, 0.0
    for event in _events(run, "epoch"):
        seconds = _number(event.get("seconds"))
        if seconds is None:
            continue
        if seconds < previous:
            total += previous
        previous = seconds
    return total + previous


def carbon_emissions(run: Path) -> float | None:
    """Kilograms of CO2 equivalents in the file that CodeCarbon writes; None if there is none."""
    try:
        with (run / _EMISSIONS).open(encoding="utf-8", newline="") as file:
            total = sum(float(row["emissions"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    return total if math.isfinite(total) else None


def duration_text(seconds: float) -> str:
    """Such as "12 seconds", "3.4 minutes" or "2.5 hours"."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def _events(run: Path, name: str) -> Iterator[dict[str, Any]]:
    return Run.open(run).events().named(name) if (run / MANIFEST).exists() else iter(())


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]

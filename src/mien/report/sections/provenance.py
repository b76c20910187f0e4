"""The section on how a run was made: commands, time, carbon, versions, and the recipe to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.evaluate.results.examples import Example
from mien.evaluate.results.run_history import (
    Describing,
    RecordedCommand,
    carbon_emissions,
    describing_time,
    duration_text,
    recorded_commands,
    training_seconds,
)
from mien.recipe.places import resolve_in_run
from mien.report.formatting import NO_VALUE, count_noun, format_count, format_number
from mien.report.sections.recipe_toml import recipe_toml
from mien.runs import Run, RunManifest

__all__ = ["CommandLine", "ProvenanceSection", "provenance_section"]

_RECIPE: Final = "recipe.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command line, when it ended, and its time, as text. `versions` are those unlike the run's."""

    line: str
    time: str
    seconds: str
    versions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceSection:
    """How a run was made.

    Attributes:
        commands: The command lines that were recorded.
        repeat: Commands that make such a run from the recipe, where that was not recorded.
        costs: What took how long, as names and texts.
        versions: Library versions at the start of the run.
        recipe: The whole recipe as TOML.
        is_grid: Whether the run is an ablation, of which the recipe is that of the reference alone.
        is_zero_shot: Whether the run scores without training.
    """

    commands: tuple[CommandLine, ...]
    repeat: tuple[str, ...]
    costs: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    recipe: str
    is_grid: bool
    is_zero_shot: bool


def provenance_section(
    run: Path, manifest: RunManifest, examples: Mapping[str, Example]
) -> ProvenanceSection:
    """The section for a run directory; of earlier versions and of Python, no commands are known."""
    described = describing_time(_store(run, manifest))
    commands = [*(() if described is None else described.commands), *recorded_commands(run)]
    is_zero_shot = _get(manifest.recipe, "zero_shot", "method") is not None
    is_grid = manifest.command not in ("train", "evaluate")
    return ProvenanceSection(
        commands=tuple(_line(command, manifest.versions) for command in commands),
        repeat=()
        if is_grid or _has_made(commands, manifest)
        else _repeat(manifest, is_zero_shot=is_zero_shot),
        costs=(
            *_described(described, examples),
            *(() if is_zero_shot or is_grid else _trained(run)),
            *_machine(commands, manifest),
            ("Carbon", _carbon(run)),
        ),
        versions=tuple(manifest.versions.items()),
        recipe=recipe_toml(manifest.recipe),
        is_grid=is_grid,
        is_zero_shot=is_zero_shot,
    )


def _store(run: Path, manifest: RunManifest) -> Path:
    """The store of descriptions, which other runs may share."""
    store = _get(resolve_in_run(manifest.recipe, run), "run", "store")
    return Path(store) if isinstance(store, str) else run / "descriptions.sqlite"


def _get(recipe: Mapping[str, Any], section: str, key: str) -> object:
    table = recipe.get(section)
    return table.get(key) if isinstance(table, Mapping) else None


def _line(command: RecordedCommand, versions: Mapping[str, str]) -> CommandLine:
    other = [f"{name} {found}" for name, found in command.versions.items() if versions.get(name) != found]
    return CommandLine(
        line=command.line,
        time=command.time[:16].replace("T", " "),
        seconds=NO_VALUE if command.seconds is None else duration_text(command.seconds),
        versions=", ".join(other),
    )


def _has_made(commands: Sequence[RecordedCommand], manifest: RunManifest) -> bool:
    """Whether the recorded commands have the one that made the run, and not only later ones."""
    return any(command.line.startswith(f"mien {manifest.command} ") for command in commands)


def _repeat(manifest: RunManifest, *, is_zero_shot: bool) -> tuple[str, ...]:
    name = manifest.recipe.get("name")
    out = shlex.quote(f"runs/{name}" if isinstance(name, str) and name else "runs/again")
    if is_zero_shot:
        return (f"mien evaluate {_RECIPE} --out {out}", f"mien report {out}")
    return (
        f"mien describe {_RECIPE} --out {out}",
        f"mien train {_RECIPE} --out {out}",
        f"mien evaluate {out}",
        f"mien report {out}",
    )


def _described(found: Describing | None, examples: Mapping[str, Example]) -> Sequence[tuple[str, str]]:
    lengths = [len(example.description.split()) for example in examples.values() if example.description]
    costs = []
    if found is not None:
        rate = f", {format_number(found.done / found.seconds, 1)} per second" if found.seconds else ""
        engines = ", ".join(found.engines)
        text = (
            f"{count_noun(found.done, 'description')} in {duration_text(found.seconds)}{rate}, by {engines}"
        )
        costs.append(("Describing", f"{text}; runs that share the store share them"))
        costs += _tokens(found)
    if lengths:
        words = f"{format_count(sum(lengths))} words, {format_number(float(np.mean(lengths)), 0)} per person"
        costs.append(("Length of the texts", f"{count_noun(len(lengths), 'description')} of {words}"))
    return costs


def _tokens(found: Describing) -> Sequence[tuple[str, str]]:
    """What the replies took, where the engine counts it."""
    if not found.replies:
        return ()
    totals = found.prompt_tokens, found.completion_tokens
    means = [format_count(round(total / found.replies)) for total in totals]
    read, written = map(format_count, totals)
    text = f"{read} read and {written} written in {count_noun(found.replies, 'reply', 'replies')}"
    return (("Tokens", f"{text}; {means[0]} and {means[1]} per reply"),)


def _trained(run: Path) -> Sequence[tuple[str, str]]:
    trained = next(Run.open(run).events().named("trained"), None)
    if trained is None:
        return ()
    seconds = training_seconds(run)
    steps, best = trained.get("steps"), trained.get("best_epoch")
    time = duration_text(seconds) if seconds else "time not recorded"
    return (("Training", f"{time}; {steps:,} steps, best epoch {best}" if isinstance(steps, int) else time),)


def _machine(commands: Sequence[RecordedCommand], manifest: RunManifest) -> Sequence[tuple[str, str]]:
    machines = dict.fromkeys(command.machine for command in commands if command.machine)
    device = _get(manifest.recipe, "run", "device")
    asked = f"run.device is {device}" if isinstance(device, str) else ""
    return (("Machine", "; ".join([*machines, *([asked] if asked else [])]) or "not recorded"),)


def _carbon(run: Path) -> str:
    emissions = carbon_emissions(run)
    if emissions is None:
        return "not measured; emissions.csv of CodeCarbon in the run would be shown"
    return f"{format_number(emissions)} kg of CO2 equivalents, by CodeCarbon"

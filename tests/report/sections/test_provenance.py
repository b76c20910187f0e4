"""How a run was made: recorded commands, time, and a recipe that can be used again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.html_pages import read_page
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main
from mien.recipe import load_recipe
from mien.report.run.page import write_report
from mien.report.sections.provenance import provenance_section
from mien.report.sections.recipe_toml import recipe_toml
from mien.runs import Run, append_event

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_is_written_as_it_is_read(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    (tmp_path / "again.toml").write_text(recipe_toml(recipe.to_json()), encoding="utf-8")
    assert load_recipe(tmp_path / "again.toml").digest() == recipe.digest()


_TEXTS = st.text(st.characters(codec="utf-8"))
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(_TEXTS, st.dictionaries(_TEXTS, _VALUES, max_size=4), max_size=4), _TEXTS)
def test_any_table_is_read_back(sections: dict[str, dict[str, object]], name: str) -> None:
    sections.pop("name", None)
    assert tomllib.loads(recipe_toml({"name": name, **sections})) == {"name": name, **sections}


def test_folders_of_the_run_and_absent_values_are_left_out() -> None:
    table = {
        "name": "x",
        "run": {"out": ".", "store": "/far/x.sqlite", "device": "cpu"},
        "train": {"ema": None},
    }
    assert tomllib.loads(recipe_toml(table)) == {"name": "x", "run": {"device": "cpu"}, "train": {}}


def test_commands_are_recorded_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = train_tiny_run(tmp_path)
    for _ in range(2):  # the same command is recorded once
        assert main(["evaluate", str(run)]) == 0
    section = provenance_section(run, Run.open(run).manifest, {})
    assert [command.line.split()[:2] for command in section.commands] == [
        ["mien", "train"],
        ["mien", "evaluate"],
    ]
    assert f"--out {run}" in section.commands[0].line
    assert (section.repeat, section.commands[0].versions) == ((), "")
    costs = dict(section.costs)
    assert "best epoch 1" in costs["Training"]
    assert "cores" in costs["Machine"]
    assert tomllib.loads(section.recipe)["name"] == "tiny"
    text = read_page(write_report(run)).text
    assert "How this was made" in text
    assert section.commands[0].line in text
    manifest = json.loads((run / "manifest.json").read_text())
    for name, version in manifest["versions"].items():
        assert f"{name} {version}" in text


def test_what_was_not_recorded_is_said_with_commands_that_repeat_it(tmp_path: Path) -> None:
    recipe = {"name": "my run", "zero_shot": {"method": None}}
    run = Run.create(tmp_path / "run", command="train", recipe=recipe, digest="0" * 64)
    run.append("trained", steps=10, best_epoch=2)
    section = provenance_section(run.path, run.manifest, {})
    assert section.commands == ()
    assert section.repeat[1] == "mien train recipe.toml --out 'runs/my run'"
    assert dict(section.costs)["Training"] == "time not recorded; 10 steps, best epoch 2"


def test_descriptions_are_those_of_the_store(tmp_path: Path) -> None:
    recipe = {"name": "x", "run": {"store": str(tmp_path / "far" / "shared.sqlite")}}
    run = Run.create(tmp_path / "run", command="train", recipe=recipe, digest="0" * 64)
    (tmp_path / "far").mkdir()
    events = tmp_path / "far" / "shared.sqlite.events.jsonl"
    append_event(
        events, "described", engine="local/x", done=100, seconds=50.0, command="mien describe r.toml"
    )
    append_event(events, "described", engine="local/x", done=20, seconds=10.0)
    append_event(events, "described", engine="broken", done="many", seconds=None)
    assert "Tokens" not in dict(provenance_section(run.path, run.manifest, {}).costs)
    tokens = {"replies": 40, "prompt": 48_000, "completion": 2_020}
    append_event(events, "described", engine="local/x", done=39, seconds=10.0, tokens=tokens)
    append_event(events, "described", engine="local/x", done=1, seconds=10.0, tokens={"replies": "many"})
    section = provenance_section(run.path, run.manifest, {})
    assert "160 descriptions in 80 seconds, 2.0 per second, by local/x" in dict(section.costs)["Describing"]
    assert dict(section.costs)["Tokens"] == (
        "48,000 read and 2,020 written in 40 replies; 1,200 and 50 per reply"
    )
    assert [command.line for command in section.commands] == ["mien describe r.toml"]
    assert section.repeat  # how it was trained is not known

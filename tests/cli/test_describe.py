"""`mien describe` and its commands, from the command line to the JSON document."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.chat_server import chat_server

from mien.cli import main
from mien.describe.store.export import read_export
from mien.evaluate.results.run_history import describing_time

RECIPE = """
name = "people"
[data]
name = "manifest"
root = "people.jsonl"
label_set = "caers"
[describe]
engine = "fake"
[run]
store = "store.sqlite"
batch_size = 4
"""
IMPORTED = ("--set", "describe.engine=imported", "--set", "describe.options={name = 'gpt-4o'}")
REFUSE = ("--set", "describe.options={refuse = ['s1']}")
Capture = pytest.CaptureFixture[str]
Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten people in two splits, and a recipe that describes them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    with Path("people.jsonl").open("w") as file:
        for number in range(10):
            Image.new("RGB", (32, 24), (number, 0, 200)).save(f"{number}.png")
            row = {"id": f"s{number}", "image": f"{number}.png", "labels": ["Happy" if number % 2 else "Sad"]}
            file.write(json.dumps({**row, "split": "train" if number < 6 else "test"}) + "\n")
    Path("recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def ask(capsys: Capture) -> Ask:
    """ask("status", ...): the exit code and the document of `mien describe ... --json`."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main(["describe", *arguments, "--json"])
        out = capsys.readouterr().out
        found: dict[str, Any] = json.loads(out) if out else {}
        assert not out or found["schema"] == 1
        return code, found

    return run


def test_tokens_are_counted_shown_and_recorded(ask: Ask, capsys: Capture) -> None:
    with chat_server() as server:
        served = (
            *("--set", "describe.engine=remote", "--set", "describe.model=llava-7b"),
            *("--set", f'run.endpoints=["{server.url}"]'),
        )
        assert ask("recipe.toml", *served, "--split", "test")[1]["tokens"] is None
        server.usage = {"prompt_tokens": 1200, "completion_tokens": 50}
        assert main(["describe", "recipe.toml", *served, "--split", "train"]) == 0
        shown = capsys.readouterr().out
        lines = dict(line.split("  ", 1) for line in shown.splitlines())
        assert lines["tokens read"].strip() == "7,200 (1,200 per reply)"
        assert lines["tokens written"].strip() == "300 (50 per reply)"
        Path("store.sqlite").unlink()
        _, found = ask("recipe.toml", *served)
        assert found["tokens"] == {"replies": 10, "prompt": 12_000, "completion": 500}
    made = describing_time(Path("store.sqlite"))
    assert made is not None
    assert (made.done, made.replies) == (20, 16)
    assert (made.prompt_tokens, made.completion_tokens) == (19_200, 800)


# --- The group -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("recipe.toml", "--split", "test"),
        ("--split", "test", "recipe.toml"),
        ("run", "recipe.toml", "--split", "test"),
    ],
)
def test_a_recipe_needs_no_command(ask: Ask, arguments: tuple[str, ...]) -> None:
    code, found = ask(*arguments)
    assert (code, found["described"]) == (0, 4)


def test_help_shows_the_options_of_run_and_all_commands(capsys: Capture) -> None:
    for flag in ("--help", "-h"):
        assert main(["describe", flag]) == 0
        shown = capsys.readouterr().out
        assert "Usage: mien describe RECIPE" in shown
        assert "Usage: mien describe COMMAND" in shown
        for word in ("--retry-failed", "--shard", "status", "import", "export", "audit", "prompts", "merge"):
            assert word in shown


def test_each_command_has_its_own_help(capsys: Capture) -> None:
    assert main(["describe", "merge", "--help"]) == 0
    assert "--prefer" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--nonsense", "recipe.toml"), ("merge",)])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert main(["describe", *arguments]) == 2
    assert "mien describe" in capsys.readouterr().err


# --- Before, during, after -----------------------------------------------------------------------------


def test_a_dry_run_reports_the_work_and_changes_nothing(ask: Ask, people: Path) -> None:
    before = sorted(people.iterdir())
    code, found = ask("recipe.toml", "--dry-run", "--set", "run.price_per_million_tokens=[1.0, 2.0]")
    assert (code, found["total"], found["open"], found["exact"]) == (0, 10, 10, True)
    assert found["cost"] > 0
    assert sorted(people.iterdir()) == before


def test_a_run_begins_with_an_estimate(capsys: Capture) -> None:
    main(["describe", "recipe.toml", "--split", "train"])
    first = capsys.readouterr().err
    assert "note: 6 of 6 subjects to describe" in first
    assert "at the rate" not in first
    main(["describe", "recipe.toml"])
    assert "at the rate of the last run" in capsys.readouterr().err
    main(["describe", "recipe.toml"])
    assert "nothing to describe" in capsys.readouterr().err


def test_status_counts_per_split(ask: Ask) -> None:
    _, before = ask("status", "recipe.toml")
    assert before["bytes"] == 0
    assert before["to_describe"] == 10
    ask("recipe.toml", "--split", "train", *REFUSE)
    code, found = ask("status", "recipe.toml")
    assert code == 0
    assert found["bytes"] > 0
    assert found["prompt"] == "paper"
    assert found["engine"].startswith("fake@")
    assert (found["to_describe"], found["to_retry"]) == (4, 1)
    [(reason, count)] = found["splits"]["train"].pop("failed").items()
    assert (reason.startswith("subject ... was refused (remove the subject"), count) == (True, 1)
    assert found["splits"]["train"] == {"subjects": 6, "described": 5, "missing": 0, "damaged": 0}
    assert found["splits"]["test"]["missing"] == 4
    _, one = ask("status", "recipe.toml", "--split", "test")
    assert list(one["splits"]) == ["test"]


def test_without_json_status_is_a_table(capsys: Capture) -> None:
    main(["describe", "recipe.toml", *REFUSE])
    capsys.readouterr()
    assert main(["describe", "status", "recipe.toml"]) == 0
    shown = capsys.readouterr().out
    assert "failed because\n        1  subject ... was refused" in shown


# --- Shards and merging --------------------------------------------------------------------------------


def test_merged_shards_equal_a_whole_run(ask: Ask, capsys: Capture) -> None:
    _, whole = ask("recipe.toml", "--set", "run.store=whole.sqlite")
    stores, described = [], 0
    for number in (1, 2, 3):
        _, found = ask("recipe.toml", "--shard", f"{number}/3")
        stores.append(found["store"])
        described += found["described"]
    assert described == whole["described"] == 10
    main(["describe", "recipe.toml", "--shard", "3/3"])
    hint = capsys.readouterr().err
    assert f"mien describe merge {' '.join(stores)} --out {Path.cwd() / 'store.sqlite'}" in hint
    code, merged = ask("merge", *stores, "--out", "store.sqlite")
    assert (code, merged["descriptions"], merged["conflicts"], merged["written"]) == (0, 10, 0, True)
    ask("export", "store.sqlite", "--out", "merged.jsonl")
    ask("export", "whole.sqlite", "--out", "whole.jsonl")
    assert Path("merged.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_failures_of_a_shard_are_listed(ask: Ask) -> None:
    found = [ask("recipe.toml", "--shard", f"{number}/2", *REFUSE) for number in (1, 2)]
    assert sorted(code for code, _ in found) == [0, 3]
    assert [failure["id"] for _, one in found for failure in one["failures"]] == ["s1"]


def test_a_conflict_is_listed_and_exits_with_4(ask: Ask, capsys: Capture) -> None:
    for name, text in (("a", "calm"), ("b", "tense")):
        Path("answers.jsonl").write_text(json.dumps({"id": "s0", "text": text}))
        ask("import", "recipe.toml", "answers.jsonl", *IMPORTED, "--set", f"run.store={name}.sqlite")
    code, found = ask("merge", "a.sqlite", "b.sqlite", "--out", "c.sqlite")
    assert (code, found["conflicts"], found["written"]) == (4, 1, False)
    assert found["listed"][0]["id"] == "s0"
    assert not Path("c.sqlite").exists()
    assert main(["describe", "merge", "a.sqlite", "b.sqlite", "--out", "c.sqlite"]) == 4
    assert "differs: s0 in a.sqlite and b.sqlite" in capsys.readouterr().err
    code, found = ask("merge", "a.sqlite", "b.sqlite", "--out", "c.sqlite", "--prefer", "first")
    assert (code, found["descriptions"], found["written"]) == (0, 1, True)


# --- In and out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_export_takes_a_recipe_or_a_store(ask: Ask, form: str) -> None:
    ask("recipe.toml")
    for what in ("recipe.toml", "store.sqlite"):
        code, found = ask("export", what, "--out", f"out.{form}")
        assert (code, found["descriptions"]) == (0, 10)
        assert {row.subject_id for row in read_export(Path(f"out.{form}"))} == {f"s{n}" for n in range(10)}


def test_descriptions_made_elsewhere_are_imported(ask: Ask, capsys: Capture) -> None:
    lines = [json.dumps({"id": f"s{number}", "text": f"text {number}"}) for number in (*range(9), 99)]
    Path("answers.jsonl").write_text("\n".join(lines))
    code, found = ask("import", "recipe.toml", "answers.jsonl", *IMPORTED)
    assert code == 3  # one of them belongs to no subject
    counts = [found[name] for name in ("imported", "existing", "subjects_without", "unmatched")]
    assert counts == [9, 0, 1, 1]
    assert (found["without"], found["unknown"]) == (["s9"], ["s99"])
    _, status = ask("status", "recipe.toml", *IMPORTED)
    assert status["to_describe"] == 1
    # The engine is not asked for the tenth: it is not here.
    assert main(["describe", "recipe.toml", *IMPORTED]) == 6
    assert "mien describe import" in capsys.readouterr().err
    Path("answers.jsonl").write_text(json.dumps({"id": "s9", "text": "text 9"}))
    assert ask("import", "recipe.toml", "answers.jsonl", *IMPORTED)[1]["imported"] == 1
    assert ask("recipe.toml", *IMPORTED)[1]["already_described"] == 10


def test_import_is_for_the_imported_engine_only(capsys: Capture) -> None:
    Path("answers.jsonl").write_text("")
    assert main(["describe", "import", "recipe.toml", "answers.jsonl"]) == 2
    assert 'describe.engine = "imported"' in capsys.readouterr().err


# --- Prompts and words ---------------------------------------------------------------------------------


def test_prompts_are_listed(ask: Ask, capsys: Capture) -> None:
    _, found = ask("prompts")
    paper = next(one for one in found["prompts"] if one["id"] == "paper")
    assert paper["needs_box"]
    assert len(paper["digest"]) == 64
    assert "the person in the red box" in paper["template"]
    main(["describe", "prompts"])
    assert "paper  " in capsys.readouterr().out


def test_an_audit_raises_the_alarm_for_a_leak(ask: Ask, capsys: Capture) -> None:
    rows = [{"id": f"s{n}", "text": f"The person looks {'Happy' if n % 2 else 'Sad'}."} for n in range(10)]
    Path("answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ask("import", "recipe.toml", "answers.jsonl", *IMPORTED)
    code, found = ask("audit", "recipe.toml", *IMPORTED)
    assert (code, found["n"], found["label_set"]) == (0, 10, "caers")
    assert json.loads(Path("runs/people/description_audit.json").read_text())["n"] == 10
    main(["describe", "audit", "recipe.toml", *IMPORTED])
    assert "descriptions of 10 subjects" in capsys.readouterr().out


def test_descriptions_in_a_file_are_audited_without_a_recipe(ask: Ask) -> None:
    rows = [
        {"id": "a", "text": "Calm.", "label": "Neutral"},
        {"id": "b", "description": "Ow!", "label": "Angry"},
    ]
    Path("answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, found = ask("audit", "--answers", "answers.jsonl", "--label-set", "caers")
    assert (code, found["n"], found["missing"]) == (0, 2, 0)


@pytest.mark.parametrize(
    "arguments",
    [(), ("recipe.toml", "--answers", "a"), ("--answers", "a")],
    ids=["nothing", "both", "no labels"],
)
def test_an_audit_needs_a_recipe_or_a_file(arguments: tuple[str, ...]) -> None:
    assert main(["describe", "audit", *arguments]) == 2


def test_an_invalid_line_is_reported_with_its_number(capsys: Capture) -> None:
    Path("answers.jsonl").write_text('{"id": "a", "text": "b"}\n[]\n')
    assert main(["describe", "audit", "--answers", "answers.jsonl", "--label-set", "caers"]) == 4
    assert "line 2 of answers.jsonl" in capsys.readouterr().err

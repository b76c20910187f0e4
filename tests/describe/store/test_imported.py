"""Imported descriptions: stored once under the keys of their subjects, or an error that names the lines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Request
from mien.describe.fake import FakeEngine
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.imported import ImportedEngine, ImportedOptions, ImportSummary, import_descriptions
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import ConfigError, DataError, EngineError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Subject

Make = Callable[..., list[Subject]]
Write = Callable[..., Path]


def engine(name: str = "gpt-4o-2024") -> ImportedEngine:
    return ImportedEngine(ImportedOptions(name=name))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write({"id": ...}, ...): a file with these lines."""

    def make(*lines: Any) -> Path:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    return make


@pytest.fixture
def import_file(store: Store, request_options: dict[str, Any]) -> Callable[..., ImportSummary]:
    """import_file(path, subjects): imports a file into the store."""

    def run(path: Path, subjects: list[Subject], **other: Any) -> ImportSummary:
        return import_descriptions(
            path,
            subjects,
            request_builder=RequestBuilder(**{"engine": engine(), **request_options, **other}),
            store=store,
        )

    return run


def test_the_recipe_names_the_source() -> None:
    opened = open_engine(DescribeOptions(engine="imported", options={"name": "gpt-4o"}), RunOptions())
    assert opened.name == "imported gpt-4o"
    assert opened.signature != engine("other").signature
    with pytest.raises(ConfigError, match="name"):
        open_engine(DescribeOptions(engine="imported"), RunOptions())


def test_the_name_of_version_0_1_0_opens_the_same_engine() -> None:
    options: dict[str, JsonValue] = {"name": "gpt-4o"}
    old = open_engine(DescribeOptions(engine="foreign", options=options), RunOptions())
    new = open_engine(DescribeOptions(engine="imported", options=options), RunOptions())
    assert type(old) is type(new) is ImportedEngine
    # Stores of version 0.1.0 are keyed by this.
    assert old.signature == new.signature == {"engine": "foreign", "version": 1, "name": "gpt-4o"}


def test_calling_the_engine_says_how_to_import() -> None:
    assert list(engine().describe([])) == []
    request = Request(subject_id="s", images=(Image.new("RGB", (8, 8)),), prompt="How?")
    with pytest.raises(EngineError, match="made elsewhere") as caught:
        engine().describe([request])
    assert "mien describe import" in caught.value.hint
    assert not caught.value.retryable


def test_imported_texts_are_found_like_generated_ones(
    subjects: Make,
    write: Write,
    import_file: Callable[..., ImportSummary],
    store: Store,
    request_options: dict[str, Any],
) -> None:
    people = subjects(3)
    path = write(
        {"id": "s1", "text": "tense"},
        "",
        {"id": "s0", "text": "calm", "finish": "length"},
        {"id": "x", "text": "y"},
    )
    assert import_file(path, people) == ImportSummary(
        new=2, existing=0, unknown_ids=("x",), missing_ids=("s2",)
    )
    found = lookup_descriptions(people, RequestBuilder(engine=engine(), **request_options), store)
    assert found.texts == {"s0": "calm", "s1": "tense"}
    assert found.missing == ("s2",)
    assert found.descriptions["s0"].finish == "length"
    assert found.descriptions["s0"].engine.startswith("imported gpt-4o-2024@")
    # Another engine has other keys.
    assert (
        lookup_descriptions(people, RequestBuilder(engine=FakeEngine(), **request_options), store).texts == {}
    )


def test_importing_twice_changes_nothing(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary], store: Store
) -> None:
    # A lone surrogate is stored escaped.
    path = write({"id": "s0", "text": "calm \ud800"}, {"id": "s1", "text": "calm"})
    import_file(path, subjects(2))
    before = list(store)
    assert import_file(path, subjects(2)) == ImportSummary(new=0, existing=2, unknown_ids=(), missing_ids=())
    assert list(store) == before


def test_a_repeated_line_is_not_a_conflict(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary]
) -> None:
    assert (
        import_file(write({"id": "s0", "text": "calm"}, {"id": "s0", "text": "calm"}), subjects(1)).new == 1
    )


def test_two_texts_for_one_id_name_both_lines(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary], store: Store
) -> None:
    path = write(
        {"id": "s0", "text": "calm"}, "", {"id": "s1", "text": "calm"}, {"id": "s0", "text": "tense"}
    )
    with pytest.raises(DataError, match=r"lines 1 and 4 .* 's0'"):
        import_file(path, subjects(2))
    assert list(store) == []


def test_two_texts_for_one_key_name_both_lines(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary], store: Store
) -> None:
    [first] = subjects(1)
    twin = Subject(id="twin", images=first.images, boxes=first.boxes)
    with pytest.raises(DataError, match=r"line 2 .* line 1 .*'s0', 'twin'"):
        import_file(write({"id": "s0", "text": "calm"}, {"id": "twin", "text": "tense"}), [first, twin])
    assert (
        import_file(write({"id": "s0", "text": "calm"}, {"id": "twin", "text": "calm"}), [first, twin]).new
        == 1
    )


def test_a_text_that_differs_from_the_stored_one_is_refused(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary], store: Store
) -> None:
    import_file(write({"id": "s0", "text": "calm"}), subjects(1))
    with pytest.raises(DataError, match=r"line 1 .* the store") as caught:
        import_file(write({"id": "s0", "text": "tense"}), subjects(1))
    assert "options.name" in caught.value.hint
    # Another name gives other keys.
    assert import_file(write({"id": "s0", "text": "tense"}), subjects(1), engine=engine("newer")).new == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ({"text": "calm"}, "the id is missing"),
        ({"id": 3, "text": "calm"}, "the id is empty or not text"),
        ({"id": "s0"}, "the text of 's0' is missing"),
        ({"id": "s0", "text": " \n"}, "the text of 's0' is empty"),
        ({"id": "s0", "text": "\ufeff \u200b"}, "the text of 's0' is empty"),
        ({"id": "s0", "text": ["calm"]}, "the text of 's0' is empty or not text"),
        ({"id": "s0", "text": "calm", "finish": "eos"}, "finish 'eos'"),
        ({"id": "s0", "text": "calm", "label": "Anger"}, "unknown field 'label'"),
    ],
)
def test_an_invalid_line_is_named_before_anything_is_written(
    *,
    subjects: Make,
    write: Write,
    import_file: Callable[..., ImportSummary],
    store: Store,
    line: Any,
    message: str,
) -> None:
    with pytest.raises(DataError, match=f"line 2 of .*{message}"):
        import_file(write({"id": "s1", "text": "calm"}, line), subjects(2))
    assert list(store) == []


def test_a_text_without_the_scores_that_the_prompt_asks_for_is_refused(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary]
) -> None:
    with pytest.raises(DataError, match="line 1"):
        import_file(write({"id": "s0", "text": "calm"}), subjects(1), prompt=get_prompt("structured"))


def test_an_unreadable_image_is_named(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary]
) -> None:
    people = subjects(1)
    people[0].images[0].path.unlink()
    with pytest.raises(DataError, match=r"line 1 .*'s0', whose image cannot be read"):
        import_file(write({"id": "s0", "text": "calm"}), people)


def test_a_missing_file_is_reported(tmp_path: Path, import_file: Callable[..., ImportSummary]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        import_file(tmp_path / "no.jsonl", [])


def test_many_texts_are_imported_in_any_order(
    subjects: Make, write: Write, import_file: Callable[..., ImportSummary], store: Store
) -> None:
    people = subjects(600)
    path = write(*({"id": person.id, "text": f"about {person.id}"} for person in reversed(people)))
    assert import_file(path, people).new == 600
    assert {row.subject_id: row.text for row in store} == {p.id: f"about {p.id}" for p in people}

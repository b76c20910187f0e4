"""Replies in JSON: deviations that change no score are tolerated, missing or invalid scores are rejected."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.factories.engines import RecordingEngine, ScriptedEngine

from mien.describe.engine import Reply
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.describe.structured_output import check_reply, parse_scores
from mien.errors import DataError, EngineError
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.types import Subject

TWO = LabelSet(name="two", labels=("Glad", "Doubt/Confusion"), exclusive=False)
SCORES = {"Glad": 0.25, "Doubt/Confusion": 1.0}
PLAIN = '{"Glad": 0.25, "Doubt/Confusion": 1}'


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}```\nI hope this helps.",
        f"Here it is:\n\n{PLAIN}\n",
        '{"Glad": 0.25, "Doubt/Confusion": 1.0,\n}',
        '{"doubt/confusion": 1, " GLAD ": 2.5e-1}',
    ],
)
def test_deviations_that_change_no_score_are_tolerated(text: str) -> None:
    found = parse_scores(text, TWO)
    assert found == SCORES
    assert list(found) == ["Glad", "Doubt/Confusion"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("The person seems glad.", "has no complete JSON object"),
        ("", "has no complete JSON object"),
        ("} what {", "has no complete JSON object"),
        ('{"Glad": 0.25, "Doubt/Confusion": ', "has no complete JSON object"),
        ('{"Glad": 0.25 "Doubt/Confusion": 1}', "is not JSON"),
        (f"{PLAIN} or rather {PLAIN}", "is not JSON"),
        ("{" * 100_000 + "}", "is not JSON"),
        ('{"Glad": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not JSON"),
        ('{"Glad": 0.25}', "has no score for 'Doubt/Confusion'"),
        ("{}", "has no score for 'Glad', 'Doubt/Confusion'"),
        ('{"Glad": 0.25, "Doubt": 1}', "and scores 'Doubt', which the label set does not have"),
        ('{"Glad": 0.25, "Doubt/Confusion": 1.01}', "with 1.01, which is not from 0 to 1"),
        ('{"Glad": -0.1, "Doubt/Confusion": 1}', "with -0.1, which is not from 0 to 1"),
        ('{"Glad": NaN, "Doubt/Confusion": 1}', "with nan, which is not from 0 to 1"),
        ('{"Glad": 1e999, "Doubt/Confusion": 1}', "with inf, which is not from 0 to 1"),
        ('{"Glad": "0.25", "Doubt/Confusion": 1}', "with '0.25', which is not a number"),
        ('{"Glad": true, "Doubt/Confusion": 1}', "with True, which is not a number"),
        ('{"Glad": null, "Doubt/Confusion": 1}', "with None, which is not a number"),
        ('{"Glad": {"score": 1}, "Doubt/Confusion": 1}', "with a list or an object, which is not a number"),
        ('{"Glad": 0.1, "glad": 0.2, "Doubt/Confusion": 1}', "scores 'Glad' twice"),
    ],
)
def test_missing_and_invalid_scores_are_rejected(text: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        parse_scores(text, TWO)
    assert "from 0 to 1" in caught.value.hint
    assert len(str(caught.value)) < 250


def test_an_unknown_label_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mien.describe.structured_output"):
        assert parse_scores(PLAIN[:-1] + ', "Joy": 7}', TWO) == SCORES
    assert "'Joy'" in caplog.text


def test_scores_of_every_label_set_are_parsed() -> None:
    for label_set in (CAERS, EMOTIC):
        scores = {label: index / len(label_set) for index, label in enumerate(label_set.labels)}
        assert parse_scores(json.dumps(scores), label_set) == scores


def test_only_replies_that_should_be_json_are_checked() -> None:
    text, failed = Reply(text="She seems glad."), EngineError("no")
    assert check_reply(text, get_prompt("paper"), TWO) is text
    assert check_reply(failed, get_prompt("structured"), TWO) is failed
    refused = check_reply(text, get_prompt("structured"), TWO)
    assert isinstance(refused, EngineError)
    assert not refused.retryable
    cut = check_reply(Reply(text=PLAIN[:-1], finish="length"), get_prompt("structured"), TWO)
    assert isinstance(cut, EngineError)
    assert "cut off at the length limit" in str(cut)
    assert "max_new_tokens" in cut.hint
    good = Reply(text=f"```json\n{PLAIN}\n```")
    assert check_reply(good, get_prompt("structured_no_box"), TWO) is good


def test_an_invalid_reply_is_a_failure_and_a_valid_one_is_stored_verbatim(
    subjects: Callable[..., list[Subject]], store: Store, request_options: dict[str, Any]
) -> None:
    replies = {"s0": f"```json\n{PLAIN}\n```", "s1": "I would rather not say."}
    engine = RecordingEngine(ScriptedEngine([Reply(text=text) for text in replies.values()]))
    request_options |= {"prompt": get_prompt("structured"), "label_set": TWO}
    summary = describe(subjects(2), RequestBuilder(engine=engine, **request_options), store)
    assert (summary.done, summary.failed) == (1, 1)
    assert [item.text for item in store] == [replies["s0"]]
    (failure,) = store.failures()
    assert "has no complete JSON object: 'I would rather not say.'" in failure.error
    assert (failure.subject_id, failure.retryable, failure.attempts) == ("s1", False, 1)
    assert engine.subject_ids == ["s0", "s1"]  # a retry would get the same reply

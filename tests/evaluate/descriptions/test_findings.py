"""The findings of an audit besides the alarm about leaks: each by hand."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from tests.factories.audit_rows import finding, honest, plain, rows_with

from mien.errors import DataError, UnknownNameError
from mien.evaluate.descriptions.description_audit import AuditRow, audit_texts
from mien.evaluate.descriptions.findings import Finding
from mien.labels import CAERS
from mien.types import Failure


def test_without_gold_labels_the_texts_alone_are_audited() -> None:
    audit = audit_texts(CAERS, plain(30))
    assert (audit.label_agreement, audit.probe, audit.level) == (None, None, "ok")
    assert finding(audit, "naming").text == "no gold labels to compare with"


@pytest.mark.parametrize(
    ("about", "text", "few", "many"),
    [
        ("refusals", "I'm sorry, but I cannot judge how the man in this image feels.", 2, 30),
        ("subject", "A garden in the rain with a table and the light of a lamp on it.", 8, 80),
        ("language", "Der Mann steht im Regen und wartet offenbar schon lange auf den Bus.", 8, None),
        ("length", "The man in the rain is tired of waiting for it to", 8, None),
    ],
)
def test_shares_become_a_note_and_then_an_alarm(about: str, text: str, few: int, many: int | None) -> None:
    for count, level in ((0, "ok"), (few, "note"), (many, "alarm")):
        if count is not None:
            audit = audit_texts(CAERS, plain(100 - count) + plain(count, text))
            assert finding(audit, about).level == level


def test_subjects_without_a_text_are_counted() -> None:
    rows = [
        *plain(6),
        AuditRow(id="a", text=None),
        AuditRow(id="b", text=None),
        AuditRow(id="c", text=" \n"),
    ]
    failed = Failure(key="k", subject_id="a", error="no", retryable=False, attempts=1)
    audit = audit_texts(CAERS, rows, failures=[failed])
    assert (audit.n, audit.missing, audit.failed, audit.empties) == (9, 2, 1, 1)
    assert finding(audit, "coverage") == Finding(
        about="coverage", level="alarm", text="6 of 9 subjects have a text"
    )
    none = audit_texts(CAERS, rows[6:])
    assert (none.text_statistics, none.near_duplicates, none.level) == (None, None, "alarm")


def test_the_same_text_for_most_subjects_is_an_alarm() -> None:
    same = "The man in the rain is waiting for the bus."
    assert finding(audit_texts(CAERS, plain(10) + plain(30, same)), "near-duplicates").level == "alarm"
    assert finding(audit_texts(CAERS, plain(90) + plain(10, same)), "near-duplicates").level == "note"
    assert finding(audit_texts(CAERS, plain(50)), "near-duplicates").level == "ok"


def test_texts_at_the_length_limit_are_counted() -> None:
    rows = [replace(row, finish="length") for row in plain(40)]
    assert (
        "100.0 % end in mid-sentence (100.0 % at the limit)"
        in finding(audit_texts(CAERS, rows), "length").text
    )


def test_replies_in_json_are_not_prose() -> None:
    def scores(label: str, rng: random.Random) -> str:
        return json.dumps(
            {name: round(0.4 * rng.random(), 2) + 0.5 * (name == label) for name in CAERS.labels}
        )

    audit = audit_texts(CAERS, rows_with(80, scores))
    assert (audit.structured, audit.text_statistics) == (80, None)
    assert audit.label_agreement is not None
    assert audit.label_agreement.first is not None
    assert audit.label_agreement.first.value == 1.0
    assert audit.level == "alarm"


def test_a_subject_without_its_one_label_is_not_compared() -> None:
    rows = [*rows_with(60, honest), AuditRow(id="x", text="The man is sad.", gold={})]
    audit = audit_texts(CAERS, rows)
    assert audit.label_agreement is not None
    assert (audit.n, audit.label_agreement.n) == (61, 60)


def test_empty_input_and_unknown_labels_are_refused() -> None:
    with pytest.raises(DataError, match="no subjects"):
        audit_texts(CAERS, [])
    with pytest.raises(UnknownNameError, match="Furious"):
        audit_texts(CAERS, [AuditRow(id="a", text="The man is angry.", gold={"Furious": 1.0})])

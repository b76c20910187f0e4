"""The audit of the words: real answers pass, texts that were told the answer do not, each finding by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.factories.shared_data import shared
from tests.spoken_rows import FILLER, finding, honest, plain, rows_with

from mien.cli.render.descriptions import render_audit
from mien.errors import RunError
from mien.evaluate.descriptions.description_audit import (
    WORDS,
    WordsRow,
    audit_words,
    read_words,
    write_words,
)
from mien.labels import CAERS, EMOTIC

# --- Real answers ---


@pytest.fixture(scope="module")
def real_rows() -> list[WordsRow]:
    lines = shared("vlm-answers", "caers_1600.jsonl").read_text(encoding="utf-8").splitlines()
    answers = map(json.loads, lines)  # of a copy with a folder "Angry"
    return [WordsRow(id=item["id"], text=item["description"], gold={item["label"]: 1.0}) for item in answers]


def test_real_answers_name_the_right_class_in_about_31_percent_and_nothing_leaks(
    real_rows: list[WordsRow],
) -> None:
    audit = audit_words(CAERS, real_rows)
    assert audit.alarms == ()
    assert finding(audit, "leak").level == "ok"
    assert finding(audit, "naming").level == "ok"
    assert audit.naming is not None
    assert audit.naming.first is not None
    # 31 % was measured on 7,000 such answers, of which these are 1,600.
    assert audit.naming.first.low < 0.31 < audit.naming.first.high
    assert audit.naming.first.value == pytest.approx(0.291, abs=0.001)
    assert audit.naming.chance == pytest.approx(1 / 7, abs=0.01)
    assert audit.probe is not None
    assert audit.probe.value == pytest.approx(0.296, abs=0.002)
    assert audit.probe.chance == 0.155
    assert audit.prose is not None
    assert (audit.prose.english, audit.prose.nobody) == (1.0, 0.0)
    # They were cut after so many tokens.
    assert finding(audit, "length").level == "note"
    assert audit.prose.cut > 0.9


def _gold(row: WordsRow) -> str:
    (label,) = row.gold or {}
    return {"Angry": "Anger"}.get(label, label)


@pytest.mark.parametrize(
    "told",
    [
        lambda text, label: label,
        lambda text, label: f"The person feels {label}. {text}",
        lambda text, label: f"{text} All in all, {label}.",
        lambda text, label: f"{text} Class {CAERS.index(label)}x.",
        lambda text, label: f"{text} (train/{label}/0001.png)",
    ],
    ids=["only the label", "label first", "label last", "a code", "the file's path"],
)
def test_real_answers_that_are_told_the_label_raise_the_alarm(
    real_rows: list[WordsRow], told: Callable[[str, str], str]
) -> None:
    rows = [replace(row, text=told(row.text or "", _gold(row))) for row in real_rows]
    audit = audit_words(CAERS, rows)
    assert audit.verdict == "alarm"
    assert "the texts encode the labels" in finding(audit, "leak").text


def test_real_answers_dealt_out_at_random_are_noticed(real_rows: list[WordsRow]) -> None:
    texts = [row.text for row in real_rows]
    random.Random(0).shuffle(texts)
    rows = [replace(row, text=text) for row, text in zip(real_rows, texts, strict=True)]
    audit = audit_words(CAERS, rows)
    assert audit.alarms == ()
    for about in ("naming", "probe"):
        assert finding(audit, about).level == "note"
        assert "not clearly better than chance" in finding(audit, about).text


# --- The alarm ---


def test_honest_words_raise_no_alarm() -> None:
    audit = audit_words(CAERS, rows_with(400, honest))
    assert audit.alarms == ()
    assert finding(audit, "naming").level == finding(audit, "leak").level == "ok"


@pytest.mark.parametrize("n", [20, 60, 400])
def test_a_text_that_repeats_the_label_raises_the_alarm(n: int) -> None:
    rows = rows_with(
        n, lambda label, rng: f"The person feels {label}, {' '.join(rng.choices(FILLER, k=20))}."
    )
    audit = audit_words(CAERS, rows)
    leak = finding(audit, "leak")
    assert leak.level == audit.verdict == "alarm"
    assert "the label named first is right in 100.0 %" in leak.text
    assert "gold labels are named in 100.0 %, others in 0.0 %" in leak.text


def test_a_few_lucky_texts_raise_none() -> None:
    rows = rows_with(6, lambda label, rng: f"The person feels {label}.")
    assert finding(audit_words(CAERS, rows), "leak").level == "ok"


def test_a_model_that_is_merely_good_is_noticed_and_not_accused() -> None:
    def good(label: str, rng: random.Random) -> str:
        return f"The person seems {label if rng.random() < 0.85 else rng.choice(CAERS.labels)}."

    audit = audit_words(CAERS, rows_with(400, good))
    assert finding(audit, "leak").level == "ok"
    assert finding(audit, "naming").level == "note"
    assert "more than descriptions of photographs are known to reach" in finding(audit, "naming").text


def test_a_text_that_names_all_labels_knows_none() -> None:
    def everything(label: str, rng: random.Random) -> str:
        return "; ".join(f"as to {name}, maybe" for name in rng.sample(CAERS.labels, 7)) + "."

    audit = audit_words(CAERS, rows_with(300, everything))
    assert audit.naming is not None
    assert audit.naming.named_if_gold is not None
    assert audit.naming.named_if_gold.value == 1.0
    assert finding(audit, "leak").level == "ok"


def _several(n: int, text: Callable[[list[str]], str]) -> Iterator[WordsRow]:
    rng = random.Random(1)
    for index in range(n):
        labels = rng.sample(EMOTIC.labels, rng.randint(1, 5))
        gold: Mapping[str, float] = dict.fromkeys(labels, 1.0) | {"Pain": 0.2}  # below what counts
        yield WordsRow(id=str(index), text=text(labels), gold=gold)


def test_the_alarm_knows_sets_where_several_labels_hold() -> None:
    leaked = audit_words(EMOTIC, _several(200, lambda labels: f"She shows {' and '.join(labels)}."))
    assert leaked.verdict == "alarm"
    assert "counting words alone reaches mAP" in finding(leaked, "leak").text
    rng = random.Random(2)
    blind = audit_words(
        EMOTIC, _several(200, lambda labels: f"She shows {' and '.join(rng.sample(EMOTIC.labels, 3))}.")
    )
    assert blind.alarms == ()


# --- Rows, files and what is shown ---


def test_an_audit_is_kept_and_comes_back(tmp_path: Path) -> None:
    assert read_words(tmp_path) is None
    for rows in (rows_with(80, honest), plain(3, "half \ud83d"), [WordsRow(id="a", text=None)]):
        audit = audit_words(CAERS, rows)
        path = write_words(tmp_path, audit)
        assert path == tmp_path / WORDS
        assert read_words(tmp_path) == audit
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept == json.loads(json.dumps(audit.to_json()))
        assert kept["verdict"] == audit.verdict


def test_a_damaged_or_newer_file_is_an_error(tmp_path: Path) -> None:
    path = write_words(tmp_path, audit_words(CAERS, plain(3)))
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-20], encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read") as caught:
        read_words(tmp_path)
    assert "mien describe audit" in caught.value.hint
    path.write_text(whole.replace('"schema": 1', '"schema": 2'), encoding="utf-8")
    with pytest.raises(RunError, match="schema 2"):
        read_words(tmp_path)
    with pytest.raises(RunError, match="cannot be written"):
        write_words(tmp_path / "nowhere", audit_words(CAERS, plain(3)))


def test_what_is_shown_puts_the_alarm_first_and_loud() -> None:
    leaked = render_audit(
        audit_words(CAERS, rows_with(60, lambda label, rng: f"He is {label}, I am sure of it."))
    )
    head, first, *_ = leaked.splitlines()
    assert head == "descriptions of 60 subjects, labels of 'caers': ALARM"
    assert first.startswith("!! ALARM !! ")
    assert "\nAnger " in leaked
    honest = render_audit(audit_words(CAERS, plain(30)))
    assert honest.startswith("descriptions of 30 subjects, labels of 'caers': OK")
    assert "!!" not in honest

"""The audit of descriptions: real replies pass, texts made from the label do not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.factories.audit_rows import FILLER, finding, honest, plain, rows_with
from tests.factories.shared_data import shared

from mien.cli.render.descriptions import render_audit
from mien.errors import DataError, RunError
from mien.evaluate.descriptions.description_audit import (
    AUDIT_FILE,
    AuditRow,
    audit_texts,
    read_audit,
    write_audit,
)
from mien.labels import CAERS, EMOTIC

# --- Real replies ---


@pytest.fixture(scope="module")
def real_rows() -> list[AuditRow]:
    lines = shared("vlm-answers", "caers_1600.jsonl").read_text(encoding="utf-8").splitlines()
    replies = map(json.loads, lines)  # of a copy of CAER-S with a folder "Angry"
    return [AuditRow(id=item["id"], text=item["description"], gold={item["label"]: 1.0}) for item in replies]


def test_real_replies_name_the_right_class_in_about_31_percent_and_nothing_leaks(
    real_rows: list[AuditRow],
) -> None:
    audit = audit_texts(CAERS, real_rows)
    assert audit.alarms == ()
    assert finding(audit, "leak").level == "ok"
    assert finding(audit, "naming").level == "ok"
    assert audit.label_agreement is not None
    assert audit.label_agreement.first is not None
    # 31 % was measured on 7,000 such replies, of which these are 1,600.
    assert audit.label_agreement.first.low < 0.31 < audit.label_agreement.first.high
    assert audit.label_agreement.first.value == pytest.approx(0.291, abs=0.001)
    assert audit.label_agreement.chance == pytest.approx(1 / 7, abs=0.01)
    assert audit.probe is not None
    assert audit.probe.value == pytest.approx(0.296, abs=0.002)
    assert audit.probe.chance == 0.155
    assert audit.text_statistics is not None
    assert (audit.text_statistics.english, audit.text_statistics.without_person) == (1.0, 0.0)
    # They reached a limit on the number of tokens.
    assert finding(audit, "length").level == "note"
    assert audit.text_statistics.truncated > 0.9


def _gold(row: AuditRow) -> str:
    (label,) = row.gold or {}
    return {"Angry": "Anger"}.get(label, label)


@pytest.mark.parametrize(
    "leak",
    [
        lambda text, label: label,
        lambda text, label: f"The person feels {label}. {text}",
        lambda text, label: f"{text} All in all, {label}.",
        lambda text, label: f"{text} Class {CAERS.index(label)}x.",
        lambda text, label: f"{text} (train/{label}/0001.png)",
    ],
    ids=["only the label", "label first", "label last", "a code", "the file's path"],
)
def test_real_replies_with_the_label_added_raise_the_alarm(
    real_rows: list[AuditRow], leak: Callable[[str, str], str]
) -> None:
    rows = [replace(row, text=leak(row.text or "", _gold(row))) for row in real_rows]
    audit = audit_texts(CAERS, rows)
    assert audit.level == "alarm"
    assert "the texts encode the labels" in finding(audit, "leak").text


def test_real_replies_in_random_order_are_noticed(real_rows: list[AuditRow]) -> None:
    texts = [row.text for row in real_rows]
    random.Random(0).shuffle(texts)
    rows = [replace(row, text=text) for row, text in zip(real_rows, texts, strict=True)]
    audit = audit_texts(CAERS, rows)
    assert audit.alarms == ()
    for about in ("naming", "probe"):
        assert finding(audit, about).level == "note"
        assert "not clearly better than chance" in finding(audit, about).text


# --- The alarm ---


def test_honest_texts_raise_no_alarm() -> None:
    audit = audit_texts(CAERS, rows_with(400, honest))
    assert audit.alarms == ()
    assert finding(audit, "naming").level == finding(audit, "leak").level == "ok"


@pytest.mark.parametrize("n", [20, 60, 400])
def test_a_text_that_repeats_the_label_raises_the_alarm(n: int) -> None:
    rows = rows_with(
        n, lambda label, rng: f"The person feels {label}, {' '.join(rng.choices(FILLER, k=20))}."
    )
    audit = audit_texts(CAERS, rows)
    leak = finding(audit, "leak")
    assert leak.level == audit.level == "alarm"
    assert "the label named first is right in 100.0 %" in leak.text
    assert "gold labels are named in 100.0 %, others in 0.0 %" in leak.text


def test_a_few_lucky_texts_raise_no_alarm() -> None:
    rows = rows_with(6, lambda label, rng: f"The person feels {label}.")
    assert finding(audit_texts(CAERS, rows), "leak").level == "ok"


def test_a_model_that_is_merely_good_gets_a_note_and_no_alarm() -> None:
    def good(label: str, rng: random.Random) -> str:
        return f"The person seems {label if rng.random() < 0.85 else rng.choice(CAERS.labels)}."

    audit = audit_texts(CAERS, rows_with(400, good))
    assert finding(audit, "leak").level == "ok"
    assert finding(audit, "naming").level == "note"
    assert "more than descriptions of photographs are known to reach" in finding(audit, "naming").text


def test_a_text_that_names_all_labels_knows_none() -> None:
    def everything(label: str, rng: random.Random) -> str:
        return "; ".join(f"as to {name}, maybe" for name in rng.sample(CAERS.labels, 7)) + "."

    audit = audit_texts(CAERS, rows_with(300, everything))
    assert audit.label_agreement is not None
    assert audit.label_agreement.named_if_gold is not None
    assert audit.label_agreement.named_if_gold.value == 1.0
    assert finding(audit, "leak").level == "ok"


def _several(n: int, text: Callable[[list[str]], str]) -> Iterator[AuditRow]:
    rng = random.Random(1)
    for index in range(n):
        labels = rng.sample(EMOTIC.labels, rng.randint(1, 5))
        gold: Mapping[str, float] = dict.fromkeys(labels, 1.0) | {"Pain": 0.2}  # below what counts
        yield AuditRow(id=str(index), text=text(labels), gold=gold)


def test_the_alarm_works_for_multi_label_sets() -> None:
    leaked = audit_texts(EMOTIC, _several(200, lambda labels: f"She shows {' and '.join(labels)}."))
    assert leaked.level == "alarm"
    assert "counting words alone reaches mAP" in finding(leaked, "leak").text
    rng = random.Random(2)
    blind = audit_texts(
        EMOTIC, _several(200, lambda labels: f"She shows {' and '.join(rng.sample(EMOTIC.labels, 3))}.")
    )
    assert blind.alarms == ()


# --- Files and rendering ---


def test_an_audit_is_written_and_read_back(tmp_path: Path) -> None:
    assert read_audit(tmp_path) is None
    for rows in (rows_with(80, honest), plain(3, "half \ud83d"), [AuditRow(id="a", text=None)]):
        audit = audit_texts(CAERS, rows)
        path = write_audit(tmp_path, audit)
        assert path == tmp_path / AUDIT_FILE
        assert read_audit(tmp_path) == audit
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept == json.loads(json.dumps(audit.to_json()))
        assert kept["level"] == audit.level


def test_an_audit_of_mien_0_1_is_read(tmp_path: Path) -> None:
    audit = audit_texts(CAERS, rows_with(80, honest))
    values = json.loads(json.dumps(audit.to_json()))
    old = {**values, "verdict": values["level"]}
    del old["level"]
    renamed = {"text_statistics": "prose", "near_duplicates": "sameness", "label_agreement": "naming"}
    for new_name, old_name in renamed.items():
        old[old_name] = old.pop(new_name)
    old["prose"]["cut"] = old["prose"].pop("truncated")
    old["prose"]["nobody"] = old["prose"].pop("without_person")
    old["sameness"]["commonest"] = old["sameness"].pop("most_common")
    old["sameness"]["times"] = old["sameness"].pop("most_common_count")
    old["naming"]["silent"] = old["naming"].pop("unlabeled")
    old["probe"]["telling"] = old["probe"].pop("telling_words")
    (tmp_path / "words.json").write_text(json.dumps(old))
    assert read_audit(tmp_path) == audit
    newer = audit_texts(CAERS, plain(3))
    write_audit(tmp_path, newer)
    assert read_audit(tmp_path) == newer


def test_a_damaged_or_newer_file_is_an_error(tmp_path: Path) -> None:
    path = write_audit(tmp_path, audit_texts(CAERS, plain(3)))
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-20], encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read") as caught:
        read_audit(tmp_path)
    assert "mien describe audit" in caught.value.hint
    path.write_text(whole.replace('"schema": 1', '"schema": 2'), encoding="utf-8")
    with pytest.raises(RunError, match="schema 2"):
        read_audit(tmp_path)
    with pytest.raises(DataError, match=r"missing/.*cannot be written"):
        write_audit(tmp_path / "missing", audit_texts(CAERS, plain(3)))


def test_rendering_puts_the_alarm_first() -> None:
    leaked = render_audit(
        audit_texts(CAERS, rows_with(60, lambda label, rng: f"He is {label}, I am sure of it."))
    )
    head, first, *_ = leaked.splitlines()
    assert head == "descriptions of 60 subjects, labels of 'caers': ALARM"
    assert first.startswith("!! ALARM !! ")
    assert "\nAnger " in leaked
    honest = render_audit(audit_texts(CAERS, plain(30)))
    assert honest.startswith("descriptions of 30 subjects, labels of 'caers': OK")
    assert "!!" not in honest

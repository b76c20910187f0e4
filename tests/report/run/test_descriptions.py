"""The section on descriptions: present if the run has an audit, complete, and safe with hostile text."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from tests.factories.audit_rows import honest, plain, rows_with

from mien.errors import RunError
from mien.evaluate.descriptions.description_audit import (
    AUDIT_FILE,
    AuditRow,
    DescriptionAudit,
    audit_texts,
    write_audit,
)
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.report.run.descriptions import description_section
from mien.report.run.page import write_report
from mien.runs import Run

_EVIL = "<script>alert(1)</script>"


def _audit(label_set: LabelSet = CAERS) -> DescriptionAudit:
    return audit_texts(label_set, rows_with(120, honest))


def _leak() -> DescriptionAudit:
    return audit_texts(CAERS, rows_with(60, lambda label, rng: f"The person feels {label}."))


def _page(run: Path) -> str:
    source = write_report(run).read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", source.partition("</style>")[2])))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    Run.create(tmp_path / "run", command="mien describe", recipe={"name": "x"}, digest="0" * 64)
    return tmp_path / "run"


def test_an_audit_alone_makes_a_page(run: Path) -> None:
    with pytest.raises(RunError, match="no results to report"):
        write_report(run)
    audit = _audit()
    write_audit(run, audit)
    text = _page(run)
    assert "Statistics of the descriptions of 120 subjects" in text
    for finding in audit.findings:
        assert f"{finding.about.capitalize()}: {finding.text}" in text.replace("\xa0%", " %")
    assert audit.label_agreement is not None
    for row in audit.label_agreement.labels:
        assert f"{row.named_if_gold:.3f}" in text
        assert f"{row.lift:.2f}" in text


def test_a_page_without_an_audit_has_no_section_on_descriptions(run: Path, demo_run: Path) -> None:
    assert "Descriptions" not in _page(demo_run)


def test_results_and_audit_share_a_page(demo_run: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "results.json"):
        (tmp_path / name).write_bytes((demo_run / name).read_bytes())
    write_audit(tmp_path, _audit())
    text = _page(tmp_path)
    assert "Differences" in text
    assert "How often a description names a label" in text


def test_alarms_come_first_and_decide_the_headline(run: Path) -> None:
    write_audit(run, _leak())
    source = write_report(run).read_text(encoding="utf-8")
    found = re.findall(r'<li class="(ok|note|alarm)">', source)
    assert found[0] == "alarm"
    assert set(found[1:]) <= {"ok", "note"}
    assert "the texts encode the labels" in _page(run)
    assert "Do not train on these descriptions as they are." in _page(run)


def test_labels_are_sorted_by_frequency_and_absent_ones_are_listed() -> None:
    rows = [
        AuditRow(id=str(index), text="She is at peace.", gold={"Peace": 1.0} if index < 4 else {"Pain": 1.0})
        for index in range(6)
    ]
    view = description_section(audit_texts(EMOTIC, rows))
    peace, pain = view.labels
    assert (peace.label, peace.subjects, peace.if_chosen, peace.if_not, peace.lift) == (
        *("Peace", "4", "1.000", "1.000"),
        "1.00",
    )
    assert (pain.label, pain.if_chosen_at, pain.if_not_at, pain.lift) == ("Pain", 0.0, 0.0, "")
    assert len(view.left_out) == 24
    single = description_section(audit_texts(EMOTIC, [AuditRow(id="a", text="Pain.", gold={"Pain": 1.0})]))
    assert (single.labels[0].if_not, single.labels[0].if_not_at) == ("", None)


def test_without_gold_labels_there_is_no_table(run: Path) -> None:
    write_audit(run, audit_texts(CAERS, plain(20)))
    assert "no gold labels to compare with" in _page(run)
    assert "How often a description names a label" not in _page(run)


def test_hostile_labels_are_escaped(run: Path) -> None:
    labels = LabelSet(name=_EVIL, labels=(_EVIL, "' onload='x"), exclusive=True)
    rows = [
        AuditRow(
            id=str(index),
            text=f"{labels.labels[index % 2]} zz{index % 2}",
            gold={labels.labels[index % 2]: 1.0},
        )
        for index in range(80)
    ]
    write_audit(run, audit_texts(labels, rows))
    source = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in source
    assert _EVIL in unescape(source)


def test_a_damaged_audit_is_an_error(run: Path) -> None:
    (run / AUDIT_FILE).write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        write_report(run)

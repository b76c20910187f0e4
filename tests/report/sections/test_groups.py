"""The section on groups: numbers with intervals and chance, warnings, and what it says it is for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from tests.factories.html_pages import read_page

from mien.evaluate.results.breakdown_rows import GroupRow
from mien.report.run.page import write_report
from mien.report.sections.groups import group_section

ADULT = GroupRow(
    name="fused",
    split="test",
    attribute="age",
    group="Adult",
    metric="mRA",
    value=0.75,
    low=0.74,
    high=0.76,
    chance=0.5,
    n=800,
    images=700,
    labels=26,
)
KID = replace(
    ADULT,
    group="Kid",
    value=0.7,
    n=90,
    images=80,
    compared_with="Adult",
    difference=-0.05,
    difference_low=-0.08,
    difference_high=-0.02,
)
FEW = replace(
    KID, group="Teenager", value=None, low=None, high=None, chance=None, n=3, images=3, difference=None
)
FEW = replace(FEW, difference_low=None, difference_high=None)


def test_small_groups_have_a_warning_and_tiny_ones_no_score() -> None:
    section = group_section((ADULT, KID, FEW), split="test")
    assert section is not None
    (table,) = section.tables
    assert table.header == ("mRA", "mRA \N{MINUS SIGN} Adult")
    adult, kid, few = table.lines
    assert (adult.warning, section.has_small) == ("", True)
    assert kid.warning == "small: 80 images, intervals are approximate"
    assert few.warning == "too few people for a score"
    assert few.cells[0].value == "\N{EN DASH}"
    assert (kid.cells[0].value, kid.cells[0].interval, kid.cells[0].chance) == (
        "0.700",
        "0.740 to 0.760",
        "chance 0.500",
    )
    assert (kid.cells[1].value, kid.cells[1].is_clear) == ("\N{MINUS SIGN}0.050", True)
    assert adult.cells[1].value == ""


def test_rows_of_other_splits_and_models_are_not_shown() -> None:
    other = replace(ADULT, split="val"), replace(ADULT, name="image_only")
    section = group_section((ADULT, KID, *other), split="test")
    assert section is not None
    assert [line.group for table in section.tables for line in table.lines] == ["Adult", "Kid"]
    assert group_section((ADULT,), split="val") is None


def test_the_page_says_what_the_groups_are_for(demo_run: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "evaluation.json", "scores-test.npz"):
        (tmp_path / name).write_bytes((demo_run / name).read_bytes())
    assert "Groups of people" not in read_page(write_report(tmp_path)).text  # without attributes
    document = json.loads((tmp_path / "evaluation.json").read_text())
    hostile = replace(KID, group="<script>alert(1)</script>")
    document["groups"] = [asdict(row) for row in (ADULT, hostile)]
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    page = read_page(write_report(tmp_path))
    for words in (
        "For audit only.",
        "no model, prompt or description has them",
        "<script>alert(1)</script>",
        "80 images",
    ):
        assert words in page.text
    assert "script" not in {tag for tag, _ in page.tags}

"""Votes of annotators, from records to the file of samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.data.dataset import Record
from mien.evaluate.results.examples import read_examples, write_examples
from mien.evaluate.results.votes import Votes, count_votes
from mien.types import Sample, Subject, Target


def _record(id: str, *chosen: str) -> Record:
    sample = Sample(subject=Subject.still(id, Path(f"{id}.png")), target=Target(labels={}), split="test")
    annotations = tuple(Target(labels=dict.fromkeys(labels, 1.0)) for labels in chosen)
    return Record(sample=sample, annotations=annotations)


def test_votes_are_counted_of_people_with_several_annotators() -> None:
    votes = count_votes([_record("a", "XY", "X", "X"), _record("b", "X"), _record("c")])
    assert set(votes) == {"a"}
    assert votes["a"] == Votes(annotators=3, chosen={"X": 3, "Y": 1})
    assert votes["a"].agreement == pytest.approx((3 / 3 + 1 / 3) / 2)


def test_agreement_is_one_if_all_chose_the_same_and_none_without_labels() -> None:
    assert Votes(annotators=2, chosen={"X": 2, "Y": 2}).agreement == 1
    assert Votes(annotators=2, chosen={}).agreement is None


def test_a_label_below_one_half_is_not_a_vote() -> None:
    record = _record("a", "X", "X")
    weak = Record(
        sample=record.sample, annotations=(*record.annotations, Target(labels={"X": 0.4, "Y": 0.5}))
    )
    assert count_votes([weak])["a"].chosen == {"X": 2, "Y": 1}


def test_votes_load_as_written_and_old_files_have_none(tmp_path: Path) -> None:
    path = tmp_path / "samples-test.jsonl"
    records = [_record("a", "XY", "X"), _record("b", "X")]
    write_examples(path, [record.sample for record in records], {}, votes=count_votes(records))
    with_votes, without = read_examples(path)
    assert with_votes.votes == Votes(annotators=2, chosen={"X": 2, "Y": 1})
    assert without.votes is None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert "votes" not in lines[1]  # the line is that of earlier versions

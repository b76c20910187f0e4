"""Situations: how many there are, what they mean, how rare they are, and that each can be put into words."""

from collections import defaultdict

import numpy as np
import pytest

from mien.playhouse import text as words
from mien.playhouse.appraisals import BY_APPRAISAL, DIMENSIONS_BY_APPRAISAL
from mien.playhouse.scene import EXPRESSIONS
from mien.playhouse.situations import (
    APPRAISALS,
    INDOORS,
    ITEMS,
    NOTHING,
    OCCASIONS,
    SETTINGS,
    SITUATIONS,
    appraise,
    frequency,
    is_absent_from_train,
    items_at,
)


def test_there_are_hundreds_of_situations_from_parts() -> None:
    assert len(SITUATIONS) == len(set(SITUATIONS)) == 888
    assert (len(SETTINGS), len(OCCASIONS), len(ITEMS)) == (16, 16, 22)
    assert {situation.setting for situation in SITUATIONS} == set(SETTINGS)
    assert {situation.occasion for situation in SITUATIONS} == set(OCCASIONS)
    assert {situation.item for situation in SITUATIONS} == set(ITEMS)
    assert set(SETTINGS) > INDOORS
    for occasion in OCCASIONS:
        assert NOTHING not in items_at(occasion)
        assert len({situation.setting for situation in SITUATIONS if situation.occasion == occasion}) >= 5


def test_every_situation_means_something_and_every_appraisal_is_used() -> None:
    for situation in SITUATIONS:
        meaning = appraise(situation)
        assert meaning
        assert set(meaning) <= set(APPRAISALS)
        assert all(0 < weight < 2.5 for weight in meaning.values()), situation
    assert {name for situation in SITUATIONS for name in appraise(situation)} == set(APPRAISALS)
    assert set(BY_APPRAISAL) == set(DIMENSIONS_BY_APPRAISAL) == set(APPRAISALS)
    assert all(set(row) == set(EXPRESSIONS) for row in BY_APPRAISAL.values())


def test_what_an_item_means_differs_between_occasions() -> None:
    changes = defaultdict(list)
    for situation in SITUATIONS:
        if situation.item != NOTHING:
            without, meaning = appraise(situation._replace(item=NOTHING)), appraise(situation)
            change = tuple(meaning.get(name, 0.0) - without.get(name, 0.0) for name in APPRAISALS)
            changes[situation.item, situation.occasion].append(change)
    for item in ITEMS[1:]:
        occasions = [np.mean(found, axis=0) for (name, _), found in changes.items() if name == item]
        assert len(occasions) > 1
        assert len({tuple(change.round(6)) for change in occasions}) > 0.7 * len(occasions), item
        assert all(change.any() for change in occasions), item


def test_frequencies_follow_zipfs_law() -> None:
    sorted_frequencies = np.array(sorted((frequency(situation) for situation in SITUATIONS), reverse=True))
    assert sorted_frequencies == pytest.approx(1 / (4 + np.arange(len(SITUATIONS))))
    shares = sorted_frequencies / sorted_frequencies.sum()
    assert shares[:89].sum() == pytest.approx(0.59, abs=0.01)  # a tenth of all situations
    assert shares[444:].sum() == pytest.approx(0.13, abs=0.01)  # the rarer half


def test_a_quarter_is_absent_from_train_but_every_part_occurs_there() -> None:
    absent = [situation for situation in SITUATIONS if is_absent_from_train(situation)]
    assert len(absent) == pytest.approx(len(SITUATIONS) / 4, rel=0.1)
    total = sum(map(frequency, SITUATIONS))
    assert sum(map(frequency, absent)) / total == pytest.approx(0.2, abs=0.02)
    present = set(SITUATIONS) - set(absent)
    assert {situation.setting for situation in present} == set(SETTINGS)
    for occasion in OCCASIONS:
        items = {situation.item for situation in present if situation.occasion == occasion}
        assert items == {NOTHING, *items_at(occasion)}


def test_every_setting_occasion_and_item_has_phrases_of_its_own() -> None:
    for phrases, names in (
        (words.SETTING_PHRASES, SETTINGS),
        (words.OCCASION_PHRASES, OCCASIONS),
        (words.EXPRESSION_PHRASES, EXPRESSIONS),
    ):
        assert tuple(phrases) == names
        wordings = [wording for pair in phrases.values() for wording in pair]
        assert len(set(wordings)) == len(wordings) == 2 * len(names)
    assert tuple(words.ITEM_PHRASES) == ITEMS[1:]
    assert len(set(words.ITEM_PHRASES.values())) == len(ITEMS) - 1

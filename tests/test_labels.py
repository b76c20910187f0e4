import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError, UnknownNameError
from mien.labels import BOLD, CAERS, EMOTIC, EMOTIC_DEFINITIONS, LabelSet, label_set


def test_the_three_sets_have_the_order_of_their_releases() -> None:
    assert (len(EMOTIC), len(CAERS), len(BOLD)) == (26, 7, 26)
    assert list(EMOTIC.labels) == sorted(EMOTIC.labels)
    assert [CAERS.index("Anger"), CAERS.index("Neutral"), CAERS.index("Surprise")] == [0, 4, 6]
    assert [BOLD.labels[0], BOLD.labels[11], BOLD.labels[25]] == ["Peace", "Doubt/Confusion", "Suffering"]
    assert [EMOTIC.exclusive, CAERS.exclusive, BOLD.exclusive] == [False, True, False]


def test_bold_and_emotic_have_the_same_labels_in_different_orders() -> None:
    assert set(BOLD.labels) == set(EMOTIC.labels) == set(EMOTIC_DEFINITIONS)
    assert BOLD.labels != EMOTIC.labels


def test_a_set_is_found_by_name() -> None:
    assert [label_set(name).name for name in ("emotic", "caers", "bold")] == ["emotic", "caers", "bold"]
    with pytest.raises(UnknownNameError, match="'emotik'") as caught:
        label_set("emotik")
    assert "did you mean 'emotic'?" in caught.value.hint


def test_an_unknown_label_gets_the_nearest_one_as_hint() -> None:
    with pytest.raises(UnknownNameError, match="'Hapiness'") as caught:
        EMOTIC.encode(["Hapiness"])
    assert "did you mean 'Happiness'?" in caught.value.hint


def test_encode_accepts_names_or_scores() -> None:
    assert CAERS.encode(["Sad", "Fear"]) == [0, 0, 1, 0, 0, 1, 0]
    assert CAERS.encode({"Sad": 0.5}) == [0, 0, 0, 0, 0, 0.5, 0]


@given(st.lists(st.floats(0, 1), min_size=26, max_size=26))
def test_decode_inverts_encode(vector: list[float]) -> None:
    for labels in (EMOTIC, BOLD):
        assert labels.encode(labels.decode(vector)) == vector


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(DataError, match="3 scores for the 7 labels"):
        CAERS.decode([0, 0, 1])


def test_a_set_needs_labels_without_duplicates() -> None:
    own = LabelSet(name="own", labels=("calm", "tense"), exclusive=True)
    assert own.encode(["tense"]) == [0, 1]
    with pytest.raises(DataError, match="no labels"):
        LabelSet(name="own", labels=(), exclusive=True)
    with pytest.raises(DataError, match="'calm' twice"):
        LabelSet(name="own", labels=("calm", "calm"), exclusive=True)

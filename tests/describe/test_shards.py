"""Shards: each subject is in exactly one, on every machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.describe.shards import Shard
from mien.errors import UsageError
from mien.types import Subject


def subject(name: str, folder: str = "here") -> Subject:
    return Subject.still(name, Path(folder) / "a.png")


@given(names=st.lists(st.text(min_size=1), unique=True), count=st.integers(1, 9))
def test_each_subject_is_in_one_shard(names: list[str], count: int) -> None:
    shards = [Shard(number=number, count=count) for number in range(1, count + 1)]
    for name in names:
        assert sum(shard.contains(subject(name)) for shard in shards) == 1


def test_the_shard_does_not_depend_on_the_path() -> None:
    # Never changes: shards that are started with one version are finished with another.
    in_shard = [n for n in range(20) if Shard(number=1, count=3).contains(subject(f"s{n}", folder=str(n)))]
    assert in_shard == [1, 4, 12, 14, 15]


def test_shards_have_about_the_same_size() -> None:
    shard = Shard(number=2, count=4)
    assert 200 < sum(shard.contains(subject(f"s{n}")) for n in range(1000)) < 300


def test_an_id_with_a_lone_surrogate_is_in_a_shard() -> None:
    assert Shard(number=1, count=1).contains(subject("caf\udce9"))


def test_each_shard_has_a_separate_store() -> None:
    shard = Shard.parse("2/3")
    assert shard == Shard(number=2, count=3)
    assert shard.store_path(Path("runs/x/descriptions.sqlite")) == Path(
        "runs/x/descriptions.sqlite.shard-2-of-3"
    )
    assert shard.all_store_paths(Path("a"))[1] == shard.store_path(Path("a"))
    assert len(set(shard.all_store_paths(Path("a")))) == 3


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not number/count"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0"])
def test_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no shard") as caught:
        Shard.parse(text)
    assert "from 1" in caught.value.hint

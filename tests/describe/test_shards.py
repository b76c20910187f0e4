"""Shards: together they hold everybody once, on every machine."""

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
def test_everybody_belongs_to_one_shard(names: list[str], count: int) -> None:
    shards = [Shard(number=number, count=count) for number in range(1, count + 1)]
    for name in names:
        assert sum(shard.contains(subject(name)) for shard in shards) == 1


def test_a_lot_does_not_depend_on_the_machine() -> None:
    # Frozen: shards that were begun with one version are finished with another.
    held = [n for n in range(20) if Shard(number=1, count=3).contains(subject(f"s{n}", folder=str(n)))]
    assert held == [1, 4, 12, 14, 15]


def test_shards_are_about_equal() -> None:
    shard = Shard(number=2, count=4)
    assert 200 < sum(shard.contains(subject(f"s{n}")) for n in range(1000)) < 300


def test_an_id_with_half_a_character_belongs_somewhere() -> None:
    assert Shard(number=1, count=1).contains(subject("caf\udce9"))


def test_a_shard_has_a_store_of_its_own() -> None:
    shard = Shard.parse("2/3")
    assert shard == Shard(number=2, count=3)
    assert shard.store_path(Path("runs/x/descriptions.sqlite")) == Path(
        "runs/x/descriptions.sqlite.shard-2-of-3"
    )
    assert shard.all_store_paths(Path("a"))[1] == shard.store_path(Path("a"))
    assert len(set(shard.all_store_paths(Path("a")))) == 3


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2"])
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not number/count"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0"])
def test_a_shard_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no shard") as caught:
        Shard.parse(text)
    assert "from 1" in caught.value.hint

"""1,000 faults of 20 kinds in copies of three datasets: each is reported once, and nothing else is.

What is planted and what is reported are compared as multisets of (kind, file): a fault that is missed, told
twice, told of another file or under another name, or invented, all fail.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.factories.faulty_datasets import (
    BOLD_KINDS,
    CAERS_KINDS,
    EMOTIC_KINDS,
    NUM_SOUND,
    Planted,
    write_faulty_bold,
    write_faulty_caers,
    write_faulty_emotic,
)

from mien.data import Dataset, open_dataset
from mien.data.audit.verify import verify
from mien.recipe import DataOptions

EACH = 50  # faults per kind

Write = Callable[..., Planted]
LAYOUTS: dict[str, tuple[Write, tuple[str, ...]]] = {
    "bold": (write_faulty_bold, BOLD_KINDS),
    "caers": (write_faulty_caers, CAERS_KINDS),
    "emotic": (write_faulty_emotic, EMOTIC_KINDS),
}


def _open(name: str, root: Path) -> Dataset:
    return open_dataset(DataOptions(name=name, root=root), cache=root.parent / "cache")


def test_a_thousand_faults_of_all_kinds() -> None:
    kinds = [kind for _, of_layout in LAYOUTS.values() for kind in of_layout]
    assert len(set(kinds)) == len(kinds) == 21
    assert EACH * len(kinds) >= 1000


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_planted_fault_is_reported_once_and_nothing_else(name: str, tmp_path: Path) -> None:
    write, kinds = LAYOUTS[name]
    planted = write(tmp_path / name, each=EACH)
    assert Counter(kind for kind, _ in planted.faults.elements()) == dict.fromkeys(kinds, EACH)
    found = Counter((problem.kind, problem.file) for problem in verify(_open(name, tmp_path / name)).problems)
    assert found == planted.faults


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_clean_copy_has_no_problems(name: str, tmp_path: Path) -> None:
    write, _ = LAYOUTS[name]
    assert not write(tmp_path / name, each=0).faults
    verified = verify(_open(name, tmp_path / name))
    assert verified.problems == ()
    assert verified.near_duplicates == ()
    assert verified.num_images >= NUM_SOUND

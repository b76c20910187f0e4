"""Made-up people of EMOTIC for the tests: tiny plain pictures, random names, boxes and opinions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from mien.data import open_dataset
from mien.data.dataset import Record
from mien.data.emotic.dataset import Emotic
from mien.labels import EMOTIC
from mien.playhouse.layouts.emotic import write_emotic
from mien.playhouse.layouts.photographs import AGES, GENDERS, AnnotatedImage, AnnotatedPerson
from mien.playhouse.rules import Opinion
from mien.recipe import DataOptions
from mien.types import DIMENSIONS, Box, Target

MAT = Path("Annotations") / "Annotations.mat"
Population = dict[str, list[AnnotatedImage]]

_step = st.integers(1, 10)
opinions = st.builds(
    Opinion,
    labels=st.lists(st.sampled_from(EMOTIC.labels), min_size=1, max_size=5, unique=True).map(tuple),
    dimensions=st.none() | st.tuples(_step, _step, _step),
)
# Letters of all scripts, marks, symbols and spaces; no control characters, and nothing that ends a name.
_stems = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\0"), min_size=1, max_size=12)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Partly inside of every picture, and often partly outside."""
    left, top = draw(st.integers(-9, 8)), draw(st.integers(-9, 8))
    share = draw(st.sampled_from((0.0, 0.5)))
    right, bottom = draw(st.integers(9, 90)), draw(st.integers(9, 90))
    return Box(left=left + share, top=top, right=right + share, bottom=bottom)


def actors(num_annotators: int) -> st.SearchStrategy[AnnotatedPerson]:
    said = st.lists(opinions, min_size=num_annotators, max_size=num_annotators).map(tuple)
    return st.builds(
        AnnotatedPerson,
        box=boxes(),
        opinions=said,
        gender=st.sampled_from(GENDERS),
        age=st.sampled_from(AGES),
    )


@st.composite
def photographs(draw: st.DrawFn) -> AnnotatedImage:
    """One person or many, one annotator or ten; no two people of a photograph share a box."""
    people = st.sampled_from((1, 3, 10)).flatmap(actors)
    cast = draw(st.lists(people, min_size=1, max_size=3, unique_by=lambda actor: actor.box.as_tuple()))
    size = (draw(st.integers(10, 40)), draw(st.integers(10, 40)))
    image = Image.new("RGB", size, (draw(st.integers(0, 255)), 90, 120))
    return AnnotatedImage(name=draw(_stems) + ".jpg", image=image, people=tuple(cast), scene=None)


populations: st.SearchStrategy[Population] = st.fixed_dictionaries(
    {
        split: st.lists(photographs(), max_size=3, unique_by=lambda photograph: photograph.name)
        for split in ("train", "val", "test")
    }
)


def photograph(
    name: str, *cast: Sequence[Opinion], size: tuple[int, int] = (40, 30), box: Box | None = None
) -> AnnotatedImage:
    """A plain picture whose people have said these things of them, each with a box of their own."""
    everybody = []
    for index, said in enumerate(cast):
        own = box or Box(left=index, top=1, right=20 + index, bottom=25)
        everybody.append(AnnotatedPerson(box=own, opinions=tuple(said), gender="Female", age="Adult"))
    return AnnotatedImage(name=name, image=Image.new("RGB", size), people=tuple(everybody), scene=None)


def said(labels: str, dimensions: tuple[int, int, int] | None = (5, 6, 7)) -> Opinion:
    """An opinion from labels with bars between them."""
    return Opinion(tuple(labels.split("|")), dimensions)


def copy_in_all_forms(folder: Path) -> Path:
    """Three pictures in val with two people each, who have two annotators; the copy's root."""
    both = [said("Peace|Pain", (4, 5, 6)), said("Fear", (6, 7, 8))]
    shown = [photograph(f"{name}.jpg", both, both, size=(60, 30)) for name in "abc"]
    write_emotic(folder / "copy", {"val": shown}, forms=("mat", "csv", "npy"))
    return folder / "copy"


def open_emotic(root: Path, **options: Any) -> Emotic:
    skip = options.pop("skip_broken", False)
    made = DataOptions(name="emotic", root=root, skip_broken=skip, options=options)
    dataset = open_dataset(made, cache=root.parent / "cache")
    assert isinstance(dataset, Emotic)
    return dataset


def records(root: Path, form: str, split: str = "val") -> list[Record]:
    return list(open_emotic(root, form=form).records(split))


def expected(opinions: Sequence[Opinion]) -> Target:
    """The union of labels, and the mean of dimensions as a share of ten."""
    labels = {label: 1.0 for opinion in opinions for label in opinion.labels}
    given = [opinion.dimensions for opinion in opinions if opinion.dimensions is not None]
    if not given:
        return Target(labels=labels)
    means = [sum(steps) / len(given) / 10 for steps in zip(*given, strict=True)]
    return Target(labels=labels, dimensions=dict(zip(DIMENSIONS, means, strict=True)))


def tamper(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Loads the MATLAB file, lets `change` spoil it, and saves it again."""
    from scipy.io import loadmat, savemat

    held = {name: value for name, value in loadmat(root / MAT).items() if not name.startswith("_")}
    change(held)
    savemat(root / MAT, held, do_compression=True)

"""Small copies of EMOTIC: tiny plain images with random names, boxes and annotations."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from mien.data import open_dataset
from mien.data.dataset import Record
from mien.data.emotic.dataset import Emotic
from mien.labels import EMOTIC
from mien.names import is_path_below
from mien.playhouse.layouts.annotated_images import AGES, GENDERS, AnnotatedImage, AnnotatedPerson
from mien.playhouse.layouts.emotic import write_emotic
from mien.playhouse.rules import SimulatedAnnotation
from mien.recipe import DataOptions
from mien.types import DIMENSIONS, Box, Target

MAT = Path("Annotations") / "Annotations.mat"
Population = dict[str, list[AnnotatedImage]]

_rating = st.integers(1, 10)
any_annotation = st.builds(
    SimulatedAnnotation,
    labels=st.lists(st.sampled_from(EMOTIC.labels), min_size=1, max_size=5, unique=True).map(tuple),
    dimensions=st.none() | st.tuples(_rating, _rating, _rating),
)
# Letters of all scripts, marks, symbols and spaces; no control characters, and no
# names that are paths to elsewhere.
_stems = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda stem: is_path_below(f"{stem}.jpg"))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Boxes that are partly inside of every image, and often partly outside."""
    left, top = draw(st.integers(-9, 8)), draw(st.integers(-9, 8))
    share = draw(st.sampled_from((0.0, 0.5)))
    right, bottom = draw(st.integers(9, 90)), draw(st.integers(9, 90))
    return Box(left=left + share, top=top, right=right + share, bottom=bottom)


def annotated_people(num_annotators: int) -> st.SearchStrategy[AnnotatedPerson]:
    annotators = st.lists(any_annotation, min_size=num_annotators, max_size=num_annotators).map(tuple)
    return st.builds(
        AnnotatedPerson,
        box=boxes(),
        annotations=annotators,
        gender=st.sampled_from(GENDERS),
        age=st.sampled_from(AGES),
    )


@st.composite
def annotated_images(draw: st.DrawFn) -> AnnotatedImage:
    """One or more people, with one to ten annotators; no two people in a photograph share a box."""
    people = st.sampled_from((1, 3, 10)).flatmap(annotated_people)
    cast = draw(st.lists(people, min_size=1, max_size=3, unique_by=lambda person: person.box.as_tuple()))
    size = (draw(st.integers(10, 40)), draw(st.integers(10, 40)))
    image = Image.new("RGB", size, (draw(st.integers(0, 255)), 90, 120))
    return AnnotatedImage(name=draw(_stems) + ".jpg", image=image, people=tuple(cast), scene=None)


populations: st.SearchStrategy[Population] = st.fixed_dictionaries(
    {
        split: st.lists(annotated_images(), max_size=3, unique_by=lambda image: image.name)
        for split in ("train", "val", "test")
    }
)


def annotated_image(
    name: str, *cast: Sequence[SimulatedAnnotation], size: tuple[int, int] = (40, 30), box: Box | None = None
) -> AnnotatedImage:
    """A plain image with one person per list of annotations, each with its own box."""
    people = []
    for index, own_annotations in enumerate(cast):
        own = box or Box(left=index, top=1, right=20 + index, bottom=25)
        people.append(
            AnnotatedPerson(box=own, annotations=tuple(own_annotations), gender="Female", age="Adult")
        )
    return AnnotatedImage(name=name, image=Image.new("RGB", size), people=tuple(people), scene=None)


def ticked(labels: str, dimensions: tuple[int, int, int] | None = (5, 6, 7)) -> SimulatedAnnotation:
    """An annotation with these labels, separated by bars."""
    return SimulatedAnnotation(tuple(labels.split("|")), dimensions)


def copy_in_all_forms(folder: Path) -> Path:
    """Writes three images in val, with two people and two annotators each. Returns the root."""
    both = [ticked("Peace|Pain", (4, 5, 6)), ticked("Fear", (6, 7, 8))]
    shown = [annotated_image(f"{name}.jpg", both, both, size=(60, 30)) for name in "abc"]
    write_emotic(folder / "copy", {"val": shown}, forms=("mat", "csv", "npy"))
    return folder / "copy"


def open_emotic(root: Path, **options: Any) -> Emotic:
    skip = options.pop("skip_broken", False)
    data_options = DataOptions(name="emotic", root=root, skip_broken=skip, options=options)
    dataset = open_dataset(data_options, cache=root.parent / "cache")
    assert isinstance(dataset, Emotic)
    return dataset


def records(root: Path, form: str, split: str = "val") -> list[Record]:
    return list(open_emotic(root, form=form).records(split))


def expected(annotations: Sequence[SimulatedAnnotation]) -> Target:
    """The union of the labels, and the mean of the dimensions divided by ten."""
    labels = {label: 1.0 for annotation in annotations for label in annotation.labels}
    given = [annotation.dimensions for annotation in annotations if annotation.dimensions is not None]
    if not given:
        return Target(labels=labels)
    means = [sum(steps) / len(given) / 10 for steps in zip(*given, strict=True)]
    return Target(labels=labels, dimensions=dict(zip(DIMENSIONS, means, strict=True)))


def tamper(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Loads the MATLAB file, applies `change` to its variables, and saves it again."""
    from scipy.io import loadmat, savemat

    variables = {name: value for name, value in loadmat(root / MAT).items() if not name.startswith("_")}
    change(variables)
    savemat(root / MAT, variables, do_compression=True)


def compress_elements(content: bytes) -> bytes:
    """The content of a MATLAB file with each element compressed, hence with a valid checksum.

    Bytes behind the last whole element are left out.
    """
    packed, place = content[:128], 128
    while place + 8 <= len(content):
        end = place + 8 + int.from_bytes(content[place + 4 : place + 8], "little")
        if end > len(content):
            break
        data = zlib.compress(content[place:end])
        packed += (15).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
        place = end
    return packed

"""The EMOTIC dataset: people in everyday photos, with apparent emotion as annotators see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.data.emotic.annotation_files import ACCESS, ANNOTATION_GLOBS, find_annotation_files, image_globs
from mien.data.emotic.npy_reader import ArrayImages
from mien.data.emotic.person_table import PERSON_TABLE_VERSION, collect_tables
from mien.data.emotic.targets import (
    EncodedAnnotation,
    annotation_target,
    combine_annotations,
    decode_annotations,
)
from mien.data.table_cache import CachedTables
from mien.errors import ConfigError
from mien.labels import EMOTIC, LabelSet
from mien.recipe import DataOptions, Options
from mien.types import Box, Problem, Sample, Subject, Target

__all__ = ["Emotic", "EmoticOptions"]

_SPLITS: Final = ("train", "val", "test")
_SOURCES: Final = ("mscoco", "framesdb", "emodb_small", "ade20k")


class EmoticOptions(Options):
    """`[data.options]` of EMOTIC.

    Attributes:
        form: Which annotation files to read. "auto" takes the most complete ones that are present.
        target: "combined" is the union of the annotators' labels and the mean of their dimensions. "majority"
            is the labels that more than half of them chose, or the most frequent ones if there are none, and
            the mean. "soft" is the share of the annotators who chose each label, and the mean. "annotator" is
            one sample per annotator who chose a label, with `@annotator-k` (from 0) appended to its id.
        drop_without_vad: Leave out samples without dimensions, as published results do
            (23,266 / 3,315 / 7,203).
        images: The folder that holds `mscoco/images` and the others, relative to the root.
    """

    form: Literal["auto", "mat", "csv", "npy"] = "auto"
    target: Literal["combined", "majority", "soft", "annotator"] = "combined"
    drop_without_vad: bool = False
    images: Path | None = None


class Emotic(Dataset):
    """EMOTIC: 23,571 photos of 34,320 people, with 26 labels of apparent emotion and three dimensions.

    Kosti, Alvarez, Recasens, Lapedriza: "Emotion Recognition in Context", CVPR 2017; "Context Based Emotion
    Recognition using EMOTIC Dataset", TPAMI 2019. Available on request, for non-commercial research.

    `data.root` is the folder of the official release, or of the CSV or `.npy` files in circulation. The
    `.npy` format has no boxes.

    - **Annotators.** One per person in train, several in val and test. Val has more annotators per person
      than test, therefore more labels and a higher chance level: do not compare scores on val and test.
    - **Boxes** are kept as annotated, and never clipped here. They are clipped to the real image when the
      subject is marked (`mien.media.images.mark_subject`). The annotations' `image_size` is unsuitable for
      that: read by position, it is (row, col) in `emodb_small` and (col, row) elsewhere.
    - **Dimensions** (valence, arousal, dominance, 1 to 10, here scaled to 0.1 to 1) are missing for some
      people. These people are kept, without dimensions; published sizes exclude them (`drop_without_vad`).
    - **Ids** are `{split}/{folder}/{filename}#{person}`, with the people of an image counted from 0.
    - **Gender and age** are attributes of records, for audits. Samples do not have them.
    """

    card = DatasetCard(
        name="emotic",
        title="EMOTIC: emotions in context",
        license="non-commercial research and education, on request; the photos belong to their owners",
        homepage="https://s3.sunai.uoc.edu/emotic/index.html",
        task="26 labels of apparent emotion, any number per person; valence, arousal, dominance from 1 to 10",
        access=ACCESS,
        components=(
            Component(name="annotations", globs=ANNOTATION_GLOBS),
            *(Component(name=f"images of {source}", globs=image_globs(source)) for source in _SOURCES),
        ),
        # People with dimensions, as counted in the literature.
        num_subjects={"train": 23_266, "val": 3_315, "test": 7_203},
        attributes=("gender", "age"),
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = EmoticOptions.parse(options.options, where="[data.options] of emotic")
        root = self._require_root("EMOTIC")
        files = find_annotation_files(root, self._options.form)
        if files.form != "mat" and self._options.target != "combined":
            raise ConfigError(
                f"target = {self._options.target!r} needs the labels of every annotator, but the format "
                f"{files.form} has only their union",
                hint='use Annotations.mat, or set target = "combined"',
            )
        self._files = files
        if self._options.images is None:
            self._image_root = files.image_root(root, cache)
        else:
            self._image_root = root / self._options.images
        self._tables = CachedTables.open(
            cache,
            name="emotic",
            version=PERSON_TABLE_VERSION,
            sources=files.sources,
            # The image root is included because problems name image files.
            options={"form": files.form, "splits": list(files.paths), "images": str(self._image_root)},
            parse=lambda: collect_tables(files.read(self._image_root)),
        )

    @property
    def label_set(self) -> LabelSet:
        return EMOTIC

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in _SPLITS if split in self._tables.splits)

    @property
    def has_annotators(self) -> bool:
        """The other formats have the union alone; "annotator" makes each answer a sample of its own."""
        return self._files.form == "mat" and self._options.target != "annotator"

    def problems(self) -> Sequence[Problem]:
        return self._tables.problems()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._tables.problems(split, unusable_only=True)

    def _records(self, split: str) -> Iterator[Record]:
        for row, path in self._rows_with_images(split):
            annotations = decode_annotations(row)
            targets = self._annotator_targets(split, annotations)
            attributes = {name: row[name] for name in ("gender", "age") if row[name]}
            for annotator, sample in self._samples_of_row(row, split, path, annotations):
                own = targets if annotator is None else targets[annotator : annotator + 1]
                yield Record(
                    sample=sample, annotations=own, attributes=attributes, size=sample.subject.stated_size
                )

    def _samples(self, split: str) -> Iterator[Sample]:
        """Skips each annotator's target, which would double the time."""
        for row, path in self._rows_with_images(split):
            for _, sample in self._samples_of_row(row, split, path, decode_annotations(row)):
                yield sample

    def _rows_with_images(self, split: str) -> Iterator[tuple[dict[str, Any], Path]]:
        """The people of a split, with the path of their image."""
        is_npy = self._files.form == "npy"
        array_images = ArrayImages(self._files.folder, split, self._image_root) if is_npy else None
        folders = _PathCache(self._image_root)
        for row in self._tables.rows(split):
            if array_images is not None:
                array_images.save(row["number"])
            yield row, folders[row["folder"]] / row["name"]

    def _samples_of_row(
        self, row: Mapping[str, Any], split: str, path: Path, annotations: Sequence[EncodedAnnotation]
    ) -> Iterator[tuple[int | None, Sample]]:
        """One sample, or one per annotator together with the annotator's number."""
        box = _unclipped_box(row)
        size = None if row["width"] is None else (row["width"], row["height"])
        subject_id = f"{split}/{row['folder']}/{row['name']}#{row['number']}"
        if self._files.form == "npy":
            subject_id = f"{split}/{path.stem}"
        for annotator, target in self._targets(annotations):
            if target.dimensions is None and self._options.drop_without_vad:
                continue
            sample_id = subject_id if annotator is None else f"{subject_id}@annotator-{annotator}"
            subject = Subject.still(sample_id, path, box, stated_size=size)
            yield annotator, Sample(subject=subject, target=target, split=split)

    def _targets(self, annotations: Sequence[EncodedAnnotation]) -> Iterator[tuple[int | None, Target]]:
        if self._options.target != "annotator":
            yield None, combine_annotations(annotations, self._options.target)
            return
        for annotator, (label_bits, dimensions) in enumerate(annotations):
            if label_bits:
                yield annotator, annotation_target(label_bits, dimensions)

    def _annotator_targets(self, split: str, annotations: Sequence[EncodedAnnotation]) -> tuple[Target, ...]:
        """Empty for formats that only hold the union, except in train, where there is one annotator."""
        is_known = self._files.form == "mat" or split == "train"
        return tuple(annotation_target(*annotation) for annotation in annotations) if is_known else ()


def _unclipped_box(row: Mapping[str, Any]) -> Box | None:
    """The box as annotated; it may extend beyond the image. `mien.media.images.mark_subject` clips it."""
    if row["left"] is None:
        return None
    return Box(left=row["left"], top=row["top"], right=row["right"], bottom=row["bottom"])


class _PathCache(dict[str, Path]):
    """The paths of the few subfolders, created once each: that saves a tenth of the reading time."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Path:
        self[name] = self._root / name
        return self[name]

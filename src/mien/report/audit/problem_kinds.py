"""Explains each kind of problem: its severity, what it means, and what to do about it.

To add a check, add its kind here; see the checklist in CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["SEVERITIES", "ProblemKind", "Severity", "problem_kind", "severity_rank"]

Severity = Literal["unusable", "misleading", "minor"]

# The most severe first.
SEVERITIES: Final[Mapping[Severity, str]] = {
    "unusable": "Unusable",
    "misleading": "Distorts scores",
    "minor": "Handled automatically",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """A kind of problem. `title` is a plural ("missing files")."""

    name: str
    severity: Severity
    title: str
    meaning: str
    remedy: str

    @property
    def heading(self) -> str:
        return self.title[:1].upper() + self.title[1:]


_COPY: Final = "Copy or download the file again."
_ROW: Final = "Fix the row, or skip such rows with data.skip_broken = true."
_SPLIT_FILE: Final = "Write a split file with mien data dedup, and set data.split_file to it."

# The most severe first.
_KINDS: Final = (
    # --- Unusable
    ProblemKind(
        name="missing",
        severity="unusable",
        title="missing files",
        meaning="The annotations name a file that does not exist.",
        remedy="Get the missing part of the dataset; mien doctor says where.",
    ),
    ProblemKind(
        name="empty",
        severity="unusable",
        title="empty files",
        meaning="The file has 0 bytes.",
        remedy=_COPY,
    ),
    ProblemKind(
        name="truncated",
        severity="unusable",
        title="truncated images",
        meaning="The file ends before the image does.",
        remedy=_COPY,
    ),
    ProblemKind(
        name="unreadable",
        severity="unusable",
        title="unreadable images",
        meaning="The file cannot be decoded as an image.",
        remedy=_COPY,
    ),
    ProblemKind(
        name="clip_unreadable",
        severity="unusable",
        title="unreadable clips",
        meaning="The file cannot be decoded as a clip.",
        remedy=_COPY,
    ),
    ProblemKind(
        name="clip_truncated",
        severity="unusable",
        title="truncated clips",
        meaning="The clip ends before its stated length.",
        remedy=_COPY,
    ),
    ProblemKind(
        name="too_large",
        severity="unusable",
        title="images that are too large",
        meaning="The image has more pixels than the limit.",
        remedy="Resize the image and its boxes.",
    ),
    ProblemKind(
        name="bad_row",
        severity="unusable",
        title="unreadable rows",
        meaning="A row of the annotations has wrong columns or a cell that cannot be parsed.",
        remedy=_ROW,
    ),
    ProblemKind(
        name="box_degenerate",
        severity="unusable",
        title="empty boxes",
        meaning="The right edge is not to the right of the left one, or the bottom is not below the top.",
        remedy=_ROW,
    ),
    ProblemKind(
        name="box_not_finite",
        severity="unusable",
        title="boxes that are not finite",
        meaning="An edge of the box is infinite or not a number.",
        remedy=_ROW,
    ),
    ProblemKind(
        name="box_outside",
        severity="unusable",
        title="boxes outside their image",
        meaning="The box lies entirely outside the image, so the person cannot be marked.",
        remedy="Fix the box; make sure that it is in pixels of the upright image.",
    ),
    ProblemKind(
        name="box_normalized",
        severity="unusable",
        title="boxes in shares of the image",
        meaning="The edges of the box are shares of the image's width and height, from 0 to 1, not pixels.",
        remedy="Multiply left and right by the image's width, top and bottom by its height.",
    ),
    ProblemKind(
        name="stored_orientation",
        severity="unusable",
        title="boxes on images that are not upright",
        meaning="The box was drawn before the image was turned as its EXIF orientation says, so it marks "
        "another region.",
        remedy="Turn the box as the EXIF orientation says, and state the size of the upright image.",
    ),
    ProblemKind(
        name="joints_missing",
        severity="unusable",
        title="missing or broken joint files",
        meaning="Without joints, a person has no box.",
        remedy="Download the joints again.",
    ),
    ProblemKind(
        name="no_person",
        severity="unusable",
        title="people without joints",
        meaning="This person has no valid joint in the given frames.",
        remedy=_ROW,
    ),
    ProblemKind(
        name="frame_range",
        severity="unusable",
        title="invalid frame ranges",
        meaning="The range of frames is reversed, or outside the clip.",
        remedy=_ROW,
    ),
    ProblemKind(
        name="repeated_id",
        severity="unusable",
        title="repeated ids",
        meaning="Two subjects have the same id.",
        remedy="Give each subject its own id.",
    ),
    # --- Distorts scores
    ProblemKind(
        name="split_overlap",
        severity="misleading",
        title="files in several splits",
        meaning="The same file is used for training and testing, which inflates test scores.",
        remedy=_SPLIT_FILE,
    ),
    ProblemKind(
        name="duplicate",
        severity="misleading",
        title="exact duplicates across splits",
        meaning="Files with the same bytes are in several splits, which inflates test scores.",
        remedy=_SPLIT_FILE,
    ),
    ProblemKind(
        name="near_duplicate",
        severity="misleading",
        title="near-duplicates across splits",
        meaning="Images that look the same are in several splits, which inflates test scores.",
        remedy=_SPLIT_FILE,
    ),
    ProblemKind(
        name="name_collision",
        severity="misleading",
        title="file names in two folders of one class",
        meaning="Two folders stand for the same class and contain files of the same name.",
        remedy="Remove one of the folders if they are copies.",
    ),
    ProblemKind(
        name="unknown_folder",
        severity="misleading",
        title="folders that are not a class",
        meaning="The files in such a folder are not read.",
        remedy="Rename the folder to its class, or remove it.",
    ),
    ProblemKind(
        name="unknown_label",
        severity="misleading",
        title="unknown labels",
        meaning="A label is not in the label set.",
        remedy="Fix the spelling, or choose the label set of the data.",
    ),
    ProblemKind(
        name="no_label",
        severity="misleading",
        title="people without a label",
        meaning="The person is annotated, but with no label.",
        remedy="Fix the row if a label was lost.",
    ),
    ProblemKind(
        name="dimension_range",
        severity="misleading",
        title="valence, arousal or dominance out of range",
        meaning="A value is outside its scale, or is not a number while others are.",
        remedy=_ROW,
    ),
    # --- Handled automatically
    ProblemKind(
        name="box_clipped",
        severity="minor",
        title="boxes partly outside their image",
        meaning="Part of the box is outside the image; the box is clipped before use.",
        remedy="Nothing, unless there are many: the boxes may belong to other images.",
    ),
    ProblemKind(
        name="color_mode",
        severity="minor",
        title="images with an unusual color mode",
        meaning="The image is CMYK, has a palette, 16 bits or transparency; it is converted to RGB.",
        remedy="Nothing, unless colors look wrong.",
    ),
    ProblemKind(
        name="image_note",
        severity="minor",
        title="images that are read with a warning",
        meaning="The file is damaged where that costs no pixels, has too many pixels, or has several frames.",
        remedy="Turn images whose orientation is unknown upright; for the others, nothing.",
    ),
    ProblemKind(
        name="image_size",
        severity="minor",
        title="wrong sizes in the annotations",
        meaning="The annotations state a size that the image does not have; the image's size is used.",
        remedy="Nothing; other tools that trust the stated size would misplace the boxes.",
    ),
    ProblemKind(
        name="joints_gap",
        severity="minor",
        title="gaps in the joints",
        meaning="The person is missing for more frames than can be interpolated, and has no box there.",
        remedy="Nothing.",
    ),
)
_BY_NAME: Final = {kind.name: kind for kind in _KINDS}
_RANKS: Final = {kind.name: rank for rank, kind in enumerate(_KINDS)}


def problem_kind(name: str) -> ProblemKind:
    """The kind with this name; a generic one for kinds that a dataset defines itself."""
    generic = ProblemKind(
        name=name,
        severity="misleading",
        title=name.replace("_", " "),
        meaning="A problem that the dataset itself defines.",
        remedy="See the message.",
    )
    return _BY_NAME.get(name, generic)


def severity_rank(name: str) -> int:
    """The position of a kind in the order of severity, 0 for the most severe; unknown kinds come last."""
    return _RANKS.get(name, len(_KINDS))

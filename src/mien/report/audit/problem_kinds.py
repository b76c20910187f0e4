"""What each kind of problem means to somebody who did not write the program, how bad it is, what to do.

In: the word that names a kind. Out: a `Kind`. Knows nothing about any one problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["GRAVITIES", "Gravity", "Kind", "kind_of"]

Gravity = Literal["lost", "misleading", "mild"]

# The worst first.
GRAVITIES: Final[Mapping[Gravity, str]] = {
    "lost": "Cannot be used",
    "misleading": "Makes scores wrong",
    "mild": "Handled, but worth knowing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`title` names many of them ("files missing")."""

    name: str
    gravity: Gravity
    title: str
    meaning: str
    remedy: str

    @property
    def heading(self) -> str:
        return self.title[:1].upper() + self.title[1:]


_COPY: Final = "Copy or download the file again."
_ROW: Final = "Mend the row, or leave such rows out with data.skip_broken = true."
_DEDUP: Final = "Write a split file with mien data dedup, and name it as data.split_file."

_KINDS: Final = (
    # --- Cannot be used
    Kind(
        name="missing",
        gravity="lost",
        title="files missing",
        meaning="The annotations name a file that is not there.",
        remedy="Get the missing part of the data set; mien doctor says where.",
    ),
    Kind(
        name="empty",
        gravity="lost",
        title="files empty",
        meaning="The file has no byte in it.",
        remedy=_COPY,
    ),
    Kind(
        name="truncated",
        gravity="lost",
        title="pictures cut off",
        meaning="The file ends before the picture does.",
        remedy=_COPY,
    ),
    Kind(
        name="unreadable",
        gravity="lost",
        title="pictures unreadable",
        meaning="The file is no picture that can be decoded.",
        remedy=_COPY,
    ),
    Kind(
        name="clip_unreadable",
        gravity="lost",
        title="clips unreadable",
        meaning="The file is no clip that can be decoded.",
        remedy=_COPY,
    ),
    Kind(
        name="clip_truncated",
        gravity="lost",
        title="clips cut off",
        meaning="The clip ends before its own length.",
        remedy=_COPY,
    ),
    Kind(
        name="too_large",
        gravity="lost",
        title="pictures too large",
        meaning="It has more pixels than are opened.",
        remedy="Make the picture smaller, and its boxes with it.",
    ),
    Kind(
        name="bad_row",
        gravity="lost",
        title="rows unreadable",
        meaning="A row of the annotations has the wrong columns, or a cell that cannot be read.",
        remedy=_ROW,
    ),
    Kind(
        name="box_degenerate",
        gravity="lost",
        title="boxes empty",
        meaning="The right edge is not right of the left one, or the bottom not below the top.",
        remedy=_ROW,
    ),
    Kind(
        name="box_not_finite",
        gravity="lost",
        title="boxes not finite",
        meaning="An edge of the box is no number.",
        remedy=_ROW,
    ),
    Kind(
        name="box_outside",
        gravity="lost",
        title="boxes outside of their picture",
        meaning="Nothing of the box lies inside the picture, so nobody can be marked.",
        remedy="Mend the box; see that it is in pixels of the upright picture.",
    ),
    Kind(
        name="joints_missing",
        gravity="lost",
        title="files of joints missing or broken",
        meaning="Without joints a person has no box.",
        remedy="Get the joints again.",
    ),
    Kind(
        name="no_person",
        gravity="lost",
        title="people without joints",
        meaning="No valid joint of this person lies in the frames given.",
        remedy=_ROW,
    ),
    Kind(
        name="frame_range",
        gravity="lost",
        title="frame ranges impossible",
        meaning="The range of frames is turned round, or lies outside of the clip.",
        remedy=_ROW,
    ),
    Kind(
        name="repeated_id",
        gravity="lost",
        title="ids given twice",
        meaning="Two subjects go by the same id.",
        remedy="Give each subject its own.",
    ),
    # --- Makes scores wrong
    Kind(
        name="split_overlap",
        gravity="misleading",
        title="files in two splits",
        meaning="The same file is trained on and tested on: test scores are too high.",
        remedy=_DEDUP,
    ),
    Kind(
        name="duplicate",
        gravity="misleading",
        title="exact copies across splits",
        meaning="The same bytes are in two splits: test scores are too high.",
        remedy=_DEDUP,
    ),
    Kind(
        name="near_duplicate",
        gravity="misleading",
        title="near-duplicates across splits",
        meaning="Pictures that look the same are in two splits: test scores are too high.",
        remedy=_DEDUP,
    ),
    Kind(
        name="name_collision",
        gravity="misleading",
        title="names in two folders of one class",
        meaning="Two folders stand for one class and hold the same name.",
        remedy="Remove one of the two folders, if they are copies.",
    ),
    Kind(
        name="unknown_folder",
        gravity="misleading",
        title="folders that are no class",
        meaning="What is in such a folder is not read.",
        remedy="Rename the folder as its class, or remove it.",
    ),
    Kind(
        name="unknown_label",
        gravity="misleading",
        title="labels unknown",
        meaning="A label is not in the label set.",
        remedy="Mend the spelling, or choose the label set that the data use.",
    ),
    Kind(
        name="no_label",
        gravity="misleading",
        title="people without a label",
        meaning="Annotated, but with no label at all.",
        remedy="Mend the row if a label was lost.",
    ),
    Kind(
        name="dimension_range",
        gravity="misleading",
        title="valence, arousal or dominance off the scale",
        meaning="A value lies outside of its scale, or is no number while others are given.",
        remedy=_ROW,
    ),
    # --- Handled, but worth knowing
    Kind(
        name="box_clipped",
        gravity="mild",
        title="boxes that stick out",
        meaning="Part of the box lies outside of the picture; it is clipped when it is drawn.",
        remedy="Nothing, unless there are many: then the boxes may be of other pictures.",
    ),
    Kind(
        name="color_mode",
        gravity="mild",
        title="pictures of an unusual colour mode",
        meaning="CMYK, a palette, 16 bits or transparency; it is converted to RGB.",
        remedy="Nothing, unless colours look wrong.",
    ),
    Kind(
        name="image_size",
        gravity="mild",
        title="sizes noted wrong",
        meaning="The annotations give another size than the picture has; the picture's is used.",
        remedy="Nothing here; a loader that trusts the noted size would break boxes.",
    ),
    Kind(
        name="joints_gap",
        gravity="mild",
        title="gaps in the joints",
        meaning="The person is missing for a frame, for longer than can be bridged; it has no box there.",
        remedy="Nothing.",
    ),
)
_BY_NAME: Final = {kind.name: (rank, kind) for rank, kind in enumerate(_KINDS)}


def kind_of(name: str) -> tuple[int, Kind]:
    """The rank of a kind, 0 the worst, and what it is; one that is not known stands after the known ones."""
    unknown = Kind(
        name=name,
        gravity="misleading",
        title=name.replace("_", " "),
        meaning="A problem that the data set itself defines.",
        remedy="See the message.",
    )
    return _BY_NAME.get(name, (len(_KINDS), unknown))

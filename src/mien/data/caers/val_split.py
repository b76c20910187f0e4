"""Who of CAER-S's test folder goes to val in the protocol 7:1:2: a third of each class.

In: pictures with class, name and the group of near-duplicates they belong to. Out: which of them are val.
Knows nothing about files: the order of a listing, a folder's name on disk and other classes do not matter.

Groups go whole, to one side. In each class they come in an order given by a digest of their first name, and
val takes those that do not overfill its third. A group that spans classes is drawn by its digest alone,
before the rest, and counts in each of its classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from mien.digests import digest

__all__ = ["carve"]


def carve(labels: Sequence[str], names: Sequence[str], groups: Sequence[int]) -> list[bool]:
    """For each picture, whether it is val: a third of each class's pictures, to the nearest whole group."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(groups):
        members[number].append(index)
    ordered = sorted(members.values(), key=lambda group: _lot(labels, names, group))
    wide = [group for group in ordered if len({labels[index] for index in group}) > 1]
    taken = [group for group in wide if int(_lot(labels, names, group)[0][:8], 16) * 3 < 16**8]
    room = {label: round(count / 3) for label, count in Counter(labels).items()}
    for group in taken:
        for index in group:
            room[labels[index]] -= 1
    for group in ordered:
        label = labels[group[0]]
        if len({labels[index] for index in group}) == 1 and len(group) <= room[label]:
            room[label] -= len(group)
            taken.append(group)
    val = {index for group in taken for index in group}
    return [index in val for index in range(len(names))]


def _lot(labels: Sequence[str], names: Sequence[str], group: Sequence[int]) -> tuple[str, list[str]]:
    """What orders a group: the digest of its first name, by class; then all its names, should two agree."""
    own = sorted(f"{labels[index]}/{names[index]}" for index in group)
    return digest(own[0]), own

"""The diagnosis of a dataset as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.cli.render.text import join_lines

if TYPE_CHECKING:
    from mien.data.audit.components import ComponentStatus
    from mien.data.audit.doctor import Diagnosis, SubjectCount

__all__ = ["render_diagnosis"]


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """What is present, what to do, and how the dataset may be used."""
    card = diagnosis.card
    lines = [f"{card.name}: {card.title}", f"  {_conclusion(diagnosis)}"]
    lines += [
        f"  {_mark(status)} {status.component.name}: {_presence(status)}" for status in diagnosis.components
    ]
    lines += [_subjects(split, count) for split, count in diagnosis.num_subjects.items()]
    if diagnosis.summary is not None:
        lines += [f"  ! {kind}: {count:,}" for kind, count in diagnosis.summary.problems.items()]
    if diagnosis.advice:
        lines += ["", "What to do"]
        lines += [f"  {number}. {text}" for number, text in enumerate(diagnosis.advice, start=1)]
    facts = (
        ("License", card.license),
        ("Access", card.access),
        ("Homepage", card.homepage),
        ("Processor", _processor(diagnosis)),
    )
    lines += ["", *(f"{name:<9} {text}" for name, text in facts if text)]
    return join_lines(lines)


def _processor(diagnosis: Diagnosis) -> str:
    if diagnosis.fast_bfloat16 is None:
        return 'bfloat16 is not fast here; dtype "auto" is float32'
    return f'{diagnosis.fast_bfloat16}, which makes bfloat16 fast; dtype "auto" is bfloat16'


def _conclusion(diagnosis: Diagnosis) -> str:
    if diagnosis.is_ready:
        return "ready"
    if diagnosis.summary is None:
        return "cannot be read"
    num_problems = sum(diagnosis.summary.problems.values())
    flaws = [
        "components are missing" if diagnosis.missing_components else "",
        f"{num_problems:,} problem{'' if num_problems == 1 else 's'}" if num_problems else "",
        "libraries are missing" if diagnosis.broken_libraries else "",
    ]
    return f"can be read, but: {', '.join(text for text in flaws if text)}"


def _mark(status: ComponentStatus) -> str:
    return "+" if status.num_found else "-" if status.component.required else " "


def _presence(status: ComponentStatus) -> str:
    if status.num_found:
        return f"{status.num_found:,} found"
    first, *others = status.component.globs
    places = first
    if others:
        places = f"{first}, nor in {len(others)} other place{'s' if len(others) > 1 else ''}"
    return f"not found ({places})" + ("" if status.component.required else "; optional")


def _subjects(split: str, count: SubjectCount) -> str:
    found = "no" if count.found is None else f"{count.found:,}"
    published = "" if count.published is None else f"; {count.published:,} in a complete copy"
    return f"    {split}: {found} people{published}"

"""The plan of a training as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.cli.render.text import format_duration, join_lines

if TYPE_CHECKING:
    from mien.train.plan import Plan

__all__ = ["render_plan"]


def render_plan(plan: Plan) -> str:
    """Parts, memory, steps and duration of a training, and which of its inputs exist."""
    lines = [
        f"{plan.recipe} ({plan.digest[:12]}): {plan.fusion} on {plan.device}, {plan.precision}; "
        "nothing is trained",
        f"{plan.image_tokens} image tokens, {plan.text_tokens} text tokens at most",
        f"{'part':20}{'parameters':>14}{'trained':>14}",
    ]
    lines += [
        f"{part:20}{count:14,d}{plan.trained.get(part, 0):14,d}" for part, count in plan.parameters.items()
    ]
    lines.append(f"{'all':20}{sum(plan.parameters.values()):14,d}{sum(plan.trained.values()):14,d}")
    lines += ["", "memory, roughly"]
    lines += [f"  {what.replace('_', ' '):18}{size / 2**20:12,.1f} MiB" for what, size in plan.memory.items()]
    lines.append(f"  {'all':18}{sum(plan.memory.values()) / 2**20:12,.1f} MiB")
    lines += [
        "",
        f"{plan.steps:,d} steps of {plan.batch} samples ({plan.epochs} epochs of {plan.steps_per_epoch:,d}), "
        f"{plan.seconds_per_step:.3g} s each: {format_duration(plan.seconds)} at most",
        "",
        f"{'split':8}{'samples':>9}{'features':>18}{'descriptions':>14}",
    ]
    for one in plan.inputs:
        features = "-" if one.features is None else f"{one.features}/{one.features_wanted}"
        described = "-" if one.descriptions is None else str(one.descriptions)
        lines.append(f"{one.split:8}{one.samples:9d}{features:>18}{described:>14}")
    return join_lines([*lines, *(f"note: {note}" for note in plan.notes)])

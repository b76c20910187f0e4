"""Filters of the error browser as style sheets: menus that hide people, without a script.

Rules name labels by their numbers only, so that no text from data gets into a style sheet.
"""

from __future__ import annotations

from typing import Final

from mien.report.error_browser.people import AGREEMENTS, KINDS

__all__ = ["filter_rules"]

# The menus come before the list, so that a browser does not match them again for everyone who is added to it.
_CHOSEN: Final = '.filters:has(.{menu} [value="{value}"]:checked)'


def _chosen(menu: str, value: str) -> str:
    return _CHOSEN.format(menu=menu, value=value)


def filter_rules(num_labels: int) -> str:
    """The rules for menus of labels, of kinds, of right and wrong, and of agreement."""
    any_label = _chosen("by-label", "all")
    rules = [".filters:not(:has(.by-label [value=all]:checked)) ~ .people .person { display: none }"]
    for kind in KINDS:
        rules.append(f"{any_label}{_has(kind)} ~ .people .person:not(.a{kind}) {{ display: none }}")
    for index in range(num_labels):
        label = _chosen("by-label", str(index))
        rules.append(f"{label}{_has('all')} ~ .people .person:is(.t{index}, .f{index}) {{ display: grid }}")
        rules += [
            f"{label}{_has(kind)} ~ .people .person.{kind}{index} {{ display: grid }}" for kind in KINDS
        ]
    others = [("by-result", "right"), ("by-result", "wrong")] + [("by-agreement", key) for key in AGREEMENTS]
    rules += [
        f"{_chosen(menu, value)} ~ .people .person:not(.{value}) {{ display: none !important }}"
        for menu, value in others
    ]
    rules.append(".filters:has(.explained:checked) ~ .people .person:not(.why) { display: none !important }")
    return "\n".join(rules)


def _has(kind: str) -> str:
    return f':has(.by-kind [value="{kind}"]:checked)'

"""An explanation as a page, as HTML for notebooks, and as a chart. Everything from data is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Final

from mien.evaluate.explanations.heat_map import AGAINST, FOR
from mien.predict.charts.chart import INK, LINE, PALE, Chart, draw_chart, line, text, text_width

if TYPE_CHECKING:
    from mien.evaluate.explanations.heat_map import HeatMap
    from mien.predict.explain.counterfactuals import Counterfactual
    from mien.predict.explain.curves import Curve, Faithfulness
    from mien.predict.explain.explanation import Explanation, LabelExplanation

__all__ = ["explanation_chart", "explanation_html", "explanation_page", "naming_sentence", "signed"]

_NOTICE: Final = (
    "Scores are estimates of apparent emotion, as an onlooker might see it; not what the person feels."
)
_STRONGEST: Final = 0.6  # opacity of the background of a word, so that its text stays legible
_FAINT: Final = 0.25  # of the strongest word: below it, a word has no underline
_STYLE: Final = """
.mien-why{--ink:#1a1a1a;--paper:#fff;--quiet:#4a4a4a;--line:#c4cad0;--warm:#fdf3ec;color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){
.mien-why{--ink:#e6e9ed;--paper:#14181d;--quiet:#b4bcc5;--line:#4a545f;--warm:#38281c}}
.mien-why{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem}
.mien-why h2{font-size:1.25rem;margin:1.6rem 0 .4rem}.mien-why h3{font-size:1rem;margin:1rem 0 .3rem}
.mien-why .maps{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
.mien-why figure{margin:0;max-width:30rem}.mien-why img{max-width:100%;height:auto;display:block}
.mien-why figcaption,.mien-why .quiet{color:var(--quiet);font-size:.9rem}
.mien-why .words{line-height:2}.mien-why .words span{padding:.1rem .15rem;border-radius:.2rem}
.mien-why .for{border-bottom:2px solid #d55e00}.mien-why .against{border-bottom:2px dashed #0072b2}
.mien-why .scroll{overflow-x:auto}.mien-why table{border-collapse:collapse}
.mien-why th,.mien-why td{text-align:left;padding:.25rem .7rem .25rem 0}
.mien-why th,.mien-why td{border-bottom:1px solid var(--line);vertical-align:top}
.mien-why td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.mien-why .warning{border-left:4px solid #d55e00;padding:.2rem .7rem;background:var(--warm)}
.mien-why :focus-visible{outline:3px solid #9a5fd0;outline-offset:2px}
@media print{.mien-why figure,.mien-why tr{break-inside:avoid}.mien-why h2{break-after:avoid}}
"""
_SCROLL: Final = '<div class="scroll" role="region" aria-label="Table" tabindex="0">'
_BODY: Final = """
:root{color-scheme:light dark}body{margin:1rem auto;padding:0 1rem;max-width:70rem;background:#fff}
@media screen and (prefers-color-scheme:dark){body{background:#14181d}}
"""
_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def explanation_page(explanation: Explanation) -> str:
    """A page that needs no other file and no network, and runs nothing."""
    title = escape(f"Why: {explanation.source}, person {explanation.person}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_BODY}</style></head>"
        f'<body><main><h1 class="mien-why" style="font-size:1.5rem;overflow-wrap:anywhere">{title}</h1>'
        f"{explanation_html(explanation)}</main></body></html>"
    )


def explanation_html(explanation: Explanation) -> str:
    """The same as a part of another page."""
    parts = [f"<style>{_STYLE}</style>", f'<div class="mien-why"><p class="quiet">{_NOTICE}</p>']
    parts.append(_overview(explanation))
    parts += [_label_section(explanation, item) for item in explanation.labels]
    parts.append(_counterfactual_section(explanation))
    if explanation.notes:
        parts.append(
            f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in explanation.notes)}</ul>"
        )
    parts.append("</div>")
    return "".join(parts)


def _overview(explanation: Explanation) -> str:
    scores = ", ".join(f"{escape(item.label)} <b>{item.score:.2f}</b>" for item in explanation.labels)
    shares = explanation.attention_shares
    looked = ""
    if shares is not None:
        looked = (
            f'<p class="quiet">Attention of the queries: {shares.photo:.0%} photo, '
            f"{shares.words:.0%} words, {shares.queries:.0%} the queries themselves, "
            f"{shares.other_image:.0%} padding and other tokens.</p>"
        )
    unsure = explanation.unsure_because
    doubt = f'<p class="warning"><b>Not sure</b>: {escape(unsure)}.</p>' if unsure else ""
    return f"{doubt}<p>{scores}</p>{looked}"


# --- One label -------------------------------------------------------------------------------------------


def _label_section(explanation: Explanation, item: LabelExplanation) -> str:
    parts = [f"<h2>{escape(item.label)} {item.score:.2f}</h2>"]
    parts += [f'<p class="warning">{escape(_sentence(warning))}</p>' for warning in item.warnings]
    if item.maps:
        parts.append('<h3>Where in the photo</h3><div class="maps">')
        parts += [_map_figure(explanation, item, heat_map) for heat_map in item.maps]
        parts.append("</div>")
    if item.words and explanation.description is not None:
        parts.append(f"<h3>Which words</h3>{_words(explanation.description, item)}")
        if item.naming is not None:
            parts.append(f"<p>{escape(naming_sentence(item))}</p>")
        parts.append(_words_key(item))
    parts.append(_faithfulness_table(item))
    return "".join(parts)


def _map_figure(explanation: Explanation, item: LabelExplanation, heat_map: HeatMap) -> str:
    what = (
        "Where the queries looked: attention rolled out over the layers. It says where the model read, "
        "not what that did."
        if heat_map.method == "attention"
        else f"Occlusion: how the score of {item.label} changes while a region is hidden. It falls where "
        f"the map is orange, and rises where it is blue. The largest change is {_largest_change(heat_map)}."
    )
    first = " Look at this map first." if heat_map is item.leading and len(item.maps) > 1 else ""
    image = _data_uri(explanation, item.label, heat_map.method)
    alternative = escape(f"{heat_map.method} for {item.label}, drawn on the photo")
    return (
        f'<figure><img alt="{alternative}" src="{image}">'
        f"<figcaption>{escape(what + first)}</figcaption></figure>"
    )


def _largest_change(heat_map: HeatMap) -> str:
    return signed(-max(heat_map.values.ravel(), key=abs))


def _data_uri(explanation: Explanation, label: str, method: str) -> str:
    image = explanation.draw(label, method)
    image.thumbnail((480, 640))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _words(description: str, item: LabelExplanation) -> str:
    """The description with the words colored by occlusion; what the model did not read is as it is."""
    largest = max((abs(word.occlusion) for word in item.words), default=0.0)
    parts, end = [], 0
    for word in item.words:
        parts.append(escape(description[end : word.start]))
        share = word.occlusion / largest if largest else 0.0
        kind = "" if abs(share) < _FAINT else ' class="for"' if share > 0 else ' class="against"'
        red, green, blue = (int((FOR if share > 0 else AGAINST)[at : at + 2], 16) for at in (1, 3, 5))
        gradient = "" if word.gradient is None else f"; gradient: {word.gradient:+.2f} in the logit"
        title = escape(f"hidden: {signed(-word.occlusion, 3)}{gradient}")
        shade = f"background:rgba({red},{green},{blue},{_STRONGEST * abs(share):.2f})"
        shown = escape(description[word.start : word.end])
        shown = f"<b>{shown}</b>" if word.names_label else shown
        parts.append(f'<span{kind} style="{shade}" title="{title}">{shown}</span>')
        end = word.end
    return f'<p class="words">{"".join(parts)}{escape(description[end:])}</p>'


def _words_key(item: LabelExplanation) -> str:
    named = " Bold words name the label." if item.naming is not None else ""
    return (
        '<p class="quiet">Orange with a solid line: the score falls while the word is hidden. Blue with a '
        f"dashed line: it rises. The stronger the color, the more.{named}</p>"
    )


def naming_sentence(item: LabelExplanation) -> str:
    """What the mentions of a label do."""
    naming = item.naming
    assert naming is not None, "the label is named"
    times = "once" if naming.num_mentions == 1 else f"{naming.num_mentions} times"
    return (
        f"The description names {item.label} {times}. Without the name the score changes by "
        f"{signed(-naming.drop)}; the learned bonus for a named label ({naming.bonus:+.2f} in the logit) "
        f"alone makes {signed(-naming.drop_of_bonus)} of it."
    )


def _faithfulness_table(item: LabelExplanation) -> str:
    rows = [
        (parts, found)
        for parts, items in (("regions", item.region_faithfulness), ("words", item.word_faithfulness))
        for found in items
    ]
    if not rows:
        return '<p class="quiet">Faithfulness was not measured.</p>'
    head = (
        "<tr><th>importance</th><th>deletion</th><th>insertion</th><th>gain</th><th>random</th><th></th></tr>"
    )
    body = "".join(
        f"<tr><td>{found.method} of {parts}</td>"
        f'<td class="number">{found.deletion.area:.3f}</td><td class="number">{found.insertion.area:.3f}</td>'
        f'<td class="number">{found.gain:+.3f}</td><td class="number">up to {found.limit:+.3f}</td>'
        f"<td>{'faithful' if found.is_faithful else 'not faithful'} {_sparkline(found)}</td></tr>"
        for parts, found in rows
    )
    return (
        f"<h3>Is that faithful?</h3>{_SCROLL}<table>"
        f"{head}{body}</table></div>"
        '<p class="quiet">Mean score while the most important parts are hidden first (deletion, lower is '
        "better) or shown first (insertion, higher is better); the gain is the difference, next to what 95 % "
        "of random orders reach. Small charts: solid deletion, dashed insertion, dotted random deletion.</p>"
    )


def _sparkline(found: Faithfulness) -> str:
    width, height = 90, 30

    def points(curve: Curve) -> list[tuple[float, float]]:
        return [
            (2 + share * (width - 4), 2 + (1 - score) * (height - 4))
            for share, score in zip(curve.shares, curve.scores, strict=True)
        ]

    lines = (
        line(points(found.random_deletion), color=PALE, width=1.5, dash="2 3")
        + line(points(found.deletion), color=FOR, width=2)
        + line(points(found.insertion), color=AGAINST, width=2, dash="6 3")
    )
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'style="vertical-align:middle"><title>deletion and insertion</title>'
        f'<rect width="100%" height="100%" fill="none" stroke="{LINE}"/>{lines}</svg>'
    )


# --- Counterfactuals -------------------------------------------------------------------------------------


def _counterfactual_section(explanation: Explanation) -> str:
    if not explanation.counterfactuals:
        return ""
    names = [item.label for item in explanation.labels]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    base = "".join(f'<td class="number">{explanation.scores[name]:.2f}</td>' for name in names)
    rows = "".join(_counterfactual_row(explanation, item, names) for item in explanation.counterfactuals)
    return (
        f"<h2>What if</h2>{_SCROLL}<table><tr><th>with</th>"
        f"{head}<th>highest</th></tr><tr><td>everything as it is</td>{base}"
        f"<td>{_highest(explanation.scores)}</td></tr>{rows}</table></div>{_new_descriptions(explanation)}"
    )


def _counterfactual_row(explanation: Explanation, item: Counterfactual, names: Iterable[str]) -> str:
    if item.error is not None:
        columns = len(explanation.labels) + 1
        return f'<tr><td>{escape(item.what)}</td><td colspan="{columns}">{escape(str(item.error))}</td></tr>'
    change = item.change(explanation.scores)
    cells = "".join(
        f'<td class="number">{item.scores[name]:.2f} ({signed(change[name])})</td>' for name in names
    )
    return f"<tr><td>{escape(item.what)}</td>{cells}<td>{_highest(item.scores)}</td></tr>"


def _new_descriptions(explanation: Explanation) -> str:
    described = [
        item
        for item in explanation.counterfactuals
        if item.description not in (None, explanation.description) and item.kind != "other_words"
    ]
    return "".join(
        f"<details><summary>The description with {escape(item.what)}</summary>"
        f"<p>{escape(item.description or '')}</p></details>"
        for item in described
    )


def _highest(scores: Mapping[str, float]) -> str:
    best = sorted(scores.items(), key=lambda pair: -pair[1])[:3]
    return ", ".join(f"{escape(label)} {score:.2f}" for label, score in best)


def signed(change: float, digits: int = 2) -> str:
    """The change of a score: negative where it falls, and without a sign where it rounds to zero."""
    text = f"{change:+.{digits}f}"
    return text if float(text) else text[1:]


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


# --- A chart ---------------------------------------------------------------------------------------------

# Sizes in pixels.
_ROW: Final = 22
_HALF: Final = 130  # from the middle to a change of the largest size
_VALUE: Final = 56


def explanation_chart(explanation: Explanation, item: LabelExplanation, *, top: int) -> Chart:
    """Bars to the left where the score falls without a word or if one thing is different, else to the right.

    As in maps, what lowers the score while it is hidden is orange: it speaks for the label.
    """
    words = [(word.word, -word.occlusion) for word in item.top_words(top)]
    changes = [
        (found.what, found.change(explanation.scores))
        for found in explanation.counterfactuals
        if found.error is None
    ]
    rows = [(name, change[item.label]) for name, change in changes]
    left = max([120, *(round(text_width(name)) + 16 for name, _ in (*words, *rows))])
    parts: list[str] = []
    y = _group(parts, "change of the score while the word is hidden", words, left, 8)
    if rows:
        y = _group(parts, "change of the score with", rows, left, y + 14)
    title = f"{item.label} {item.score:.2f}: words and counterfactuals"
    return draw_chart(parts, width=left + 2 * (_HALF + _VALUE), height=max(y, 40) + 8, title=title)


def _group(parts: list[str], heading: str, rows: list[tuple[str, float]], left: int, y: int) -> int:
    """Appends bars around a middle line, and returns where the next group may begin."""
    parts.append(text(8, y + 14, heading, bold=True))
    y += _ROW
    largest = max((abs(value) for _, value in rows), default=0.0) or 1.0
    middle = left + _VALUE + _HALF
    for name, value in rows:
        width = _HALF * abs(value) / largest
        x = middle if value >= 0 else middle - width
        color = FOR if value < 0 else AGAINST
        outline = "" if value < 0 else f' stroke="{INK}" stroke-dasharray="3 2"'
        at, anchor = (middle + width + 6, "start") if value >= 0 else (middle - width - 6, "end")
        parts.append(
            f"{text(left - 8, y + 15, name, anchor='end')}"
            f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" fill="{color}"{outline}/>'
            f"{text(at, y + 15, signed(value, 3), anchor=anchor)}"
        )
        y += _ROW
    parts.append(line([(middle, y - _ROW * len(rows)), (middle, y)], color=INK))
    return y

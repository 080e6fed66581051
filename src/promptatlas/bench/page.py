"""The HTML page of reports: one file, no script, nothing fetched; light or dark as the reader has it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1c1f23; --soft: #6a717a; --line: #d9dce0;
  --mark: #1763a6; --tint: #e8f0f7 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e6e8ea; --soft: #98a0a8; --line: #33383e;
    --mark: #6cb2f0; --tint: #1f2b36 } }
body { margin: 0 auto; max-width: 64rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem } h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem }
p { color: var(--soft); max-width: 48rem; margin: 0 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .4rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 600; font-size: .875rem; border-bottom-width: 2px; vertical-align: bottom }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
td.best { font-weight: 700; color: var(--mark) }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem } figure { margin: 0; flex: 1 1 24rem; min-width: 0 }
figcaption { font-weight: 600; margin-bottom: .25rem } svg { width: 100%; height: auto; display: block }
svg text { fill: var(--ink); font-size: 12px } svg .soft { fill: var(--soft); font-size: 11px }
svg .grid { stroke: var(--line) } svg .whisker { stroke: var(--mark); stroke-width: 2 }
svg .mean { fill: var(--mark) } svg .seed { fill: var(--soft); opacity: .55 }
blockquote { margin: 0 0 1rem; padding: .75rem 1rem; background: var(--tint); border-left: 3px solid var(--mark) }
blockquote b { display: block; margin-bottom: .35rem } blockquote small { color: var(--soft); display: block }
"""
WIDTH, LEFT, ROW = 460, 190, 26  # of a chart: in all, for the names, a line's height


@dataclass(frozen=True)
class Dot:
    """One method in a chart: mean, deviation (not a number where there is none), and each seed's share."""

    name: str
    mean: float
    deviation: float
    seeds: Sequence[float]


@dataclass(frozen=True)
class Bars:
    """One chart."""

    title: str
    dots: Sequence[Dot]


Answered = tuple[str, str, str, Mapping[str, float], Mapping[str, float]]  # text, target, by whom, labels, words


def section(
    title: str,
    note: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[tuple[str, bool]]],
    charts: Sequence[Bars],
    answered: Sequence[Answered],
) -> str:
    """One table with what belongs to it.

    Args:
        title: above it.
        note: below that.
        heads: of the table's columns.
        rows: its lines; each text and whether it is its column's best.
        charts: one beside the other.
        answered: a few answers: text, target, by whom, labels and words with their probabilities.
    """
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(note)}</p>" if note else "", grid(heads, rows)]
    if charts:
        figures = "".join(_chart(one) for one in charts)
        parts.append(f'<h2>Mean and deviation; each seed a small dot</h2><div class="charts">{figures}</div>')
    if answered:
        parts.append("<h2>Some answers</h2>" + "".join(_answer(*one) for one in answered))
    return "\n".join(part for part in parts if part)


def page(title: str, sections: Sequence[str]) -> str:
    """The page of some sections."""
    body = "\n".join(sections)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def grid(heads: Sequence[str], rows: Sequence[Sequence[tuple[str, bool]]]) -> str:
    """A table: heads, and lines of texts that stand out where they are the best."""
    top = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    lines = (
        "".join(f'<td class="best">{escape(text)}</td>' if best else f"<td>{escape(text)}</td>" for text, best in row)
        for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _chart(chart: Bars) -> str:
    """Shares from 0 to 1 as dots with whiskers, a line a method."""
    height = ROW * len(chart.dots)
    marks = []
    for tick in range(0, 101, 25):
        x = _x(tick / 100)
        marks.append(f'<line class="grid" x1="{x}" y1="0" x2="{x}" y2="{height}"/>')
        marks.append(f'<text class="soft" x="{x}" y="{height + 14}" text-anchor="middle">{tick}</text>')
    for at, dot in enumerate(chart.dots):
        y = ROW * at + ROW / 2
        low, high = dot.mean - dot.deviation, dot.mean + dot.deviation
        marks.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(dot.name)}</text>')
        marks += [f'<circle class="seed" cx="{_x(one)}" cy="{y}" r="2.5"/>' for one in dot.seeds]
        if not math.isnan(dot.deviation):
            marks.append(f'<line class="whisker" x1="{_x(low)}" y1="{y}" x2="{_x(high)}" y2="{y}"/>')
        said = f"{dot.name}: {100 * dot.mean:.1f} %"
        marks.append(f'<circle class="mean" cx="{_x(dot.mean)}" cy="{y}" r="5"><title>{escape(said)}</title></circle>')
    label = escape(f"{chart.title}, per cent, by method")
    svg = f'<svg viewBox="0 0 {WIDTH} {height + 20}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
    return f"<figure><figcaption>{escape(chart.title)}, %</figcaption>{svg}</figure>"


def _x(share: float) -> float:
    return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - 14), 1)


def _answer(text: str, target: str, by: str, labels: Mapping[str, float], words: Mapping[str, float]) -> str:
    lines = [f"{_shares(labels)} — right: {escape(target)}" + (f" ({escape(by)})" if by else "")]
    lines += [f"at the slot, before training: {_shares(words)}"] if words else []
    return f"<blockquote><b>{escape(text)}</b>{''.join(f'<small>{line}</small>' for line in lines)}</blockquote>"


def _shares(some: Mapping[str, float]) -> str:
    ordered = sorted(some.items(), key=lambda one: -one[1])
    return ", ".join(f"{escape(name)} {share:.2f}" for name, share in ordered)

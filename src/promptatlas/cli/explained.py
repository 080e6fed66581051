"""An explanation as a page."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from promptatlas.bench.page import grid
from promptatlas.bench.page import page as whole
from promptatlas.cli import print as show
from promptatlas.cli.explain import blank_heads, blank_rows, effect, notes, origin, shares

if TYPE_CHECKING:
    from promptatlas.prompting.explain import Explained, Seen

TOKENS = """<style>
.row { line-height: 2 } .row span { border: 1px solid var(--line); border-radius: 3px; padding: .1rem .15rem;
  margin-right: 1px; white-space: pre-wrap } .row .field { background: var(--tint) } .row .slot { color: var(--mark);
  font-weight: 700 } .row .part { color: var(--mark) } .row .mark { color: var(--soft) } .row .cut { color: var(--soft);
  border-style: dashed } .row .demo { border-style: dotted }
</style>"""


def page(title: str, found: Sequence["Explained"]) -> str:
    """All explanations of one answer on one page that needs nothing else."""
    sections = [TOKENS]
    for at, one in enumerate(found, 1):
        sections += _section(one, f"{title}, prompt {at}" if len(found) > 1 else title)
    return whole(title, sections)


def _section(found: "Explained", title: str) -> list[str]:
    parts = [f"<h1>{escape(title)}</h1>", _table(("answer", "probability"), shares(found.answer))]
    for row in found.rows:
        parts += ["<h2>What was read</h2>", _tokens(row), *(f"<p>{escape(note)}</p>" for note in notes(row))]
        for slot, words in row.top.items():
            parts.append(f"<h2>Likeliest at the slot {escape(slot)}</h2>")
            parts.append(_table(("word", "token", "probability"), [tuple(one) for one in words]))
    if found.effects:
        columns = ("demonstration", "target", "adds, nats", "without it")
        parts += ["<h2>What each demonstration does</h2>", _table(columns, [effect(one) for one in found.effects])]
    if found.blanks:
        parts += ["<h2>Inputs without content</h2>", _table(("input", *blank_heads(found)), blank_rows(found))]
    return [*parts, f"<p>{escape(show.spent(found.cost.each(1)))}</p>"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[show.Cell]]) -> str:
    return grid(heads, [[(show.shown(_number(cell)), False) for cell in row] for row in rows])


def _number(cell: show.Cell) -> show.Cell:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _tokens(row: "Seen") -> str:
    """Every token in a frame; its tooltip says where it is from."""
    told = []
    for one in row.stretches:
        kind = one.kind if one.demo is None else f"{one.kind} demo"
        told += [f'<span class="{kind}" title="{escape(origin(one))}">{escape(piece)}</span>' for piece in one.pieces]
        told += [f'<span class="cut">{one.cut} cut</span>'] if one.cut else []
    return f'<div class="row">{"".join(told)}</div>'

"""Examples through a template, a model and a verbalizer, as the prompt does it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.lm.ask import Job, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.score.calibrate import Null
from promptatlas.text.template import Shown, Template


def fold(
    lm: LM,
    words: Any,
    template: str,
    examples: Sequence[Example],
    *,
    parts: Mapping[str, Part] | None = None,
    mass: bool = False,
    demos: Sequence[Shown] = (),
) -> Tensor:
    """Log mass of each label of each example."""
    parsed, parts = Template.parse(template), parts or {}
    readings: list[list[Reading]] = []
    for example in examples:
        runs = parsed.render(example.fields, demos=demos)
        jobs = []
        for query in words.queries(lm, parsed, example, parts=parts, mass=mass):
            widths = dict.fromkeys(parsed.slots, query.width)
            row = lm.encode([runs], parts, widths=widths, room=len(query.answer))[0]
            jobs.append(Job(row.then(query.answer), query.asks, parts))
        readings.append(lm.read(jobs))
    return words.fold(readings, lm, parsed, parts, mass=mass)


def null_mass(lm: LM, words: Any, nulls: Sequence[Null], *, demos: Sequence[Shown] = ()) -> Tensor:
    """Log mass of one example's nulls: [1, nulls, labels]."""
    rows = [
        fold(lm, words, str(one.template), [one.example], mass=True, demos=demos if one.demos else ())[0]
        for one in nulls
    ]
    return rows[0].new_tensor([row.tolist() for row in rows])[None]

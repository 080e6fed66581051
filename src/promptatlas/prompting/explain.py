"""Why a prompt answers as it does: what the model saw, what it would write, what each demonstration and nothing say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from promptatlas.data.example import Example
from promptatlas.data.view import Answer, Tags
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.cost import Cost, counted
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part
from promptatlas.prompting.prompt import Given, Prompt
from promptatlas.score.calibrate import blanked

BLANKS = ("N/A", "")  # inputs without content


class Likely(NamedTuple):
    """A token the model would put at a slot: its word, the tokenizer's own spelling, its probability."""

    word: str
    token: str
    probability: float


@dataclass(frozen=True)
class Stretch:
    """Tokens of a row that came from one place; see `lm.row.Span`.

    Attributes:
        kind: "field", "text", "part", "slot" or "mark".
        name: of the field, part, slot or mark.
        demo: the demonstration it belongs to, None for the example itself.
        pieces: the tokens as the tokenizer spells them; of vectors as many names of their part.
        cut: tokens that were dropped from its end.
    """

    kind: str
    name: str
    demo: int | None
    pieces: tuple[str, ...]
    cut: int


@dataclass(frozen=True)
class Seen:
    """One row as the model reads it.

    Attributes:
        stretches: in order; what a seq2seq model's decoder is fed is left out.
        left_out: demonstrations the window doesn't hold.
        top: of each slot of the template, the likeliest tokens; of a masked model at its first mask.
    """

    stretches: tuple[Stretch, ...]
    left_out: int
    top: Mapping[str, tuple[Likely, ...]]


@dataclass(frozen=True)
class Effect:
    """What one demonstration does.

    Attributes:
        demo: the demonstration.
        gain: log-probability (nats) of the answer with all demonstrations, less that without this one; not a number
            for tags and texts, whose answers have no probability that compares.
        without: what is answered without it.
    """

    demo: Example
    gain: float
    without: Answer


@dataclass(frozen=True)
class Explained:
    """All of one answer.

    Attributes:
        answer: what `predict` says.
        rows: one, or one a choice.
        effects: of each demonstration, in the order shown.
        blanks: by content-free input, what is answered there after the same demonstrations; none for tags and texts.
        bare: the same before calibration, where there is one.
        cost: of the answer alone.
    """

    answer: Answer
    rows: tuple[Seen, ...]
    effects: tuple[Effect, ...]
    blanks: Mapping[str, Answer] = field(default_factory=dict)
    bare: Mapping[str, Answer] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


def explain(prompt: Prompt, lm: LM, example: Given, *, top: int = 10, blanks: Sequence[str] = BLANKS) -> Explained:
    """Explain the answer to one example.

    Demonstrations that depend on the input stay those of this input throughout; where several draws of them are
    averaged, they are the first.

    Args:
        prompt: what answers.
        lm: the model.
        example: an example, a text, or fields.
        top: tokens a slot.
        blanks: what stands in every field of text where there is nothing to answer.

    Raises:
        SettingError: several examples.
    """
    wanted = prompt.examples(example)
    if len(wanted) != 1:
        raise SettingError(f"{len(wanted)} examples are to be explained", hint="explain one at a time")
    one = wanted[0]
    with counted(lm) as cost:
        (answer,) = prompt.predict(lm, one)
    shown = tuple(prompt.demos.pick(lm, prompt.view.rows(one)[:1])[0])
    fixed = replace(prompt, demos=Fixed(shown))
    explained = Explained(answer, _rows(fixed, lm, one, top), _effects(fixed, lm, one, shown), cost=cost)
    if prompt.writes or isinstance(prompt.view, Tags):
        return explained
    empty = {blank: blanked(one, blank) for blank in blanks}
    bare = replace(fixed, calibration=())
    return replace(
        explained,
        blanks={blank: fixed.predict(lm, nothing)[0] for blank, nothing in empty.items()},
        bare={blank: bare.predict(lm, nothing)[0] for blank, nothing in empty.items()} if prompt.calibration else {},
    )


def likeliest(lm: LM, row: Row, parts: Mapping[str, Part], top: int) -> list[tuple[Likely, ...]]:
    """Of each slot of a row, the likeliest tokens."""
    with torch.no_grad():
        ((read,),) = lm.read([Job(row, (Vocabulary(),), parts)])
    slots = []
    for values in read.values:
        best = values.float().exp().topk(min(top, values.shape[-1]))
        ids = best.indices.tolist()
        pieces = lm.pieces(ids)
        words = [lm.text([one]).strip() or piece for one, piece in zip(ids, pieces, strict=True)]
        slots.append(tuple(map(Likely, words, pieces, best.values.tolist())))
    return slots


def _rows(prompt: Prompt, lm: LM, example: Example, top: int) -> tuple[Seen, ...]:
    lines, _ = prompt.lines(lm, [example])
    slots = prompt.template.slots
    found = []
    for line, row in zip(lines, prompt.reader(lm).encode(lines), strict=True):
        tops = likeliest(lm, row, prompt.parts, top) if slots and len(row.slots) == len(slots) else []
        found.append(Seen(_stretches(lm, row), len(line.demos) - row.demos(), dict(zip(slots, tops, strict=False))))
    return tuple(found)


def _stretches(lm: LM, row: Row) -> tuple[Stretch, ...]:
    pieces = lm.pieces(row.ids)
    found = []
    for one in row.spans:
        mine = (one.name,) * (one.end - one.start) if one.kind == "part" else tuple(pieces[one.start : one.end])
        found.append(Stretch(one.kind, one.name, one.demo, mine, one.cut))
    return tuple(found)


def _effects(prompt: Prompt, lm: LM, example: Example, shown: Sequence[Example]) -> tuple[Effect, ...]:
    """Of each demonstration; the prompt shows all of them to every input."""
    if not shown:
        return ()
    (whole,) = prompt.predict(lm, example)
    best = max(whole.probabilities, key=lambda one: whole.probabilities[one], default=None)
    found = []
    for at, one in enumerate(shown):
        rest = replace(prompt, demos=Fixed((*shown[:at], *shown[at + 1 :])))
        (without,) = rest.predict(lm, example)
        gain = math.nan if best is None else _log(whole, best) - _log(without, best)
        found.append(Effect(one, gain, without))
    return tuple(found)


def _log(answer: Answer, label: str) -> float:
    return math.log(max(answer.probabilities[label], 1e-30))

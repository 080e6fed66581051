"""Texts without labels that a model writes itself, after demonstrations.

Lu, Bartolo, Moore, Riedel & Stenetorp 2022, arXiv:2104.08786, sec. 4.1.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple, get_args
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import Fixed
from promptatlas.demos.pool import Pool, texts
from promptatlas.errors import DataError, NeedsError, SettingError, TooLong, near
from promptatlas.lm.ask import Decode, Job
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.prompt import scored
from promptatlas.text.pieces import FieldPiece, LabelPiece, Piece, SlotPiece, TextPiece
from promptatlas.text.runs import Runs, SlotRun, TextRun
from promptatlas.text.scripts import WORD
from promptatlas.text.template import Shown

Source = Literal["auto", "written", "given"]
MORE = "let more be written (draws, length), or give unlabeled texts and set source=given"
SENTENCES = re.compile(r".*[.!?。！？][\"'”’)]?", re.DOTALL)


class Probes(NamedTuple):
    """Examples to look at predictions for; nobody looks at their targets.

    Attributes:
        examples: each once.
        told: where they are from, for a history.
    """

    examples: Sequence[Example]
    told: Mapping[str, float | int | str]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        examples: without targets, each once, sorted.
        share: of what was written, so much went on as the template does.
    """

    examples: tuple[Example, ...]
    share: float


def probes(
    prompt: Prompt, lm: LM, task: Task, shown: Sequence[Sequence[Example]], *, source: Source, most: int, how: Decode,
    shortest: int,
) -> Probes:  # fmt: skip
    """At most so many examples, written after the demonstrations or given by the task.

    Args:
        prompt: whose template and words the demonstrations are shown with.
        lm: the model.
        task: its unlabeled examples are given, or where there are none the training examples that aren't shown.
        shown: demonstrations, in each of the orders.
        source: "written", "given", or "auto": written where model and template permit.
        most: more are drawn from, by the seed of `how`.
        how: how they are written.
        shortest: words a written text has at least.

    Raises:
        NeedsError: nothing can be written, and is to be.
        DataError: there are none.
        SettingError: a source there isn't.
    """
    if source not in get_args(Source):
        raise SettingError(f"`source` can't be `{source}`", hint=near(source, get_args(Source)))
    notes: dict[str, float | int | str]
    why = mute(prompt, lm) if source == "auto" else ""
    if source == "given" or why:
        found, told = given(task, shown[0])
        notes = {"source": told + (f", since {why}" if why else "")}
    else:
        made = written(prompt, lm, shown, how, shortest=shortest)
        found, notes = list(made.examples), {"source": "written", "in the format": round(made.share, 4)}
    if not found:
        raise DataError("there is no text to look at predictions for", hint=MORE)
    if len(found) < len(prompt.labels):
        warn(f"{len(found)} texts can't be of {len(prompt.labels)} labels; {MORE}", stacklevel=2)
    drawn = random.Random(how.seed).sample(found, min(most, len(found)))
    return Probes(drawn, {**notes, "probes": len(drawn)})


def ordered(
    prompt: Prompt, lm: LM, shown: Sequence[Sequence[Example]], asked: Sequence[Example]
) -> Float[Tensor, "orders probes labels"]:
    """Probabilities of the labels for each example that is asked about, after each run of demonstrations; one read.

    Raises:
        TooLong: the window doesn't hold all demonstrations and an example.
    """
    prompts = [replace(prompt, demos=Fixed(tuple(some))) for some in shown]
    rows = prompt.reader(lm).encode(prompts[0].lines(lm, asked)[0])
    if any(row.cut() or row.demos() < len(shown[0]) for row in rows):
        raise TooLong(
            f"the window of {lm.window} tokens doesn't hold {len(shown[0])} demonstrations and the longest text",
            hint="show fewer demonstrations, or shorter ones",
        )
    with torch.no_grad():
        return torch.stack([one.double().exp().cpu() for one in scored(lm, prompts, asked)])


def given(task: Task, shown: Sequence[Example]) -> tuple[list[Example], str]:
    """The task's unlabeled examples, or where there are none its training examples; none that is shown; and which."""
    known, source = Pool(tuple(shown)), "unlabeled" if task.unlabeled else "train"
    return [one for one in task.unlabeled or task.train if not known.own(one)], source


def mute(prompt: Prompt, lm: LM) -> str:
    """Why a model can't write examples for a prompt; "" where it can."""
    if "generate" not in lm.can:
        return f"`{lm.name}` can't write, as it is {lm.kind}"
    if not isinstance(prompt.view, One):
        return "an example has several rows"
    if not prompt.template.fields:
        return f"`{prompt.template}` has no field"
    if lm.kind == "seq2seq" and len(prompt.template.fields) > 1:
        return f"`{lm.name}` is seq2seq and fills one field, and `{prompt.template}` has more"
    told = [isinstance(piece, TextPiece) and bool(piece.text.strip()) for piece in _fields_of(prompt)[0]]
    if not all(one or other for one, other in pairwise(told)):
        return f"`{prompt.template}` has fields without text between them, which can't be told apart"
    return ""


def written(
    prompt: Prompt, lm: LM, shown: Sequence[Sequence[Example]], how: Decode, *, shortest: int = 5
) -> Written:  # fmt: skip
    """Go on after each of these runs of demonstrations, and read one more example out of what is written.

    A causal model writes from the template's first field on, a seq2seq model fills that field. The last field ends
    where the template's own text goes on, at a line break, or else with the last sentence; labels aren't looked at.

    Args:
        prompt: whose template and words the demonstrations are shown with.
        lm: the model.
        shown: demonstrations; after each, `how.n` texts are written.
        how: how they are written.
        shortest: fewer words than this are no text; each character of Chinese or Japanese is a word.

    Raises:
        NeedsError: a model or a template nothing can be written for.
        TooLong: the window doesn't hold demonstrations and what is to be written.
    """
    why = mute(prompt, lm)
    if why:
        raise NeedsError(f"no examples can be written: {why}", hint="take texts of the task: source=given")
    rows = lm.encode([_beginning(prompt, lm, some) for some in shown], prompt.parts, room=how.max_new)
    if any(row.cut() for row in rows):
        raise TooLong(
            f"the window of {lm.window} tokens doesn't hold {len(shown[0])} demonstrations and {how.max_new} to write",
            hint="show fewer, or have less written",
        )
    made = [one.text for some in lm.generate([Job(row, (), prompt.parts) for row in rows], how) for one in some]
    read = [parsed(prompt, text) for text in made]
    known = {texts(Example(_fields(prompt, one))) for some in shown for one in some}
    good = {texts(Example(one)) for one, _ in read if one and all(_good(text, shortest) for text in one.values())}
    return Written(tuple(Example(dict(one)) for one in sorted(good - known)), sum(on for _, on in read) / len(read))


def parsed(prompt: Prompt, text: str) -> tuple[dict[str, str], bool]:
    """The fields of an example out of what was written from the first one on, and whether the template goes on there.

    Of several fields all but the last have to be followed by the template's own text, or there is no example.
    """
    pieces, after = _fields_of(prompt)
    names = [piece.name for piece in pieces if isinstance(piece, FieldPiece)]
    pattern = "".join(map(_pattern, pieces))
    found = re.match(rf"\s*{pattern}\s*?(?:(?P<on>{_said(prompt, after)})|(?P<line>\n)|\Z)", text, re.DOTALL)
    if not found:
        return {}, False
    fields = {name: " ".join(found[f"f_{name}"].split()) for name in names}
    if found["on"] is None and found["line"] is None and (sentences := SENTENCES.match(fields[names[-1]])):
        fields[names[-1]] = sentences[0]
    return fields, found["on"] is not None


def _fields_of(prompt: Prompt) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """The pieces from the first field to where the last one first stands, and those behind."""
    pieces = [
        piece for piece in prompt.template.pieces if isinstance(piece, TextPiece | FieldPiece | SlotPiece | LabelPiece)
    ]
    first: dict[str, int] = {}
    for at, piece in enumerate(pieces):
        if isinstance(piece, FieldPiece):
            first.setdefault(piece.name, at)
    begin, end = min(first.values()), max(first.values()) + 1
    return pieces[begin:end], pieces[end:]


def _pattern(piece: Piece) -> str:
    if isinstance(piece, TextPiece):
        return rf"\s*{re.escape(piece.text.strip())}\s*" if piece.text.strip() else r"\s+"
    return rf"(?P<f_{piece.name}>.+?)" if isinstance(piece, FieldPiece) else ".+?"


def _said(prompt: Prompt, after: Sequence[Piece]) -> str:
    """A pattern of how a prompt goes on behind the last field: its own text, a label's word, or what parts examples."""
    for piece in after:
        if isinstance(piece, TextPiece) and piece.text.strip():
            return rf"\s*{re.escape(piece.text.strip())}"
        if isinstance(piece, SlotPiece | LabelPiece):
            words = [prompt.words.word(label) for label in prompt.labels]
            return "|".join(_alone(one if isinstance(one, str) else one[0]) for one in words)
    between = "".join(piece.text for piece in prompt.between.pieces if isinstance(piece, TextPiece))
    return re.escape(between) or r"\n"


def _alone(word: str) -> str:
    return rf"\s*(?<!\w){re.escape(word)}(?!\w)" if word.isascii() else rf"\s*{re.escape(word)}"


def _beginning(prompt: Prompt, lm: LM, shown: Sequence[Example]) -> Runs:
    """Demonstrations, and the template up to a slot in its first field's place; a seq2seq model sees the rest too."""
    words = [prompt.words.word(str(one.target)) for one in shown]
    demos = [Shown(one.fields, word) for one, word in zip(shown, words, strict=True)]
    runs = prompt.template.render(shown[0].fields, word=words[0], demos=demos, between=prompt.between)
    query = 1 + max(at for at, run in enumerate(runs) if run.demo is not None)
    at = next(at for at in range(query, len(runs)) if isinstance(runs[at], TextRun) and runs[at].field)  # type: ignore[union-attr]
    name = prompt.template.slots[0] if prompt.template.slots else ""
    return (*runs[:at], SlotRun(name), *(runs[at + 1 :] if lm.kind == "seq2seq" else ()))


def _fields(prompt: Prompt, example: Example) -> dict[str, object]:
    return {name: example.fields[name] for name in prompt.template.fields}


def _good(text: str, shortest: int) -> bool:
    return text.isprintable() and "\ufffd" not in text and len(WORD.findall(text)) >= shortest

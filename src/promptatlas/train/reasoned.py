"""How a prompt begins to reason: chains its demonstrations show, or a sentence that asks for one."""

import random
from collections.abc import Mapping
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed, NoDemos
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.chains import Chains
from promptatlas.score.own import Own
from promptatlas.text.pattern import Kind, Pattern
from promptatlas.text.pieces import DemosPiece, SlotPiece, TextPiece
from promptatlas.text.runs import TextRun
from promptatlas.text.scripts import joined
from promptatlas.text.template import Template

TRIGGER = "Let's think step by step."
EXTRACT: Mapping[Kind, str] = {
    "number": "Therefore, the answer (arabic numerals) is",
    "option": "Therefore, among A through E, the answer is",
    "text": "Therefore, the answer is",
}
"""Kojima et al. 2022, arXiv:2205.11916, app. A.5."""


def few_shot(
    lm: LM, task: Task, prompt: Prompt, *, k: int, form: str, said: Pattern, max_new: int, seed: int
) -> Prompt:
    """A prompt that shows k training examples with their chains, and writes one itself.

    Args:
        lm: the model.
        task: its training examples have the fields of `form`; those where one is empty aren't drawn.
        prompt: whose template ends in a slot.
        k: how many are drawn, of as many all; they stand in the order of the task.
        form: what a demonstration shows, a template of fields and `{label}`, the answer.
        said: reads the answer off a chain; off those that are shown it has to read theirs.
        max_new: most tokens of a chain.
        seed: of the draw.

    Raises:
        SettingError: a form that can't be shown, an input that shows what the form does, a pattern that doesn't read
            what is shown, or fewer than k examples.
    """
    shape = _form(prompt, form)
    able = [one for one in task.train if all(_said(one.fields.get(name)) for name in shape.fields)]
    if k > len(able):
        of = f"{len(able)} training examples of `{task.name}` have all of `{form}`"
        raise SettingError(f"{k} chains are to be shown, and {of}", hint=f"set k={len(able)}, or write more chains")
    drawn = sorted(random.Random(f"chains/{seed}").sample(range(len(able)), k))
    shown = tuple(_shown(prompt, shape, able[at], said) for at in drawn)
    how = Decode(max_new=max_new, stop=stops(lm, prompt))
    return _reasons(prompt, Chains(how=how, said=said), Fixed(shown))


def zero_shot(lm: LM, prompt: Prompt, *, trigger: str, then: str, said: Pattern, max_new: int) -> Prompt:
    """A prompt that is asked to reason, without an example, and then for its answer.

    Args:
        lm: the model.
        prompt: whose template ends in a slot.
        trigger: put in front of the slot.
        then: said behind the chain; "": the answer is read off the chain.
        said: reads the answer.
        max_new: most tokens of a chain.
    """
    pieces = prompt.template.pieces
    at = pieces.index(SlotPiece(_slot(prompt)))
    before = pieces[at - 1] if at else None
    ahead = before.text if isinstance(before, TextPiece) else "." * (before is not None)
    blank = " " if ahead.endswith(" ") else ""
    template = Template((*pieces[:at], TextPiece(joined(ahead, trigger)[len(ahead) :] + blank), *pieces[at:]))
    how = Decode(max_new=max_new, stop=stops(lm, prompt))
    return _reasons(replace(prompt, template=template), Chains(how=how, said=said, then=then), NoDemos())


def stops(lm: LM, prompt: Prompt) -> tuple[str, ...]:
    """Where a model that goes on to another question is stopped: at what a demonstration begins with.

    That is the last line of its words up to the first field ("Q:"), behind what parts two demonstrations where
    it may as well be in a chain; in the capitals of the template, and in those the model writes.
    """
    pieces = prompt.template.pieces
    pieces = pieces[pieces.index(DemosPiece()) + 1 :] if prompt.template.has_demos else pieces
    first = next((one for one in pieces if not (isinstance(one, TextPiece) and not one.text.strip())), None)
    opening = first.text.strip().splitlines()[-1] if isinstance(first, TextPiece) else ""
    between = "".join(piece.text for piece in prompt.between.pieces if isinstance(piece, TextPiece))
    text = between + opening if opening[-1:].isalnum() or not opening else opening
    if not text.strip(" "):
        return ()
    written = lm.text(lm.tokens(text))
    return (text, written) if written != text and written.casefold() == text.casefold() else (text,)


def _slot(prompt: Prompt) -> str:
    if len(prompt.template.slots) != 1:
        slots = len(prompt.template.slots)
        raise SettingError(
            f"a chain is written at one slot, and `{prompt.template}` has {slots}", hint="put one {mask} last"
        )
    return prompt.template.slots[0]


def _form(prompt: Prompt, form: str) -> Template:
    """The form, parsed."""
    _slot(prompt)
    shape = Template.parse(form)
    if shape.slots or shape.parts or shape.has_demos or shape.has_each or not shape.has_label:
        hint = 'fields, and {label} for the answer: "{rationale} The answer is {label}."'
        raise SettingError(f"`{form}` can't be what a demonstration says", hint=hint)
    both = [name for name in shape.fields if name in prompt.template.fields]
    if both:
        hint = 'leave it out of the template: "Q: {question} A: {mask}"'
        raise SettingError(f"`{prompt.template}` shows `{both[0]}`, which is what is to be written", hint=hint)
    return shape


def _shown(prompt: Prompt, form: Template, example: Example, said: Pattern) -> Example:
    """An example whose target is all that is said at the slot; only the fields that are shown are kept."""
    target = example.target[0] if isinstance(example.target, tuple) else example.target
    runs = form.render(example.fields, label=str(target))
    text = "".join(run.text for run in runs if isinstance(run, TextRun))
    wanted = replace(said, find=r"(?s).*", take="first", other="").read(str(target))
    read = said.read(text)
    if read is None or wanted is None or read.casefold() != wanted.casefold():
        raise DataError(
            f"the answer of example `{example.key}` is `{target}`; `{said.find}` reads {_quoted(read)} off `{text}`",
            hint="give a pattern that reads it, the kind of answer it is, or another form",
        )
    fields = {name: example.fields[name] for name in prompt.template.fields if name in example.fields}
    return Example(fields, text, example.key)


def _said(value: object) -> bool:
    return value is not None and bool(str(value).strip())


def _quoted(read: str | None) -> str:
    return "nothing" if read is None else f"`{read}`"


def _reasons(prompt: Prompt, view: Chains, demos: Fixed | NoDemos) -> Prompt:
    return replace(prompt, words=Own(), view=view, demos=demos, calibration=())

"""`promptatlas predict`: answers of a saved prompt, a JSON line each."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.feed import STDIN, Item, feed
from promptatlas.cli.options import Device, Folder, OtherLm, SameDtype, members, saved
from promptatlas.cli.writing import Beams, MaxNew, decoding
from promptatlas.data.view import Choices
from promptatlas.errors import DataError, PromptAtlasError, SettingError

if TYPE_CHECKING:
    from promptatlas.data.view import Answer
    from promptatlas.lm.ask import Decode

CHUNK = 256  # items held at a time


def predict(
    folder: Folder,
    file: Annotated[
        str,
        typer.Argument(
            metavar="[FILE|-]", help="Texts, one a line; or .jsonl, .csv, .tsv; - is stdin.", show_default=False
        ),
    ] = STDIN,
    lm: OtherLm = None,
    device: Device = None,
    dtype: SameDtype = None,
    chunk: Annotated[int, typer.Option(help="How many are read before the first is answered.")] = CHUNK,
    beams: Beams = None,
    max_new: MaxNew = None,
    cost: Annotated[bool, typer.Option(help="Say on stderr what an answer took.")] = False,
) -> None:
    """Answer with a saved prompt: a JSON line for each text, in order, of any number.

    It has a label and the probabilities of all; for a list of items tags, and the probability of each; a number, and
    the probabilities of its range's ends; of a prompt that writes, the text and its probability, and its chains where
    it reasons.
    """
    if chunk < 1:
        raise SettingError(f"`--chunk` is {chunk}", hint="read 1 or more")
    items = feed(file)
    first = list(islice(items, 1))  # a file that isn't there is told before a model is loaded
    with show.Bar(quiet=sys.stdout.isatty()) as bar:
        prompt, model = saved(folder, lm, device, dtype, bar)
        how = decoding(prompt, model, beams, max_new)
        from promptatlas.lm.cost import counted

        bar.step("predicting")
        told = 0
        with counted(model) if cost else nullcontext() as spending:
            for some in _chunks(first, items, chunk):
                for answer in _answers(prompt, model, some, how):
                    show.line(_line(answer) if how is None else _written(answer))
                told += len(some)
                bar.advance(len(some))
    if spending is not None:
        show.note(show.spent(spending.each(told)))


def _line(answer: "Answer") -> dict[str, Any]:
    line: dict[str, Any] = {"label": answer.value, "probabilities": dict(answer.probabilities)}
    if isinstance(answer.value, tuple):
        line = {"tags": list(answer.value), "probabilities": list(answer.each)}
    elif isinstance(answer.value, float):
        line = {"number": answer.value, "probabilities": dict(answer.probabilities)}
    return {**line, "why": answer.why} if answer.why else line


def _written(answer: "Answer") -> dict[str, Any]:
    line: dict[str, Any] = {"text": answer.value, "probability": answer.confidence}
    if answer.probabilities:
        line["probabilities"] = dict(answer.probabilities)
    if answer.texts:
        line["chains"] = list(answer.texts)
    return {**line, "why": answer.why} if answer.why else line


def _chunks(first: Sequence[Item], items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """So many at a time; what was read before an error is handed out before it."""
    held = list(first)
    try:
        for item in items:
            if len(held) >= size:
                yield held
                held = []
            held.append(item)
    except PromptAtlasError:
        if held:
            yield held
        raise
    if held:
        yield held


def _answers(prompt: Any, lm: Any, items: Sequence[Item], how: "Decode | None") -> "Iterator[Answer]":
    """Answers in order. Where one can't be given, those before it are, and the error says where it stands."""
    try:
        for item in items:
            check(prompt, item)
        answers = prompt.predict(lm, [item.value for item in items], how=how)
    except PromptAtlasError:
        yield from _one_by_one(prompt, lm, items, how)
        return
    yield from answers


def _one_by_one(prompt: Any, lm: Any, items: Sequence[Item], how: "Decode | None") -> "Iterator[Answer]":
    for item in items:
        check(prompt, item)
        try:
            (answer,) = prompt.predict(lm, [item.value], how=how)
        except PromptAtlasError as error:
            raise type(error)(f"{item.where}: {error.message}", hint=error.hint) from error
        yield answer


def check(prompt: Any, item: Item) -> None:
    """Whether the item has what the template shows. Raises DataError that says where it stands."""
    one = members(prompt)[0]
    wanted = [*one.fields]
    wanted += [one.view.field] if isinstance(one.view, Choices) else []
    if isinstance(item.value, str):
        if len(wanted) > 1 or isinstance(one.view, Choices):
            names = ", ".join(f'"{name}": ...' for name in wanted)
            raise DataError(
                f"{item.where}: a text, and the prompt wants several fields", hint=f"give JSON lines: {{{names}}}"
            )
        if one.template.each:
            hint = f'give JSON lines: {{"{one.template.each.name}": ["…", "…"]}}'
            raise DataError(f"{item.where}: a text, and the prompt wants a list of items", hint=hint)
        return
    for name in wanted:
        if name not in item.value:
            there = ", ".join(f"`{key}`" for key in item.value)
            raise DataError(
                f"{item.where}: no field `{name}`; there are {there or 'none'}", hint=f"the prompt is `{one.template}`"
            )

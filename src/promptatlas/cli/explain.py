"""`promptatlas explain`: why a saved prompt answers as it does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.files import put
from promptatlas.cli.options import Device, Folder, Json, OtherLm, SameDtype, members, saved
from promptatlas.errors import SettingError

if TYPE_CHECKING:
    from promptatlas.data.view import Answer
    from promptatlas.prompting.explain import Effect, Explained, Seen, Stretch

LONG = 60  # characters of a demonstration that are shown beside its effect
EDGE = "▏"  # between two tokens


def explain(
    folder: Folder,
    example: Annotated[
        str, typer.Argument(metavar="EXAMPLE", help='A text, or fields: {"text": "..."}.', show_default=False)
    ],
    lm: OtherLm = None,
    top: Annotated[int, typer.Option(help="How many words of each slot.")] = 10,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the explanation as a page, too.", show_default=False)
    ] = None,
    device: Device = None,
    dtype: SameDtype = None,
    as_json: Json = False,
) -> None:
    """Explain an answer: the tokens that are read, likely words, what each demonstration does, the bias, the cost.

    Of every demonstration the log-probability (nats) it adds to the answer, and what would be answered without it; of
    inputs without content what is answered there.
    """
    if top < 1:
        raise SettingError(f"`--top` is {top}", hint="ask for 1 word or more")
    from promptatlas.cli.feed import given
    from promptatlas.cli.predict import check

    item = given(example)
    with show.Bar() as bar:
        prompt, model = saved(folder, lm, device, dtype, bar)
        check(prompt, item)
        bar.step("explaining", len(members(prompt)))
        from promptatlas.prompting.explain import explain as explained

        found = [explained(one, model, item.value, top=top) for one in members(prompt)]
    if html is not None:
        from promptatlas.cli.explained import page

        put(html, page(str(folder), found))
        show.note(f"the page is in {html}")
    if as_json:
        show.data({"folder": str(folder), "lm": model.name, "prompts": [plain(one) for one in found]})
        return
    for at, one in enumerate(found, 1):
        _print(one, f"prompt {at} of {len(found)}" if len(found) > 1 else str(folder))


def plain(found: "Explained") -> dict[str, Any]:
    """An explanation as JSON; what is not a number is null."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): kept(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [kept(one) for one in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    told: dict[str, Any] = kept(asdict(found))
    for row, seen in zip(told["rows"], found.rows, strict=True):
        row["top"] = {slot: [one._asdict() for one in words] for slot, words in seen.top.items()}
    return told


def _print(found: "Explained", title: str) -> None:
    show.table(("answer", "probability"), shares(found.answer), title=title)
    for at, row in enumerate(found.rows, 1):
        show.text()
        name = f"read, row {at} of {len(found.rows)}" if len(found.rows) > 1 else "read"
        show.table(("from", "tokens"), [(origin(one), EDGE.join(one.pieces)) for one in row.stretches], title=name)
        for note in notes(row):
            show.text(note)
        for slot, words in row.top.items():
            show.text()
            title = f"likeliest at the slot {slot}".rstrip()
            show.table(("word", "token", "probability"), [tuple(one) for one in words], title=title)
    if found.effects:
        show.text()
        columns = ("", "demonstration", "target", "adds, nats", "without it")
        lines = [(at, *effect(one)) for at, one in enumerate(found.effects, 1)]
        show.table(columns, lines, title="what each demonstration does")
    if found.blanks:
        show.text()
        show.table(("input", *blank_heads(found)), blank_rows(found), title="inputs without content")
    show.text()
    show.text(show.spent(found.cost.each(1)))


def shares(answer: "Answer") -> list[tuple[show.Cell, ...]]:
    """A line a label, the likeliest first; of tags a line a tag; of a text one."""
    if answer.probabilities:
        return [*sorted(answer.probabilities.items(), key=itemgetter(1), reverse=True)]
    if isinstance(answer.value, tuple):
        return [(str(tag), share) for tag, share in zip(answer.value, answer.each, strict=True)]
    return [(str(answer.value), answer.confidence)]


def origin(one: "Stretch") -> str:
    """Where tokens come from, for people."""
    names = {"text": "template", "mark": f"mark {one.name}", "slot": f"slot {one.name}", "part": f"part {one.name}"}
    name = names.get(one.kind, one.name).strip()
    where = name if one.demo is None else f"demonstration {one.demo + 1}, {name}"
    return f"{where}, {one.cut} cut" if one.cut else where


def notes(row: "Seen") -> list[str]:
    """What a row has no room for."""
    cut = sum(one.cut for one in row.stretches)
    told = [f"{row.left_out} demonstrations didn't fit the window"] if row.left_out else []
    return told + ([f"{cut} tokens of the example were cut"] if cut else [])


def effect(one: "Effect") -> tuple[show.Cell, ...]:
    """A demonstration, its target, what it adds, and what is answered without it."""
    text = " / ".join(str(value) for value in one.demo.fields.values())
    short = text if len(text) <= LONG else f"{text[:LONG]}…"
    return short, str(one.demo.target), None if math.isnan(one.gain) else one.gain, str(one.without.value)


def blank_heads(found: "Explained") -> list[str]:
    """Names of the columns of `blank_rows`, but for the first."""
    labels = list(next(iter(found.blanks.values())).probabilities)
    return [*labels, *(f"{label}, uncalibrated" for label in labels if found.bare)]


def blank_rows(found: "Explained") -> list[Sequence[show.Cell]]:
    """Of each input without content, the probabilities of all labels, and those before calibration."""
    rows: list[Sequence[show.Cell]] = []
    for blank, answer in found.blanks.items():
        bare = found.bare[blank].probabilities.values() if found.bare else ()
        rows.append((f"`{blank}`" if blank else "nothing", *answer.probabilities.values(), *bare))
    return rows

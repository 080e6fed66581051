"""`promptatlas ask`: the words a model puts at a slot."""

from typing import Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.options import POCKET, Device, Dtype, Json, LmName, model
from promptatlas.errors import SettingError, TemplateError


def ask(
    template: Annotated[
        str, typer.Argument(metavar="TEXT", help="A text with {mask} where the word is wanted.", show_default=False)
    ],
    lm: LmName = POCKET,
    top: Annotated[int, typer.Option(help="How many words.")] = 10,
    device: Device = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Ask a model for the likeliest words at a slot: "Paris is the capital of {mask}."."""
    from promptatlas.prompting.explain import likeliest
    from promptatlas.text.template import Template

    asked = Template.parse(template)
    _check(asked, top)
    with show.Bar() as bar:
        found = model(lm, device, dtype, bar)
        bar.step("asking")
        (row,) = found.encode([asked.render({})], {})
        tops = likeliest(found, row, {}, top)
        slots: list[dict[str, Any]] = [
            {"slot": slot, "top": [one._asdict() for one in words]}
            for slot, words in zip(asked.slots, tops, strict=True)
        ]
    if as_json:
        show.data({"lm": lm, "template": template, "slots": slots})
        return
    for slot in slots:
        name = f"{{mask:{slot['slot']}}}" if slot["slot"] else ""
        show.table(("word", "token", "probability"), [tuple(one.values()) for one in slot["top"]], title=name)


def _check(template: Any, top: int) -> None:
    if top < 1:
        raise SettingError(f"`--top` is {top}", hint="ask for 1 word or more")
    if template.fields:
        name = template.fields[0]
        raise TemplateError(
            f"`{{{name}}}` is a field, and there is no example to fill it",
            hint=f"write the text itself; braces that are text are doubled: {{{{{name}}}}}",
        )
    if not template.slots:
        raise TemplateError(f"`{template}` has no slot", hint="write {mask} where the word is wanted")

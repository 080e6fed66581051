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
    from promptatlas.text.template import Template

    asked = Template.parse(template)
    _check(asked, top)
    with show.Bar() as bar:
        found = model(lm, device, dtype, bar)
        bar.step("asking")
        slots = _read(found, asked, top)
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


def _read(lm: Any, template: Any, top: int) -> list[dict[str, Any]]:
    import torch

    from promptatlas.lm.ask import Job, Vocabulary

    (row,) = lm.encode([template.render({})], {})
    with torch.no_grad():
        ((read,),) = lm.read([Job(row, (Vocabulary(),))])
    slots = []
    for slot, values in zip(template.slots, read.values, strict=True):
        best = values.float().exp().topk(min(top, values.shape[-1]))
        ids, pieces = best.indices.tolist(), lm.pieces(best.indices.tolist())
        words = [lm.text([one]).strip() or piece for one, piece in zip(ids, pieces, strict=True)]
        rows = zip(words, pieces, best.values.tolist(), strict=True)
        slots.append(
            {"slot": slot, "top": [{"word": word, "token": piece, "probability": p} for word, piece, p in rows]}
        )
    return slots

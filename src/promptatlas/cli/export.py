"""`promptatlas export` and `promptatlas import`: prompts in formats of other tools, and theirs as prompts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.fit import TemplateText, WordLists
from promptatlas.cli.given import words_of
from promptatlas.cli.options import Device, Dtype, Folder, Json, OtherLm, SameDtype, model, saved
from promptatlas.cli.print import Bar
from promptatlas.errors import SettingError, near

FORMATS = ("peft",)

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.", show_default=False)]
Adapter = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with adapter_config.json, as PEFT saves it.", show_default=False)
]
Name = Annotated[str, typer.Option("--lm", help="The language model the adapter was made for.", show_default=False)]


def export(
    folder: Folder,
    out: Out,
    to: Annotated[str, typer.Option("--to", help="The format: peft.")] = "peft",
    lm: OtherLm = None,
    device: Device = None,
    dtype: SameDtype = None,
    as_json: Json = False,
) -> None:
    """Write what a saved prompt has learned as a PEFT adapter: soft vectors, a prefix, or LoRA.

    PEFT keeps no template and no words; they are written beside the adapter, for `promptatlas import`.
    """
    _known(to)
    with Bar() as bar:
        prompt, found = saved(folder, lm, device, dtype, bar)
        from promptatlas.artifact.exchange import peft
        from promptatlas.artifact.exchange.adapter import read_adapter

        bar.step("writing")
        peft.export(prompt, found, out)
        config = read_adapter(out).config
    _told({"out": str(out), "format": to, "lm": found.name, **_about(config)}, as_json)


def import_(
    folder: Adapter,
    lm: Name,
    out: Out,
    template: TemplateText = None,
    words: WordLists = None,
    device: Device = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Save a PEFT adapter as a prompt: prompt tuning, P-tuning, prefix tuning or LoRA.

    Template and words are those it was exported with, or are given; else the template is "{text}{mask}", and every
    example brings its own choices.
    """
    given = words_of(words)
    with Bar() as bar:
        bar.step(f"reading {folder}")
        from promptatlas.artifact.exchange import peft
        from promptatlas.artifact.exchange.adapter import read_adapter
        from promptatlas.artifact.save import save

        config = read_adapter(folder).config  # what is wrong with it is told before a model is loaded
        found = model(lm, device, dtype, bar)
        prompt = peft.read(folder, found, template=template, words=given)
        bar.step("saving")
        save(prompt, out)
    about = {"out": str(out), "lm": found.name, **_about(config), "template": str(prompt.template)}
    _told(about | {"parts": ", ".join(prompt.parts)}, as_json)


def _known(to: str) -> None:
    if to not in FORMATS:
        raise SettingError(f"there is no format `{to}` to export to", hint=near(to, FORMATS))


def _about(config: dict[str, Any]) -> dict[str, Any]:
    names = ("peft_type", "num_virtual_tokens", "r")
    return {name: config[name] for name in names if config.get(name) is not None}


def _told(about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show.data(about)
    else:
        show.pairs(about.items())

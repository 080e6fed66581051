"""Options that several commands have, and what they stand for: a model, a saved prompt and its model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptatlas.cli.print import Bar
from promptatlas.errors import SettingError

if TYPE_CHECKING:
    from promptatlas.lm.lm import LM
    from promptatlas.prompting import Ensemble, Prompt

POCKET = "pocket-masked"

LmName = Annotated[
    str,
    typer.Option(
        "--lm",
        help="The language model: an embedded name, a folder, a name on a hub, or an address: http://HOST/v1#NAME.",
    ),
]
OtherLm = Annotated[
    str | None,
    typer.Option("--lm", help="Where the language model is, if not where the prompt says.", show_default=False),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; the GPU where there is one.", show_default=False)]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
SameDtype = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16 or float16; what the prompt was learned in.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a saved prompt.", show_default=False)]
TaskName = Annotated[
    str,
    typer.Option(
        "--task", help="An embedded name, a folder of train|dev|test|unlabeled.jsonl, or one file.", show_default=False
    ),
]


def model(name: str, device: str | None, dtype: str, bar: Bar) -> "LM":
    """The language model of this name, or at this address."""
    bar.step(f"loading {name}")
    from promptatlas.lm.named import named

    return named(name, device, dtype)


def saved(
    folder: Path, lm: str | None, device: str | None, dtype: str | None, bar: Bar
) -> "tuple[Prompt | Ensemble, LM]":
    """A saved prompt, and the model it was learned on, in the same dtype, or what is named instead.

    Raises:
        SettingError: neither says which model.
    """
    bar.step(f"reading {folder}")
    from promptatlas.artifact.load import load

    prompt = load(folder)
    learned = prompt.history[-1].lm if prompt.history else {}
    name = lm or learned.get("name")
    if not name:
        raise SettingError(f"`{folder}` doesn't say which language model it is for", hint="say it with --lm")
    loaded = model(name, device, dtype or learned.get("dtype", "float32"), bar)
    for one in members(prompt):
        one.check(loaded)
    return prompt, loaded


def members(prompt: "Prompt | Ensemble") -> "tuple[Prompt, ...]":
    """The prompts an ensemble is made of; a prompt is made of itself."""
    from promptatlas.prompting import Ensemble

    return prompt.prompts if isinstance(prompt, Ensemble) else (prompt,)

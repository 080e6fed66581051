"""Options of how texts are written, for prompts whose answers are texts."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from promptatlas.cli.options import members
from promptatlas.errors import NeedsError, SettingError

if TYPE_CHECKING:
    from promptatlas.lm.ask import Decode
    from promptatlas.lm.lm import LM
    from promptatlas.prompting import Ensemble, Prompt

Beams = Annotated[
    int | None,
    typer.Option(min=1, help="Of a prompt that writes: width of the beam search; 1 is greedy.", show_default="1"),
]
MaxNew = Annotated[
    int | None, typer.Option(min=1, help="Of a prompt that writes: most tokens of a text.", show_default="100")
]


def decoding(prompt: "Prompt | Ensemble", lm: "LM", beams: int | None, max_new: int | None) -> "Decode | None":
    """How a prompt writes its texts, of several the first; None where it answers with labels or choices.

    Raises:
        NeedsError: it writes, and the model can't.
        SettingError: it doesn't, and an option says how to.
    """
    from promptatlas.prompting.writing import GREEDY, WRITERS
    from promptatlas.score.chains import Chains

    first = members(prompt)[0]
    if first.writes:
        if "generate" not in lm.can:
            raise NeedsError(
                f"this prompt's answers are texts, and `{lm.name}` is {lm.kind}: it can't write", hint=WRITERS
            )
        how = first.view.how if isinstance(first.view, Chains) else GREEDY
        return replace(how, beams=beams or how.beams, max_new=max_new or how.max_new)
    for option, given in (("--beams", beams), ("--max-new", max_new)):
        if given is not None:
            raise SettingError(
                f"`{option}` is of texts that are written, and this prompt answers with labels or choices",
                hint="leave it out",
            )
    return None

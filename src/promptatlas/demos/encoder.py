"""The model that embeds texts: the one that is asked, or another, loaded by the name it was loaded by before."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import LoadError, NeedsError
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load

KEPT = 2  # encoders that stay in memory, so that not every question loads one
HASHED = ("weights", "tokenizer")


@lru_cache(maxsize=KEPT)
def by_name(name: str, device: str) -> LM:
    """A language model that embeds. Raises LoadError: there is none of this name."""
    return load(name, device)


def identified(lm: LM) -> dict[str, str]:
    """Its name and hashes, as they are kept beside vectors."""
    return {"name": lm.name, **lm.identity}


def same(known: Mapping[str, str], lm: LM) -> bool:
    """Whether this model embedded what is known to be embedded so; hashes that aren't known are any model's."""
    return all(known.get(what, lm.identity[what]) == lm.identity[what] for what in HASHED)


def found(known: Mapping[str, str], lm: LM) -> LM:
    """The encoder that was identified so: the model that is asked, where that is it, or else loaded by its name.

    Raises:
        NeedsError: it can't be loaded, or what has its name now is another model.
    """
    if same(known, lm):
        return lm
    name = known["name"]
    needed = f"the pool of demonstrations was embedded by `{name}`, with weights {known['weights']}"
    try:
        loaded = by_name(name, str(lm.device))
    except LoadError as error:
        hint = "put the model there, or embed the pool again with one that is here"
        raise NeedsError(f"{needed}, which can't be loaded: {error.message}", hint=hint) from error
    if not same(known, loaded):
        what = next(what for what in HASHED if known[what] != loaded.identity[what])
        told = f"{needed}, and the `{name}` that is here has other {what}: {loaded.identity[what]}"
        raise NeedsError(told, hint=f"put the same model there, or embed the pool again with this `{name}`")
    return loaded


def embedded(lm: LM, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
    """A vector a text; equal texts are embedded once, so that theirs are equal to the last bit."""
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return lm.embed(list(distinct))[[distinct[text] for text in texts]]

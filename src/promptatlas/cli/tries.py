"""What `promptatlas fit` chooses among: every combination of the values that `--try` gives."""

from dataclasses import replace
from itertools import product
from typing import NamedTuple

from promptatlas import registry
from promptatlas.cli.given import words_of
from promptatlas.cli.unfinished import Request


class Variant(NamedTuple):
    """One combination, and the fit it asks for."""

    name: str
    request: Request


def variants(request: Request) -> list[Variant]:
    """A request for each combination of what is tried; the request itself, without a name, where nothing is.

    Raises:
        SettingError: a setting the method doesn't have, or words that are none.
    """
    values = {key: dict.fromkeys(one for text in some for one in _values(request, key, text))
              for key, some in request.tries.items()}  # fmt: skip
    found = []
    for combined in product(*values.values()):
        given = dict(zip(values, combined, strict=True))
        name = ", ".join(f"{key}={value}" for key, value in given.items())
        one = replace(request, template=given.pop("template", request.template))
        if "words" in given:
            one = replace(one, words=words_of([request.here(text.strip()) for text in given.pop("words").split(";")]))
        found.append(Variant(name, replace(one, settings={**request.settings, **given})))
    return found


def _values(request: Request, key: str, text: str) -> tuple[str, ...]:
    return (text,) if key in ("template", "words") else registry.alternatives(request.method, key, text)

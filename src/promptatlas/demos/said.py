"""What an example says in some of its fields: the text by which its neighbours are found."""

from collections.abc import Sequence

from promptatlas.data.example import Example
from promptatlas.errors import DataError, near


def text_fields(examples: Sequence[Example]) -> tuple[str, ...]:
    """The names of the first example's fields of text."""
    return tuple(name for name, value in examples[0].fields.items() if isinstance(value, str)) if examples else ()


def said(example: Example, names: Sequence[str]) -> str:
    """The texts of these fields, joined by blanks; a list is joined too.

    Raises:
        DataError: it lacks one, or has no text there.

    >>> said(Example({"title": "Rain", "words": ["in", "town"]}), ("title", "words"))
    'Rain in town'
    """
    return " ".join(_text(example, name) for name in names)


def _text(example: Example, name: str) -> str:
    value = example.fields.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    what = "no text in field" if name in example.fields else "no field"
    raise DataError(
        f"an example has {what} `{name}`, by which neighbours are looked for", hint=near(name, example.fields)
    )

"""What a rendered template is: a sequence of runs, still text, not yet tokens.

Runs are what the template language hands to a language model's `encode`. They keep where each stretch came from, so
that only what may be cut is cut, and so that a reader can be shown which tokens belong to which field.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextRun:
    """A stretch of text of one origin: a field, or (None) the template's own words. A field is cut but for `keep`."""

    text: str
    field: str | None = None
    keep: bool = False
    demo: int | None = None  # which demonstration it belongs to, None for the query itself


@dataclass(frozen=True)
class ItemsRun:
    """Items of a field (words of a sentence), joined by blanks; a slot stands at the first piece of each."""

    items: tuple[str, ...]
    field: str
    keep: bool = False
    demo: int | None = None


@dataclass(frozen=True)
class SlotRun:
    """Where an answer is read. `name` is "" for a plain `{mask}`."""

    name: str = ""
    demo: int | None = None


@dataclass(frozen=True)
class PartRun:
    """Where the part called `name` stands, as long as that part is."""

    name: str
    demo: int | None = None


@dataclass(frozen=True)
class MarkRun:
    """One of the tokenizer's own marks: "start", "sep" or "end"."""

    mark: str
    demo: int | None = None


Run = TextRun | ItemsRun | SlotRun | PartRun | MarkRun
Runs = tuple[Run, ...]


@dataclass(frozen=True)
class Before:
    """What stands directly before a slot, so that a word can be tokenised in place.

    `text` is the template's own text up to the slot, its trailing blanks included ("It was "); `start` is true where
    nothing at all stands before the slot (no text, no field, no part).
    """

    text: str = ""
    start: bool = False

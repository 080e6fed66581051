r"""Patterns: how an answer is read off a text that reasons first, stated so that it can be saved with a prompt.

>>> number = Pattern.of("number")
>>> [number.read(text) for text in ("The answer is 1,234.", "the answer is $18.00", "So it's 7", "no idea")]
['1234', '18', '7', None]
>>> Pattern.of("option").read("The answer is (B).")
'B'
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from promptatlas.errors import SettingError

Kind = Literal["number", "option", "text"]
Take = Literal["last", "first"]

DIGITS = r"\d[\d,]*(?:\.\d+)?"
END = r"(?:[.!?](?=\s|$)|[。！？\n]|$)"  # of a sentence: 3.5 has none
SAID: Mapping[Kind, str] = {
    "number": rf"(?i)the answer is[^\d-]*(-?{DIGITS})",  # Wei et al. 2022, as commonly re-implemented
    "option": r"(?i:the answer is)[^A-Za-z]*?(?:\(([A-Ea-e])\)|([A-E])\b)",
    "text": rf"(?i)the answer is:?\s*(.+?){END}",
}
"""Behind "the answer is", where a demonstration shows it."""
ALONE: Mapping[Kind, str] = {
    "number": rf"(?<!\d)-?{DIGITS}",
    "option": r"\(([A-Ea-e])\)|^\W*([A-E])\b",
    "text": rf"^\W*(.+?){END}",
}
"""Where the text is nothing but the answer to a question for it."""
OTHER: Mapping[Kind, str] = {"number": ALONE["number"], "option": r"\(([A-Ea-e])\)|^\W*([A-E])\W*$", "text": ""}
"""Where "the answer is" isn't said."""


@dataclass(frozen=True)
class Pattern:
    """A regular expression that finds an answer, and what kind of thing that is.

    Of a match the first group that took part is taken, without groups all of it. Of what is taken a number is the first
    number there, without commas and zeros that say nothing; an option's letter becomes a capital; a text loses blanks.

    Attributes:
        kind: "number", "option" or "text".
        find: the expression, in Python's syntax.
        take: which of several matches counts.
        other: one more expression, tried where the first finds nothing; "" for none.

    Raises:
        SettingError: an expression that can't be compiled.
    """

    kind: Kind
    find: str
    take: Take = "last"
    other: str = ""

    def __post_init__(self) -> None:
        """Refuse what can't be used."""
        if not self.find:
            raise SettingError("the pattern of an answer is empty", hint=f"write it like `{SAID[self.kind]}`")
        self._compiled  # noqa: B018 - found out here and not at the first answer

    @classmethod
    def of(cls, kind: Kind, find: str = "", *, alone: bool = False) -> "Pattern":
        """The pattern of a kind, with another expression where one is given.

        Args:
            kind: of answer.
            find: the expression; "" is the kind's own. With one of its own nothing else is tried.
            alone: the text is the answer to a question for it: the first match counts.
        """
        if find or alone:
            return cls(kind, find or ALONE[kind], "first" if alone else "last")
        return cls(kind, SAID[kind], "last", OTHER[kind])

    def read(self, text: str) -> str | None:
        """The answer a text gives; None where it gives none."""
        for expression in self._compiled:
            found = [one for match in expression.finditer(text) if (one := self._normal(_taken(match))) is not None]
            if found:
                return found[0 if self.take == "first" else -1]
        return None

    def _normal(self, text: str) -> str | None:
        if self.kind == "number":
            found = re.search(ALONE["number"], unicodedata.normalize("NFKC", text))
            return numeral(found[0]) if found else None
        text = " ".join(text.split())
        return (text.upper() if self.kind == "option" else text) or None

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], ...]:
        return tuple(_compile(one) for one in (self.find, self.other) if one)


def numeral(text: str) -> str | None:
    """The number a text is, written in one way: without marks around it, commas, and zeros that say nothing.

    >>> [numeral(text) for text in ("$18.00", "1,234", "-7", "0.50", "１８", "18 of 20")]
    ['18', '1234', '-7', '0.5', '18', None]
    """
    match = re.fullmatch(rf"([^\w.]*)({DIGITS})\W*", unicodedata.normalize("NFKC", text))
    if match is None:
        return None
    whole, _, rest = match[2].replace(",", "").partition(".")
    whole, rest = whole.lstrip("0") or "0", rest.rstrip("0")
    found = f"{whole}.{rest}" if rest else whole
    return f"-{found}" if "-" in match[1] and found != "0" else found


def _taken(match: re.Match[str]) -> str:
    return next((one for one in match.groups() if one is not None), match[0])


def _compile(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        hint = "it is written in Python's syntax; its first group that takes part in a match is the answer"
        raise SettingError(f"`{text}` is no regular expression: {error}", hint=hint) from error

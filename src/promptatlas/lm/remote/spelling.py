"""Which token a text in a reply is: an endpoint names tokens by what they say, not by their ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

from promptatlas.lm.tokens import Tokenizer

NAMED = "token_id:"  # how vLLM names a token where it is asked to


class Spelling:
    """Texts of tokens. A token can be told by its text where no other is written so, at a beginning or going on.

    Pieces of a character can't be told, nor words whose blank shows only behind others (`▁great`), unless the endpoint
    names ids (`token_id:7`).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Of this tokenizer; the table is made when it is first needed."""
        self.tokenizer = tokenizer

    @cached_property
    def _texts(self) -> dict[int, str]:
        """The text of every token that can be told by it."""
        every = range(len(self.tokenizer.backend))
        alone = self._said([[i] for i in every])
        before = self._before
        going_on = [one.removeprefix(before[1]) for one in self._said([[*before[0], i] for i in every])]
        count = Counter(text for pair in zip(alone, going_on, strict=True) for text in set(pair))
        pairs = enumerate(zip(alone, going_on, strict=True))
        marks = self.tokenizer.special  # left out of texts by some endpoints
        return {i: one for i, (one, other) in pairs if one and one == other and count[one] == 1 and i not in marks}

    @cached_property
    def _before(self) -> tuple[list[int], str]:
        """Something a text can go on from, and how that is said."""
        ids = list(self.tokenizer.tokens("a"))
        return ids, self._said([ids])[0]

    def _said(self, rows: list[list[int]]) -> list[str]:
        decode = self.tokenizer.backend.batch_decode
        return [str(one) for one in decode(rows, clean_up_tokenization_spaces=False)]

    def going_on(self, ids: Sequence[int]) -> str:
        """The text of tokens behind others: it may begin with a blank."""
        return self._said([[*self._before[0], *ids]])[0].removeprefix(self._before[1])

    def is_mark(self, text: str) -> bool:
        """Whether a token that is named so is none of the text's: an end mark, as it is or left out."""
        return not text or self.id(text) in self.tokenizer.special or text in self._marks

    @cached_property
    def _marks(self) -> frozenset[str]:
        return frozenset(self.tokenizer.pieces(sorted(self.tokenizer.special)))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: i for i, text in self._texts.items()}

    def text(self, token: int) -> str:
        """How a token is named."""
        return self._texts.get(token, f"{NAMED}{token}")

    def id(self, text: str) -> int | None:
        """The token that is named so; None where that can't be told."""
        if text.startswith(NAMED) and text.removeprefix(NAMED).isdecimal():
            return int(text.removeprefix(NAMED))
        return self._ids.get(text)

    def told(self, token: int) -> bool:
        """Whether a token can be told by its text."""
        return token in self._texts

    def fits(self, text: str, token: int) -> bool:
        """Whether a text may be this token's."""
        found = self.id(text)
        if found is not None:
            return found == token
        known = token in self._texts and not text.startswith("bytes:")  # OpenAI's, of what is no whole character
        return not known or text == self.tokenizer.pieces([token])[0]  # what others give in a text's place

    def read(self, texts: Mapping[str, float]) -> dict[int, float]:
        """Values by token, of those that can be told."""
        return {found: value for text, value in texts.items() if (found := self.id(text)) is not None}

    def ids(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """The tokens of texts; None where one can't be told."""
        found = [self.id(text) for text in texts]
        return None if None in found else tuple(i for i in found if i is not None)

"""How well texts match by the words they share: BM25 (Robertson & Zaragoza 2009), as the library bm25s counts it."""

from collections.abc import Sequence

import bm25s
import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.text.scripts import WORD


def words(text: str) -> list[str]:
    """The words of a text without capitals; in scripts that put no blank between words each character is one.

    >>> words("It's 很好, VERY good")
    ['it', 's', '很', '好', 'very', 'good']
    """
    return WORD.findall(text.casefold())


class Lexical:
    """An index of texts, made anew from them wherever it is needed: it takes milliseconds a thousand texts.

    The formula is Lucene's, with k1 = 1.5 and b = 0.75; every score is 0 or more.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Count the words of these texts."""
        self.size, self.ids = len(texts), dict[str, int]()
        documents = [[self.ids.setdefault(word, len(self.ids)) for word in words(text)] for text in texts]
        self.index = bm25s.BM25(dtype="float64")
        if self.ids:  # texts without a word have nothing to index
            self.index.index((documents, dict(self.ids)), show_progress=False)

    def scores(self, query: str) -> Float[Tensor, " texts"]:
        """Of each text, in float64; all 0 where the query shares no word with any."""
        known = [self.ids[word] for word in words(query) if word in self.ids]
        if not known:
            return torch.zeros(self.size, dtype=torch.float64)
        return torch.from_numpy(self.index.get_scores_from_ids(known))

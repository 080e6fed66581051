"""Titles: documents with a title, and the question which of several titles is a document's own.

Puri & Catanzaro 2019, "Zero-shot Text Classification With Generative Language Models", arXiv:1912.10165.
"""

import random
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from promptatlas.data.corpus import chance
from promptatlas.data.example import Example
from promptatlas.data.questions import NONE, QUESTIONS, Language, asked, unquoted
from promptatlas.errors import DataError, SettingError

FEWEST, MOST = 2, 15  # options of a question
REPLACED = 0.5  # how often one of them is "none of the above"
LONGEST = 120  # characters: a first line of more is no title


@dataclass(frozen=True)
class Titled:
    """A document with its title.

    Attributes:
        title: on one line, without double quotes.
        text: what stands under it.
        key: tells documents apart.
    """

    title: str
    text: str
    key: str


def titled(documents: Iterable[str], *, characters: int, without: Container[str] = ()) -> Iterator[Titled]:
    """Documents whose first line is a title: at most `LONGEST` characters, and more lines below; others are left out.

    Of documents with one title the first is taken, so that two titles are always two answers.

    Args:
        documents: texts, as `Corpus.documents` gives them.
        characters: of a text, what stands behind so many is left out.
        without: a container of texts, `Known` say; documents in it are left out.
    """
    seen: set[str] = set()
    for at, document in enumerate(documents):
        first, _, rest = document.partition("\n")
        title, text = unquoted(first), rest.strip()
        same = title.casefold()
        if not title or not text or len(title) > LONGEST or same in seen or document in without:
            continue
        seen.add(same)
        yield Titled(title, text[:characters], str(at))


def parted(documents: Iterable[Titled], held: float) -> tuple[tuple[Titled, ...], tuple[Titled, ...]]:
    """Documents to learn from, and those that are held out; the title alone decides."""
    sides: tuple[list[Titled], list[Titled]] = ([], [])
    for one in documents:
        sides[chance(one.title, "held titles") < held].append(one)
    return tuple(sides[0]), tuple(sides[1])


class Titles(Sequence[Example]):
    """Questions which title is a document's own: one a document, and in every pass over them a new one.

    A question has 2 to 15 options in a random order, the titles of other documents beside the right one. In half of the
    questions one option, any, is replaced by "none of the above"; where that is the right one, it is the answer.

    An example has the fields `question`, the whole of it, and `text`; and what was drawn: `options` in their order,
    `asked`, the number of the wording, and `none`: "answer", "option", or "" where it isn't among them. Its key is the
    document's with the pass.
    """

    def __init__(
        self, documents: Sequence[Titled], *, seed: int, passes: int = 1, most: int = MOST, language: Language = "en"
    ) -> None:
        """Questions over these documents; drawn when they are asked for.

        Raises:
            DataError: fewer than two documents with a title.
            SettingError: fewer options than two.
        """
        if len(documents) < FEWEST:
            raise DataError(
                f"there are {len(documents)} documents with a title",
                hint="a document's first line is its title, the rest its text; a blank line ends a document",
            )
        if most < FEWEST:
            raise SettingError(f"`most` is {most}", hint="a question has 2 options or more")
        self.documents, self.seed, self.passes = tuple(documents), seed, passes
        self.most, self.language = min(most, len(documents)), language

    def __len__(self) -> int:
        """How many questions there are."""
        return len(self.documents) * self.passes

    def __getitem__(self, at: int) -> Example:  # type: ignore[override]
        """One question; the seed and its place alone decide what is drawn."""
        if not 0 <= at < len(self):
            raise IndexError(at)
        turn, place = divmod(at, len(self.documents))
        draw, document = random.Random(f"{self.seed}/{at}"), self.documents[place]
        options = self._options(draw, place)
        right, replaced, none = options.index(document.title), "", NONE[self.language]
        if draw.random() < REPLACED:
            drawn = draw.randrange(len(options))
            options[drawn], replaced = none, "answer" if drawn == right else "option"
        bank = QUESTIONS[self.language]
        number = draw.randrange(len(bank))
        fields = {
            "question": asked(bank[number], options), "text": document.text,
            "options": tuple(options), "asked": number, "none": replaced,
        }  # fmt: skip
        return Example(fields, options[right], f"{document.key}/{turn}")

    def key(self) -> str:
        """The same for the same documents and draws."""
        digest = sha256("\x1e".join(f"{one.title}\x1f{one.text}" for one in self.documents).encode())
        return f"titles {self.seed} {self.passes} {self.most} {self.language} {digest.hexdigest()}"

    def _options(self, draw: random.Random, place: int) -> list[str]:
        count = draw.randint(FEWEST, self.most)
        others = draw.sample(range(len(self.documents) - 1), count - 1)
        titles = [self.documents[other + (other >= place)].title for other in others]
        titles.append(self.documents[place].title)
        draw.shuffle(titles)
        return titles

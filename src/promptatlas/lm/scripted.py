"""A language model that answers from a script: for tests and docs, where what a model says has to be known."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import CannotAttach, ModelError, TooLong
from promptatlas.lm.ask import Against, Ask, Decode, Given, Hidden, Job, Places, Read, Reading, Text, Tokens, Vocabulary
from promptatlas.lm.cost import Spent
from promptatlas.lm.kind import Layout
from promptatlas.lm.lm import Kind
from promptatlas.lm.places import Spot
from promptatlas.lm.row import Row, Slot, Span
from promptatlas.lm.site import InputsPart, Part
from promptatlas.text.runs import Before, ItemsRun, PartRun, Runs, SlotRun, TextRun

UNKNOWN, MASK, START = MARKS = ("[UNK]", "[MASK]", "[START]")
Answers = Callable[[str], Mapping[str, float]]
Embedding = Callable[[str], Sequence[float]]


def _count(text: str) -> tuple[float]:
    return (float(len(text.split())),)


class ScriptedLM:
    """A model without a network. Its tokens are its words, split at blanks; ids count from 0 in the order given.

    Where it is read, `answers` is shown the text and gives the logits of words; those it leaves out are impossible. A
    masked text has `[MASK]` where it is read and `_` at other masks, a causal one ends there, and what a seq2seq model
    has written so far stands after `>`. A state, of whatever layer and place, is `embedding` of that text. No parts but
    tokens and heads; nothing is cut. What it writes are words, likeliest first or drawn.
    """

    def __init__(
        self, vocabulary: Sequence[str], answers: Answers, *, kind: Kind = "masked", embedding: Embedding = _count,
        name: str = "scripted", window: int = 512,
    ) -> None:  # fmt: skip
        """A model of these words."""
        self.name, self.kind, self.window, self.answers, self.embedding = name, kind, window, answers, embedding
        self.words = (*vocabulary, *MARKS)
        self.ids = {word: i for i, word in enumerate(self.words)}
        self.identity: Mapping[str, str] = {"weights": name, "tokenizer": " ".join(self.words)}
        self.can = frozenset(
            {"logits", "vocabulary", "vectors", "hidden"} | (set() if kind == "masked" else {"generate"})
        )
        self.width, self.hidden, self.device = len(self.words), len(embedding("")), torch.device("cpu")
        self.dtype = "float32"
        self.head, self.spent = self.hidden, Spent()
        self.special = frozenset(self.ids[mark] for mark in MARKS)
        self.mask = None if kind == "causal" else self.ids[MASK]
        self.layout = Layout(kind, hole_id=self.mask, decoder_start=self.ids[START])

    @property
    def vectors(self) -> Float[Tensor, "vocab width"]:
        """One-hot vectors."""
        return torch.eye(self.width)

    @property
    def outputs(self) -> Float[Tensor, "vocab head"]:
        """Zeros: words aren't rows of a projection here."""
        return torch.zeros(self.width, self.head)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def places(self, what: str) -> list[Spot]:
        """None: raises CannotAttach."""
        raise CannotAttach(f"a scripted model has no projection `{what}`", hint="use a real model")

    def prefixes(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """None: raises CannotAttach."""
        raise CannotAttach("a scripted model has no attention", hint="use a real model")

    def encode(
        self, runs: Sequence[Runs], parts: Mapping[str, Part], *, widths: Mapping[str, int] | None = None, room: int = 0
    ) -> list[Row]:
        """Rows of these runs; see `LM.encode`."""
        return [self._row(one, parts, widths or {}, room if self.kind == "causal" else 0) for one in runs]

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        """A reading a job; see `LM.read`."""
        return list(self.stream(jobs))

    def stream(self, jobs: Iterable[Job]) -> Iterator[Reading]:
        """The same, one after another."""
        for job in jobs:
            for name, part in job.parts.items():
                _check(name, part)
            self.spent.add(len(job.row))
            yield tuple(self._read(ask, job.row) for ask in job.asks)

    def generate(self, jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
        """`how.n` texts a job, greedy or drawn; see `LM.generate`. A text ends where `answers` gives no word."""
        if self.kind == "masked" or how.beams > 1:
            what = "a masked model writes no text" if self.kind == "masked" else "a scripted model has no beams"
            raise ModelError(what, hint="use a causal one" if self.kind == "masked" else "set beams=1")
        draw = torch.Generator().manual_seed(how.seed)
        return [[self._written(job.row, how, draw) for _ in range(how.n)] for job in jobs]

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
        """What `embedding` gives, as it is."""
        return torch.tensor([list(self.embedding(text)) for text in texts]).reshape(len(texts), self.hidden)

    def word(self, word: str, before: Before) -> tuple[int, ...]:
        """The tokens of a word, the same wherever it stands."""
        return self.tokens(word)

    def tokens(self, text: str) -> tuple[int, ...]:
        """A token a word."""
        return tuple(self.ids[one if one in self.ids and one not in MARKS else UNKNOWN] for one in text.split())

    def text(self, ids: Sequence[int]) -> str:
        """Words with blanks between them, marks left out."""
        return " ".join(self.words[i] for i in ids if i not in self.special)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Words."""
        return [self.words[i] for i in ids]

    def _row(self, runs: Runs, parts: Mapping[str, Part], widths: Mapping[str, int], room: int) -> Row:
        self.layout.check(runs)
        ids: list[int] = []
        slots: list[Slot] = []
        spans: list[Span] = []
        for run in runs:
            start = len(ids)
            if isinstance(run, SlotRun):
                ids += self.layout.hole(widths.get(run.name, 1))
                slots.append(Slot(run.name, tuple(range(start, len(ids)))))
            elif isinstance(run, TextRun | ItemsRun):
                for text in (run.text,) if isinstance(run, TextRun) else run.items:
                    slots += [Slot(run.field, (len(ids),))] if isinstance(run, ItemsRun) else []
                    ids += self.tokens(text)
                spans.append(Span("field" if run.field else "text", run.field or "", start, len(ids), run.demo))
            elif isinstance(run, PartRun):
                ids += _check(run.name, parts[run.name])
                spans.append(Span("text", run.name, start, len(ids), run.demo))
        ids = ids or [self.ids[START]]
        if len(ids) + room > self.window:
            raise TooLong(f"a row needs {len(ids) + room} positions, and the model has room for {self.window}")
        return self.layout.row(ids, slots, spans, types=[0] * len(ids))

    def _read(self, ask: Ask, row: Row) -> Read:
        if isinstance(ask, Hidden) and ask.at in ("first", "last", "mean"):
            return Read(self.embed([" ".join(self.pieces(row.ids))]).repeat(1, len(ask.layers)))
        texts = [self._shown(row, at) for at in self._positions(ask, row)]
        if isinstance(ask, Hidden):
            return Read(self.embed(texts).repeat(1, len(ask.layers)))
        if isinstance(ask, Against):
            return Read(torch.nn.functional.linear(self.embed(texts), ask.vectors, ask.bias))
        logits = torch.tensor([self._logits(text) for text in texts]).reshape(-1, len(self.words))
        if isinstance(ask, Tokens):
            return Read(logits[:, list(ask.ids)], logits.logsumexp(-1) if ask.mass else None)
        if isinstance(ask, Vocabulary):
            return Read(logits.log_softmax(-1))
        ids = ask.ids if isinstance(ask, Places) else row.answer
        return Read(logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).T)

    def _written(self, row: Row, how: Decode, draw: torch.Generator) -> Text:
        """A text of a row: words one after another, up to the first stop."""
        ids: list[int] = []
        total = 0.0
        for _ in range(how.max_new):
            spoken = row.then(tuple(ids))
            logits = torch.tensor(self._logits(self._shown(spoken, len(spoken.ids) + len(spoken.feed) + len(ids))))
            self.spent.add(1 if ids else len(row))
            if not bool(logits.isfinite().any()):
                break
            ids.append(_drawn(logits, how, draw))
            total += float(logits.log_softmax(-1)[ids[-1]])
            text = self.text(ids)
            cut = min((at for stop in how.stop if (at := text.find(stop)) >= 0), default=-1)
            if cut >= 0:
                return Text(text[:cut], tuple(ids), total)
        return Text(self.text(ids), tuple(ids), total)

    def _positions(self, ask: Ask, row: Row) -> list[int]:
        if isinstance(ask, Places):
            return list(ask.positions)
        every = [at for slot in row.slots for at in slot.positions]
        if isinstance(ask, Vocabulary) and ask.last:
            return [every[0] + len(row.answer) - 1]
        return [every[0] + i for i in range(len(row.answer))] if isinstance(ask, Given) else every

    def _shown(self, row: Row, at: int) -> str:
        """The text as the model sees it at a position."""
        if self.kind == "causal":
            return " ".join(self.pieces(row.ids + row.answer)[: at + 1])
        if self.kind == "seq2seq":
            return " ".join([*self.pieces(row.ids), ">", *self.pieces(row.feed + row.answer)[1 : at + 1]])
        shown = ["_" if i == self.mask else self.words[i] for i in row.ids]
        return " ".join([*shown[:at], MASK, *shown[at + 1 :]])

    def _logits(self, text: str) -> list[float]:
        answer = self.answers(text)
        return [answer.get(word, -torch.inf) for word in self.words]


def _drawn(logits: Float[Tensor, " vocab"], how: Decode, draw: torch.Generator) -> int:
    """The likeliest word, or one drawn among the `top_k` likeliest."""
    if how.temperature <= 0:
        return int(logits.argmax())
    if how.top_k:
        logits = logits.where(logits >= logits.topk(min(how.top_k, len(logits))).values[-1], -torch.inf)
    return int(torch.multinomial((logits / how.temperature).softmax(-1), 1, generator=draw))


def _check(name: str, part: Part) -> tuple[int, ...]:
    """A part's tokens."""
    ids = cast(InputsPart, part).ids if part.site == "inputs" else ()
    if ids is None or part.site not in ("inputs", "head"):
        raise CannotAttach(f"a scripted model has no way in for the part `{name}`", hint="use a real model")
    return ids

"""A causal language model behind an endpoint that speaks OpenAI's completions protocol."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, cast
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import CannotAttach, ModelError, RemoteError
from promptatlas.lm import encode as encoding
from promptatlas.lm.ask import Decode, Given, Job, Read, Reading, Text, Tokens
from promptatlas.lm.kind import Layout
from promptatlas.lm.lm import Kind
from promptatlas.lm.places import Spot
from promptatlas.lm.remote.reply import NoEcho, echoed, following
from promptatlas.lm.remote.spelling import Spelling
from promptatlas.lm.remote.wire import Paid, Wire
from promptatlas.lm.remote.write import write
from promptatlas.lm.row import Row
from promptatlas.lm.site import InputsPart, Part
from promptatlas.lm.tokens import Tokenizer
from promptatlas.text.runs import Before, Runs

Ids = tuple[int, ...]
CHUNK = 1024  # jobs a stream holds at a time
UNKNOWN = (400, 405, 422, 501)  # how an endpoint refuses what it can't do
LOCAL = "load the model itself: promptatlas.load(NAME)"
IDS = "return_tokens_as_token_ids"  # what makes vLLM name tokens by their ids


class RemoteLM:
    """A causal LM of log-probabilities and texts; see `lm.LM` for the verbs. Use `remote` rather than this.

    Prompts are sent as token ids, cut and joined here, so that words stand in them exactly as in a local model; that is
    why a tokenizer is needed. A token's log-probability is read

    1. for label words of one token, among the `top` likeliest that the endpoint gives behind a text: a request a text;
    2. for words of several tokens, for choices, and for words that are absent from the likeliest, out of an echo of
       text and word: a request a word. Whether the endpoint echoes is asked once, when it is first needed;
    3. where it doesn't, an absent word gets an upper bound: the smaller of the least likely that was given and of the
       mass that is left. Such words are counted in `spent.absent`, and warned of.

    Attributes:
        spent: what was asked of the endpoint so far.
        wire: what goes to it.
    """

    def __init__(
        self, wire: Wire, model: str, tokenizer: Tokenizer, *, window: int, top: int, extra: Mapping[str, Any]
    ) -> None:
        """Nothing is asked yet."""
        self.wire, self.model, self.tokenizer, self.window, self.top = wire, model, tokenizer, window, top
        self.name, self.extra = f"{wire.url}#{model}", dict(extra)
        self.kind: Kind = "causal"
        self.width = self.hidden = self.head = 0
        self.can = frozenset({"logits", "generate"})
        self.device, self.dtype = torch.device("cpu"), "float32"  # of what is read of it
        self.special, self.mask = tokenizer.special, tokenizer.mask
        self.spelling = Spelling(tokenizer)
        self.parameters: Mapping[str, Tensor] = MappingProxyType({})
        self._layout, self._rows = Layout("causal"), encoding.Rows()
        self._echoes: bool | None = None

    @property
    def spent(self) -> Paid:
        """What was asked of the endpoint so far."""
        return self.wire.spent

    @property
    def identity(self) -> Mapping[str, str]:
        """Where it is and what it is called there, and a hash of the tokenizer: weights can't be seen from here."""
        return {"weights": self.name, "tokenizer": self.tokenizer.hash}

    @property
    def vectors(self) -> Float[Tensor, "vocab width"]:
        """As many as there are tokens, none wide: they aren't given."""
        return torch.zeros(len(self.tokenizer.backend), 0)

    @property
    def outputs(self) -> Float[Tensor, "vocab head"]:
        """As `vectors`."""
        return self.vectors

    def places(self, what: str) -> list[Spot]:
        """None: raises CannotAttach."""
        raise CannotAttach(f"`{self.name}` is remote, and its weights aren't here", hint=LOCAL)

    def prefixes(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """None: raises CannotAttach."""
        raise CannotAttach(f"`{self.name}` is remote, and takes no prefix", hint=LOCAL)

    def encode(
        self, runs: Sequence[Runs], parts: Mapping[str, Part], *, widths: Mapping[str, int] | None = None, room: int = 0
    ) -> list[Row]:
        """Rows of these runs; see `lm.LM.encode`. At least one position stays free: what is read is written too."""
        self._check_parts(parts)
        lengths = {name: encoding.taken(cast(InputsPart, part)) for name, part in parts.items()}
        free = self.window - max(room, 1)
        return self._rows.encode(runs, self.tokenizer, self._layout, lengths, widths=widths or {}, window=free)

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        """A reading a job, in order; `Tokens` and `Given` are what can be asked. See `lm.LM.read`.

        Raises:
            ModelError: another ask, or an answer of several tokens where the endpoint doesn't echo; before work starts.
            RemoteError: the endpoint is down, refuses, or a reply is none.
        """
        for job in jobs:
            self._check_parts(job.parts)
            for ask in job.asks:
                if not isinstance(ask, Tokens | Given):
                    what = type(ask).__name__
                    raise ModelError(f"`{self.name}` is remote, and doesn't answer `{what}`", hint=LOCAL)
        wanted = {
            place: None
            for job in jobs
            for ask in job.asks
            if isinstance(ask, Tokens)
            for place in _places(ask, job.row)
        }
        answers = {
            (_front(job.row), job.row.answer): None
            for job in jobs
            if job.row.answer and any(isinstance(ask, Given) for ask in job.asks)
        }
        if any(len(answer) > 1 for _, answer in answers):
            self._must_echo()
        found = self._given(list(answers)) if answers and self.echoes() else {}
        wanted |= {(front, answer): None for front, answer in answers if (front, answer) not in found}
        table = self._likely(list(wanted))
        return [tuple(_answer(ask, job.row, table, found) for ask in job.asks) for job in jobs]

    def stream(self, jobs: Iterable[Job]) -> Iterator[Reading]:
        """The same over any number of jobs, some at a time."""
        rest = iter(jobs)
        while chunk := list(islice(rest, CHUNK)):
            yield from self.read(chunk)

    def generate(self, jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
        """Texts a job; see `lm.LM.generate`, and `write` for what the protocol has no word for."""
        for job in jobs:
            self._check_parts(job.parts)
        return write(self, jobs, how)

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
        """Not given: raises ModelError."""
        raise ModelError(f"`{self.name}` is remote, and its states aren't here", hint=LOCAL)

    def word(self, word: str, before: Before) -> Ids:
        """The tokens of a word in place."""
        return self.tokenizer.word(word, before)

    def tokens(self, text: str) -> Ids:
        """The tokens of a text on its own."""
        return self.tokenizer.tokens(text)

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self.tokenizer.text(ids)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The tokenizer's own spelling of each token."""
        return self.tokenizer.pieces(ids)

    def close(self) -> None:
        """Close connections and the file of replies; the model can't be asked any more."""
        self.wire.close()

    def body(self, ids: Sequence[int], **settings: Any) -> dict[str, Any]:
        """A request. Reading is greedy, as an endpoint's log-probabilities are then those of its model."""
        return {"model": self.model, "prompt": list(ids), "temperature": 0, **settings, **self.extra}

    def echoes(self) -> bool:
        """Whether the endpoint gives log-probabilities of a prompt's own tokens; asked once."""
        if self._echoes is None:
            ids = (*self.tokenizer.opening, *self.tokenizer.tokens("a a"))
            try:
                self._echo([ids])
                self._echoes = True
            except RemoteError as error:
                if error.status not in UNKNOWN and not isinstance(error.__cause__, NoEcho):
                    raise
                self._echoes = False
        return self._echoes

    def _must_echo(self) -> None:
        if not self.echoes():
            raise ModelError(
                f"`{self.name}` doesn't echo, and words of several tokens or choices are read out of an echo",
                hint="use words of one token, or an endpoint that gives log-probabilities of its prompt (echo=true)",
            )

    def _echo(self, rows: Sequence[Ids]) -> list[tuple[float, ...]]:
        bodies = [self.body(row, max_tokens=0, logprobs=1, echo=True) for row in rows]
        return self.wire.ask(bodies, partial(echoed, spelling=self.spelling))

    def _given(self, answers: Sequence[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], tuple[float, ...]]:
        """Log-probabilities of answers' tokens, each behind its text."""
        rows = self._echo([(*front, *answer) for front, answer in answers])
        return {one: row[len(one[0]) :] for one, row in zip(answers, rows, strict=True)}

    def _likely(self, wanted: Sequence[tuple[Ids, Ids]]) -> dict[tuple[Ids, int], float]:
        """Log-probabilities of tokens behind texts, wherever they can be read."""
        fronts = list(dict.fromkeys(front for front, _ in wanted))
        bodies = [self.body(front, max_tokens=1, logprobs=self.top) for front in fronts]
        tops = dict(zip(fronts, self.wire.ask(bodies, partial(following, spelling=self.spelling)), strict=True))
        asked = dict.fromkeys((front, one) for front, ids in wanted for one in ids)
        found = {(front, one): tops[front].told[one] for front, one in asked if one in tops[front].told}
        absent = [one for one in asked if one not in found]
        if not absent:
            return found
        if self.echoes():
            given = self._given([(front, (one,)) for front, one in absent])
            return found | {(front, ids[0]): values[0] for (front, ids), values in given.items()}
        self._warn(absent, len(asked))
        return found | {(front, one): tops[front].bound for front, one in absent}

    def _warn(self, absent: Sequence[tuple[Ids, int]], asked: int) -> None:
        vague = next((one for _, one in absent if not self.spelling.told(one)), None)
        if vague is not None and not self.extra.get(IDS):
            told = f"`{self.pieces([vague])[0]}` can't be told by its text, which is how `{self.name}` names tokens"
            raise ModelError(
                f"{told}, and it doesn't echo",
                hint=f"use another word, or an endpoint that echoes; of vLLM: extra={{'{IDS}': True}}",
            )
        self.spent.count(absent=len(absent))
        told = f"{len(absent)} of {asked} label words aren't among the {self.top} likeliest of `{self.name}`"
        warn(f"{told}, which doesn't echo: an upper bound stands for their probability", stacklevel=4)

    def _check_parts(self, parts: Mapping[str, Part]) -> None:
        for name, part in parts.items():
            if part.site != "inputs" or cast(InputsPart, part).ids is None:
                told = f"`{self.name}` is remote, and has no way in for the part `{name}`"
                raise CannotAttach(told, hint=f"only text and tokens reach it; {LOCAL}")


def _front(row: Row) -> Ids:
    """What stands before a row's answer."""
    if not row.slots:
        raise ModelError("an answer was given to a row without a slot", hint="put {mask} in the template")
    return row.ids[: row.slots[0].positions[-1] + 1]


def _places(ask: Tokens, row: Row) -> list[tuple[Ids, Ids]]:
    """What stands before each slot, and what is asked of it."""
    return [(row.ids[: at + 1], ask.ids) for slot in row.slots for at in slot.positions]


def _answer(
    ask: Any, row: Row, table: Mapping[tuple[Ids, int], float], given: Mapping[tuple[Ids, Ids], tuple[float, ...]]
) -> Read:
    if isinstance(ask, Tokens):
        rows = [[table[front, one] for one in ids] for front, ids in _places(ask, row)]
        values = torch.tensor(rows).reshape(len(rows), len(ask.ids))
        return Read(values, torch.zeros(len(rows)) if ask.mass else None)  # log-probabilities: all of them sum to one
    if not row.answer:
        return Read(torch.zeros(1, 0))
    front = _front(row)
    return Read(torch.tensor([given.get((front, row.answer)) or [table[front, one] for one in row.answer]]))

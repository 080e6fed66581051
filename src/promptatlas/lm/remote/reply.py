"""What a reply says, every part of it looked at before it is believed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isnan, log
from typing import Any

from promptatlas.lm.remote.replies import Body
from promptatlas.lm.remote.spelling import Spelling

ROUNDING = 1e-6  # of the mass that several log-probabilities leave
ABOVE = 1e-3  # what a log-probability may be above 0 by rounding


@dataclass(frozen=True)
class Scored:
    """One choice of a reply.

    Attributes:
        text: that was written (of an echo, with the prompt's).
        end: why it ended: "stop", "length", or what the endpoint calls it.
        tokens: as the endpoint spells them.
        logp: of each; of an echo's first, which nothing comes before, 0.
    """

    text: str
    end: str
    tokens: tuple[str, ...]
    logp: tuple[float, ...]


@dataclass(frozen=True)
class Top:
    """The likeliest tokens behind a text.

    Attributes:
        told: the log-probabilities of those that can be told by the texts they come with.
        bound: what that of any other can be at most.
    """

    told: Mapping[int, float]
    bound: float


class NoEcho(ValueError):
    """A reply to an echo without the prompt's tokens."""


def choices(reply: Any, count: int) -> list[Mapping[str, Any]]:
    """The choices in their order. Raises ValueError where it isn't `count` of them."""
    found = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"a list of `choices` was expected, and there is none in `{str(reply)[:60]}`")
    if len(found) != count:
        raise ValueError(f"{count} choices were expected, and there are {len(found)}")
    return sorted(found, key=lambda one: one["index"] if isinstance(one.get("index"), int) else 0)


def following(reply: Any, body: Body, spelling: Spelling) -> Top:
    """The likeliest tokens behind a prompt."""
    (one,) = choices(reply, 1)
    top = _part(one, "top_logprobs")
    if len(top) != 1 or not isinstance(top[0], dict) or not top[0]:
        raise ValueError(f"`top_logprobs` of 1 token were expected, and it has those of {len(top)}")
    values = {str(token): number(value) for token, value in top[0].items()}
    left = 1.0 - sum(map(exp, values.values()))
    return Top(spelling.read(values), min(*values.values(), log(max(left, ROUNDING))))


def echoed(reply: Any, body: Body, spelling: Spelling) -> tuple[float, ...]:
    """The log-probability of each token of a prompt; that of the first, which nothing comes before, is 0."""
    (one,) = choices(reply, 1)
    ids = body["prompt"]
    held = one.get("logprobs")
    tokens = held.get("tokens") or [] if isinstance(held, dict) else []
    if isinstance(tokens, list) and len(tokens) < min(2, len(ids)):  # nothing, or one token that was written
        raise NoEcho(f"log-probabilities of {len(ids)} tokens of the prompt were expected, and there are none")
    found = scored(one, first=True)
    if len(found.logp) != len(ids):
        raise ValueError(f"log-probabilities of {len(ids)} tokens were expected, and there are {len(found.logp)}")
    for at, (token, i) in enumerate(zip(found.tokens, ids, strict=True)):
        if not spelling.fits(token, i):
            told = f"token {at} was expected to be `{spelling.text(i)}`, and it is `{token}`"
            raise ValueError(f"{told}: it has another tokenizer than the one given")
    return found.logp


def scored(one: Mapping[str, Any], *, first: bool) -> Scored:
    """A choice with its tokens; `first`: it begins with a token that nothing comes before."""
    tokens, values = _part(one, "tokens"), _part(one, "token_logprobs")
    if len(tokens) != len(values):
        raise ValueError(f"a log-probability a token was expected, and there are {len(values)} for {len(tokens)}")
    _offsets(one["logprobs"].get("text_offset"), len(tokens))
    first = first and bool(values) and values[0] is None
    logp = [0.0 if first and not at else number(value) for at, value in enumerate(values)]
    end = str(one.get("finish_reason") or "")
    return Scored(str(one.get("text") or ""), end, tuple(map(str, tokens)), tuple(logp))


def number(value: object) -> float:
    """A log-probability. Raises ValueError where it is none."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or isnan(value) or value > ABOVE:  # type: ignore[arg-type, operator]
        raise ValueError(f"a log-probability was expected, and it is `{value}`")
    return min(float(value), 0.0)  # type: ignore[arg-type]


def _part(one: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A list among the log-probabilities of a choice."""
    held = one.get("logprobs")
    found = held.get(name) if isinstance(held, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"log-probabilities were expected, and there are no `{name}`")
    return found


def _offsets(found: Any, count: int) -> None:
    """Refuse offsets that can't be those of `count` tokens; many endpoints give none."""
    if not found:
        return
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"{count} offsets were expected in `text_offset`, and they are `{str(found)[:60]}`")
    if not all(isinstance(one, int) for one in found) or any(a > b for a, b in pairwise(found)):
        raise ValueError(f"offsets that never go back were expected in `text_offset`, and they are `{str(found)[:60]}`")

"""Texts an endpoint writes on from a slot."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from promptatlas.errors import SettingError, TooLong
from promptatlas.lm.ask import Decode, Job, Text
from promptatlas.lm.remote.replies import Body
from promptatlas.lm.remote.reply import Scored, choices, scored
from promptatlas.text.runs import Before

if TYPE_CHECKING:
    from promptatlas.lm.remote.lm import RemoteLM


def write(lm: "RemoteLM", jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
    """`how.n` texts a job. A row that comes again has the next seed, so that it isn't written the same again.

    Ids are those of the endpoint where its spelling of them tells, else the text's tokens as it goes on. Above
    temperature 0 it is for the endpoint whether log-probabilities are those before it or those after.

    Raises:
        SettingError: what the protocol has no word for: `top_k`, `beams`, `forbid`; several texts without sampling.
        TooLong: row and text don't fit the window.
        RemoteError: the endpoint is down, refuses, or a reply is none.
    """
    _check(lm, jobs, how)
    seen: Counter[tuple[int, ...]] = Counter()
    bodies = []
    for job in jobs:
        bodies.append(_body(lm, job, how, how.seed + seen[job.row.ids]))
        seen[job.row.ids] += 1
    return lm.wire.ask(bodies, partial(_texts, lm=lm, how=how))


def _check(lm: "RemoteLM", jobs: Sequence[Job], how: Decode) -> None:
    plain = Decode()
    for name in ("top_k", "beams", "forbid"):
        if getattr(how, name) != getattr(plain, name):
            hint = f"leave it out: {name}={getattr(plain, name)}; what the endpoint has more of goes into `extra`"
            raise SettingError(f"the completions protocol has no word for `{name}`", hint=hint)
    if how.n > 1 and how.temperature <= 0:
        raise SettingError(f"{how.n} texts a row need sampling", hint="give a temperature above 0")
    longest = max((len(job.row) for job in jobs), default=0)
    if longest + how.max_new > lm.window:
        told = f"a row of {longest} positions and {how.max_new} to write don't fit the window of {lm.window}"
        raise TooLong(told, hint="encode it with `room`, or write fewer")


def _body(lm: "RemoteLM", job: Job, how: Decode, seed: int) -> Mapping[str, Any]:
    stop = {"stop": list(how.stop)} if how.stop else {}
    return lm.body(
        job.row.ids, max_tokens=how.max_new, temperature=how.temperature, top_p=how.top_p, n=how.n, seed=seed,
        logprobs=1, **stop,
    )  # fmt: skip


def _texts(reply: Any, body: Body, *, lm: "RemoteLM", how: Decode) -> list[Text]:
    return [_text(scored(one, first=False), lm, how) for one in choices(reply, how.n)]


def _text(one: Scored, lm: "RemoteLM", how: Decode) -> Text:
    """The text up to the first stop; the tokens that lie in it, and with them the end mark's log-probability."""
    cut = min((at for stop in how.stop if (at := one.text.find(stop)) >= 0), default=len(one.text))
    marked = bool(one.tokens) and lm.spelling.is_mark(one.tokens[-1])
    tokens = one.tokens[: len(one.tokens) - marked]
    kept = tokens[: _reaching(tokens, cut, lm)] if how.stop else tokens
    ids = lm.spelling.ids(kept)
    if ids is None:
        ids = lm.word(one.text[:cut], Before("", start=False)) if cut else ()
    scores = one.logp[: len(kept) + (marked and len(kept) == len(tokens))]
    return Text(one.text[:cut], ids, float(sum(scores)))


def _reaching(tokens: Sequence[str], cut: int, lm: "RemoteLM") -> int:
    """How many tokens lie before this place of the text they make."""
    ids = lm.spelling.ids(tokens)
    if ids is None:
        return sum(end <= cut for end in accumulate(map(len, tokens)))
    return sum(len(lm.spelling.going_on(ids[:count])) <= cut for count in range(1, len(ids) + 1))

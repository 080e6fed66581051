"""An endpoint that is busy, broken, slow, away or lies: tried again where that may help, and else one clear error."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import promptatlas
from promptatlas.errors import RemoteError
from promptatlas.lm.ask import Decode, Job
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.make import remote
from promptatlas.testing.endpoint import Answer, Served, endpoint
from promptatlas.text.template import Template

NAME = "pocket-causal"
PROMPT = promptatlas.prompt("{text} It was {mask}", {"positive": "good", "negative": "bad"})
SEVERAL = promptatlas.prompt("{text} It was {mask}", {"positive": "simply wonderful", "negative": "bad"})
USABLE = "is it an OpenAI-compatible completions endpoint that gives log-probabilities?"
NO_CHOICES = "a list of `choices` was expected, and there is none in "
NO_LOGP = "a log-probability was expected, and it is "
Slept = list[float]


@pytest.fixture
def slept() -> Slept:
    return []


@pytest.fixture
def connect(served: Served, slept: Slept, tmp_path: Path) -> Callable[..., RemoteLM]:
    def connect(**settings: Any) -> RemoteLM:
        settings = {"top": 2000, "cache": tmp_path / "replies.sqlite", **settings}
        return remote(served.url, NAME, sleep=slept.append, **settings)

    return connect


def fails(lm: RemoteLM, prompt: promptatlas.Prompt = PROMPT) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        prompt.score(lm, ["a film"])
    return caught.value


def busy(times: int, status: int, *headers: tuple[str, str]) -> Callable[[Any, int], Answer | None]:
    return lambda body, count: Answer(status, b'{"error": {"message": "later"}}', headers) if count <= times else None


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_is_busy_or_broken_twice_is_tried_a_third_time(
    status: int, served: Served, connect: Any, slept: Slept
) -> None:
    wanted = PROMPT.score(connect(cache=None), ["a film"])
    served.asked.clear()
    served.bad = busy(2, status, ("Retry-After", "0"))
    lm = connect()
    assert PROMPT.score(lm, ["a film"]).tolist() == wanted.tolist()
    assert (len(served.asked), lm.spent.requests, len(slept)) == (3, 3, 2)
    assert 0.25 <= slept[0] <= 0.5 <= slept[1] <= 1.0


def test_waits_grow_to_a_bound_with_jitter_of_the_seed(served: Served, connect: Any, slept: Slept) -> None:
    served.bad = busy(99, 503)
    fails(connect(tries=12))
    first = [*slept]
    assert all(0.5 * min(60, 0.5 * 2**at) <= one <= min(60, 0.5 * 2**at) for at, one in enumerate(first))
    slept.clear()
    fails(connect(tries=12))
    assert slept == first
    slept.clear()
    fails(connect(tries=12, seed=1))
    assert slept != first


def test_a_wait_ends_when_another_request_fails(served: Served) -> None:
    refused = Answer(400, b"{}")
    late = Answer(429, b"{}", (("Retry-After", "500"),))
    served.bad = lambda body, count: refused if count > 1 else late
    with pytest.raises(RemoteError, match="answers 400"):  # and not after 500 seconds
        PROMPT.score(remote(served.url, NAME, cache=None, flights=2), ["a film", "a play"])


def test_a_wait_is_as_long_as_the_endpoint_asks_for(served: Served, connect: Any, slept: Slept) -> None:
    served.bad = busy(1, 429, ("Retry-After", "17"))
    PROMPT.score(connect(), ["a film"])
    assert slept == [17.0]
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    served.asked.clear()
    served.bad = busy(1, 429, ("Retry-After", later))
    PROMPT.score(connect(), ["a play"])
    assert 60 < slept[1] <= 100


def test_an_endpoint_that_asks_for_too_long_a_wait_is_not_waited_for(
    served: Served, connect: Any, slept: Slept
) -> None:
    served.bad = busy(1, 429, ("Retry-After", "86400"))
    error = fails(connect())
    assert error.message == (
        f"`{served.url}` answers 429 Too Many Requests: later, and wants to be asked again in 86400 seconds"
    )
    assert not slept


def test_an_endpoint_that_stays_broken_is_an_error_with_all_there_is_to_say(
    served: Served, connect: Any, tmp_path: Path
) -> None:
    served.bad = busy(99, 500)
    assert str(fails(connect(tries=3))) == (
        f"`{served.url}` answers 500 Internal Server Error: later (3 tries)\n\n"
        "hint: is it up and the address right? for a slow one: timeout=..., flights=1; "
        f"finished replies are kept in {tmp_path / 'replies.sqlite'}, a rerun asks the rest"
    )
    assert len(served.asked) == 3


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "what it says above is what it refuses; `top`, `window` and `extra` are what can be set"),
        (401, "the environment variable PROMPTATLAS_API_KEY is empty"),
        (403, "the environment variable PROMPTATLAS_API_KEY is empty"),
        (404, "the address ends before `/completions` (often in `/v1`), and the model is called as it is served"),
        (302, "what it says above is what it refuses; `top`, `window` and `extra` are what can be set"),
    ],
)
def test_a_refusal_isnt_tried_again(
    status: int, hint: str, served: Served, connect: Any, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMPTATLAS_API_KEY", raising=False)
    served.bad = busy(99, status, ("Location", "http://localhost:1/"))
    error = fails(connect(cache=None))
    assert (error.status, error.hint, len(served.asked), slept) == (status, hint, 1, [])


def test_an_endpoint_that_hangs_is_slow(served: Served, connect: Any, slept: Slept) -> None:
    served.bad = lambda body, count: Answer() if served.free.wait() else None
    error = fails(connect(timeout=0.1, tries=2, cache=None))
    assert error.message == f"`{served.url}` doesn't answer within 0.1 seconds (2 tries)"
    assert len(slept) == 1


def test_an_endpoint_that_is_away_cant_be_reached(slept: Slept) -> None:
    with endpoint() as gone:
        url = gone.url
    error = fails(remote(url, NAME, cache=None, tries=2, sleep=slept.append))
    assert error.message.startswith(f"`{url}` can't be reached: ")
    assert error.message.endswith("(2 tries)")


def garbage(reply: Any) -> bytes:
    return b"<html>It works!</html>"


def put(**values: Any) -> Callable[[Any], Any]:
    """The reply with other values in the log-probabilities of its choice."""

    def twist(reply: Any) -> Any:
        reply["choices"][0]["logprobs"] |= values
        return reply

    return twist


def nothing_of(name: str) -> Callable[[Any], Any]:
    def twist(reply: Any) -> Any:
        reply["choices"][0][name] = None
        return reply

    return twist


@pytest.mark.parametrize(
    ("twist", "told"),
    [
        (garbage, "a JSON object was expected, and it begins `<html>It works!</html>`"),
        (lambda reply: ["no"], NO_CHOICES + "`['no']`"),
        (lambda reply: {"choices": []}, "1 choices were expected, and there are 0"),
        (lambda reply: {"choices": ["a"]}, NO_CHOICES + "`{'choices': ['a']}`"),
        (nothing_of("logprobs"), "log-probabilities were expected, and there are no `top_logprobs`"),
        (put(top_logprobs=None), "log-probabilities were expected, and there are no `top_logprobs`"),
        (put(top_logprobs=[]), "`top_logprobs` of 1 token were expected, and it has those of 0"),
        (put(top_logprobs=[{}]), "`top_logprobs` of 1 token were expected, and it has those of 1"),
        (put(top_logprobs=[{" good": float("nan")}]), "a log-probability was expected, and it is `nan`"),
        (put(top_logprobs=[{" good": 0.5}]), NO_LOGP + "`0.5`"),
        (put(top_logprobs=[{" good": "high"}]), "a log-probability was expected, and it is `high`"),
        (put(top_logprobs=[{" good": True}]), "a log-probability was expected, and it is `True`"),
    ],
)  # fmt: skip
def test_a_reply_that_is_none_is_an_error_and_isnt_kept(
    twist: Callable[[Any], Any], told: str, served: Served, connect: Any, slept: Slept
) -> None:
    served.twist = twist
    error = fails(connect())
    assert error.message == f"`{served.url}` gives a reply that can't be used: {told}"
    assert error.hint.startswith(USABLE)
    assert not slept
    served.twist = lambda reply: reply
    PROMPT.score(connect(), ["a film"])  # asked again: nothing of it was kept


def shorter(name: str, by: int) -> Callable[[Any], Any]:
    """An echo with the last values of a list left out, once its tokens are more than the first question's."""

    def twist(reply: Any) -> Any:
        held = reply["choices"][0]["logprobs"]
        if len(held["tokens"]) > 6:
            for one in held if name == "all" else [name]:
                held[one] = held[one][:-by]
        return reply

    return twist


def other(values: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def twist(reply: Any) -> Any:
        held = reply["choices"][0]["logprobs"]
        if len(held["tokens"]) > 6:
            values(held)
        return reply

    return twist


@pytest.mark.parametrize(
    ("twist", "told"),
    [
        (shorter("all", 1), r"log-probabilities of (\d+) tokens were expected, and there are \d+"),
        (shorter("token_logprobs", 2), r"a log-probability a token was expected, and there are \d+ for \d+"),
        (other(lambda held: held.__setitem__("tokens", 3)), "log-probabilities were .* there are no `tokens`"),
        (shorter("text_offset", 1), r"\d+ offsets were expected in `text_offset`, and they are `\[0, .*"),
        (other(lambda held: held["text_offset"].reverse()), r"offsets that never go back were expected .*"),
        (other(lambda held: held["tokens"].__setitem__(2, " zebra")), r"token 2 was .* `.*`, and it is ` zebra`: "),
        (other(lambda held: held["token_logprobs"].__setitem__(1, None)), f"{NO_LOGP}`None`"),
        (other(lambda held: held["token_logprobs"].__setitem__(3, float("nan"))), f"{NO_LOGP}`nan`"),
    ],
)  # fmt: skip
def test_an_echo_that_lies_is_an_error(twist: Callable[[Any], Any], told: str, served: Served, connect: Any) -> None:
    served.twist = twist
    with pytest.raises(RemoteError, match=rf"`{served.url}` gives a reply that can't be used: {told}"):
        SEVERAL.score(connect(), ["a film that everybody saw"])


def test_another_tokenizer_than_the_model_s_is_found_out_at_once(served: Served, connect: Any) -> None:
    served.token = lambda i, named: f"<{i}>"  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="it has another tokenizer than the one given"):
        SEVERAL.score(connect(), ["a film"])
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("twist", "told"),
    [
        (lambda reply: {"choices": reply["choices"] * 2}, "1 choices were expected, and there are 2"),
        (nothing_of("logprobs"), "log-probabilities were expected, and there are no `tokens`"),
        (put(token_logprobs=[-1.0]), "a log-probability a token was expected, and there are 1 for 3"),
        (put(token_logprobs=[None, -1.0, -1.0]), "a log-probability was expected, and it is `None`"),
    ],
)
def test_a_text_that_comes_with_less_than_it_should_is_an_error(
    twist: Callable[[Any], Any], told: str, served: Served, connect: Any
) -> None:
    served.twist = twist
    lm = connect()
    (row,) = lm.encode([Template.parse("{text}{mask}").render({"text": "They left"})], {})
    with pytest.raises(RemoteError) as caught:
        lm.generate([Job(row, ())], Decode(max_new=3))
    assert caught.value.message == f"`{served.url}` gives a reply that can't be used: {told}"


def test_what_is_in_flight_when_another_fails_is_kept(served: Served, connect: Any) -> None:
    served.bad = lambda body, count: Answer(400, b"{}") if len(body["prompt"]) > 15 else None
    lm = connect(flights=2)
    texts = ["a", "b c", "so long a text that it is refused where it stands, as one should never be", "d e f"]
    with pytest.raises(RemoteError):
        PROMPT.score(lm, texts)
    good = [one for one in served.asked if len(one.body["prompt"]) <= 15]
    served.bad = lambda body, count: None
    again = connect()
    PROMPT.score(again, texts)
    assert again.spent.kept == len(good)


def test_tokens_may_be_spelled_as_the_tokenizer_spells_them(served: Served, connect: Any) -> None:
    wanted = SEVERAL.score(connect(cache=None), ["好 film"])
    pieces = connect(cache=None).pieces
    served.token = lambda i, named: pieces([i])[0]  # type: ignore[method-assign]
    assert SEVERAL.score(connect(), ["好 film"]).tolist() == wanted.tolist()


def test_tokens_of_a_reply_without_usage_are_counted_here(served: Served, connect: Any) -> None:
    for usage in (None, "much", {"prompt_tokens": "many"}):
        served.twist = lambda reply, usage=usage: reply | {"usage": usage}
        lm = connect(cache=None)
        PROMPT.score(lm, ["a film"])
        assert (lm.spent.prompt, lm.spent.written) == (len(served.asked[-1].body["prompt"]), 0)


def test_a_body_that_cant_be_unpacked_is_tried_again(served: Served, connect: Any, slept: Slept) -> None:
    packed = Answer(200, b"no gzip", (("Content-Encoding", "gzip"),))
    served.bad = lambda body, count: packed if count == 1 else None
    PROMPT.score(connect(), ["a film"])
    assert len(slept) == 1


def test_endings_and_marks_of_other_endpoints_are_understood(served: Served, connect: Any) -> None:
    """OpenAI names no id, leaves an end mark out or empty, and spells bytes; a stop's tokens may come or not."""
    lm = connect()
    cases = {
        (("Ends", "", "stop"), (" well", " done", "")): -3.0,
        (("Ends", "</s>", "stop"), (" well", " done", "</s>")): -3.0,
        (("Ends", "nothing", "length"), (" well", " done")): -2.0,
        (("Stops", "kept", "stop"), (" well", " done", ".")): -2.0,
    }
    for (case, tokens), logp in cases.items():
        text = " well done"
        held = {"tokens": list(tokens), "token_logprobs": [-1.0] * len(tokens)}
        reply = {"choices": [{"text": text, "finish_reason": case[2], "logprobs": held}]}
        served.twist = lambda _, reply=reply: json.loads(json.dumps(reply))
        (row,) = lm.encode([Template.parse("{text}{mask}").render({"text": " ".join(case)})], {})
        stop = (".",) if case[0] == "Stops" else ()
        ((found,),) = lm.generate([Job(row, ())], Decode(max_new=3, stop=stop))
        assert (found.text, found.logp) == (text, logp)
        assert lm.text(found.ids).strip() == "well done"

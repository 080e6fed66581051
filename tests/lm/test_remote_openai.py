"""Requests are those that OpenAI's own client sends for the same arguments."""

import json
from typing import Any

import httpx2
import openai
import pytest

from promptatlas.lm.ask import Decode, Given, Job, Tokens
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.make import remote
from promptatlas.testing.endpoint import Asked, endpoint
from promptatlas.text.template import Template

NAME = "pocket-causal"
KEY = "sk-secret"
PLUMBING = {"user-agent", "accept-encoding", "connection", "host", "content-length"}


def theirs(url: str, **arguments: Any) -> Asked:
    """What their client sends."""
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(
            200, json={"id": "", "object": "text_completion", "created": 0, "model": "", "choices": []}
        )

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        openai.OpenAI(base_url=url, api_key=KEY, http_client=client).completions.create(**arguments)
    (one,) = sent
    return Asked(one.url.path, dict(one.headers), json.loads(one.content))


def ours(lm: RemoteLM, doing: str) -> None:
    """Read likely words, an echo, or write."""
    (row,) = lm.encode([Template.parse("{text} It was {mask}").render({"text": "很好"})], {})
    if doing == "likely":
        lm.read([Job(row, (Tokens(lm.tokens("the")),))])
    elif doing == "echo":
        lm.read([Job(row.then(lm.tokens("so so")), (Given(),))])
    else:
        lm.generate([Job(row, ())], Decode(max_new=2, temperature=0.5, top_p=0.9, n=2, seed=3, stop=("\n", ".")))


@pytest.mark.parametrize("doing", ["likely", "echo", "write"])
def test_requests_are_theirs(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTATLAS_API_KEY", KEY)
    with endpoint() as served:
        lm = remote(served.url, NAME, top=2000, cache=None)
        ours(lm, doing)
        lm.close()
    for sent in served.asked:
        wanted = theirs(served.url, **sent.body)
        assert (sent.path, sent.body) == (wanted.path, wanted.body)
        mine, other = ({name.lower(): value for name, value in one.headers.items()} for one in (sent, wanted))
        more = {name for name in other if name.startswith("x-stainless-")}  # about their client and its machine
        assert mine.keys() - PLUMBING == other.keys() - PLUMBING - more
        assert (mine["authorization"], mine["content-type"]) == (other["authorization"], other["content-type"])


def test_all_that_is_sent_are_arguments_their_client_knows() -> None:
    with endpoint() as served:
        lm = remote(served.url, NAME, top=2000, cache=None)
        for doing in ("likely", "echo", "write"):
            ours(lm, doing)
        lm.close()
    known = set(openai.types.CompletionCreateParams.__args__[0].__annotations__)  # type: ignore[attr-defined]
    assert known
    assert all(set(one.body) <= known for one in served.asked)

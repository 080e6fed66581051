"""A completions endpoint on this machine, over a small causal model as transformers runs it: for tests and for docs.

It speaks OpenAI's protocol as far as `RemoteLM` needs it, knows nothing of the library's own way of reading, and can be
told to be busy, broken, slow or wrong.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from promptatlas.lm.load import embedded, quiet


class Asked(NamedTuple):
    """A request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Answer(NamedTuple):
    """What comes back instead of what the model says; without a status the connection is closed without a word."""

    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@cache
def _model(name: str) -> tuple[Any, Any]:
    folder = embedded().get(name, name)
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@cache
def _spelled(name: str, token: int) -> str:
    return str(_model(name)[1].decode([token]))


class Served:
    """The endpoint.

    Attributes:
        url: of it, without `/completions`.
        asked: every request so far.
        echo: whether it gives log-probabilities of a prompt's tokens.
        bad: given a request and how many there were, what comes instead of an answer; None: nothing does.
        twist: what is done to an answer before it goes out; bytes go out as they are.
        free: set when the endpoint closes; `bad` may wait for it.
    """

    def __init__(self, name: str, url: str) -> None:
        """Over the model of this name."""
        self.name, self.url, self.echo = name, url, True
        self.asked: list[Asked] = []
        self.bad: Callable[[dict[str, Any], int], Answer | None] = lambda body, count: None
        self.twist: Callable[[Any], Any] = lambda reply: reply
        self.free = Event()
        self._lock = Lock()

    def answer(self, asked: Asked) -> Answer:
        """What comes back."""
        with self._lock:
            self.asked.append(asked)
            count = len(self.asked)
        instead = self.bad(asked.body, count)
        if instead is not None:
            return instead
        with self._lock, torch.no_grad():
            reply = self.twist(self.complete(asked.body))
        return Answer(200, reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The protocol, without `top_p`."""
        prompt, draw = body["prompt"], torch.Generator().manual_seed(body.get("seed", 0))
        shown = bool(body.get("echo")) and self.echo
        named = bool(body.get("return_tokens_as_token_ids"))
        choices, written = [], 0
        for index in range(body.get("n", 1)):
            more, text, end = self._written(body, draw)
            found = self._scores([*prompt, *more], 0 if shown else len(prompt), body.get("logprobs", 0), named=named)
            text = self._text(prompt) + text if shown else text
            choices.append({"index": index, "text": text, "finish_reason": end, "logprobs": found})
            written += len(more)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written}
        return {"object": "text_completion", "model": body["model"], "choices": choices[::-1], "usage": usage}

    def token(self, token: int, named: bool) -> str:
        """How a token is spelled in an answer."""
        return f"token_id:{token}" if named else _spelled(self.name, token)

    def _written(self, body: dict[str, Any], draw: torch.Generator) -> tuple[list[int], str, str]:
        """Tokens, their text, and why they end."""
        ids: list[int] = []
        temperature = body.get("temperature", 1.0)
        for _ in range(body["max_tokens"]):
            logits = self._logits([*body["prompt"], *ids])[-1]
            chances = (logits / temperature).softmax(0) if temperature else (logits == logits.max()).float()
            ids.append(int(torch.multinomial(chances, 1, generator=draw)))
            text = self._text(ids)
            cut = min((at for one in body.get("stop", ()) if (at := text.find(one)) >= 0), default=-1)
            if cut >= 0:
                return ids, text[:cut], "stop"
            if ids[-1] == _model(self.name)[1].eos_token_id:
                return ids, text, "stop"
        return ids, self._text(ids), "length"

    def _logits(self, ids: Sequence[int]) -> Tensor:
        found: Tensor = _model(self.name)[0](input_ids=torch.tensor([ids])).logits[0]
        return found

    def _text(self, ids: Sequence[int]) -> str:
        return str(_model(self.name)[1].decode(ids, skip_special_tokens=True))

    def _scores(self, ids: Sequence[int], begin: int, top: int, *, named: bool) -> dict[str, Any]:
        """The log-probabilities of tokens from one on, each with the likeliest in its place; the first has none."""
        logp = self._logits(ids).log_softmax(-1)
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = 0
        for i in range(begin, len(ids)):
            token = self.token(ids[i], named)
            values, best = logp[i - 1].topk(top)
            pairs = zip(best.tolist(), values.tolist(), strict=True)
            found["tokens"].append(token)
            found["token_logprobs"].append(float(logp[i - 1, ids[i]]) if i else None)
            found["top_logprobs"].append({self.token(one, named): value for one, value in pairs} if i else None)
            found["text_offset"].append(at)
            at += len(token)
        return found


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = served.answer(Asked(self.path, dict(self.headers.items()), body))
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


@contextmanager
def endpoint(name: str = "pocket-causal") -> Iterator[Served]:
    """An endpoint over a causal model, an embedded one or a folder, that is up as long as this lasts."""
    served = Served(name, "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.free.set()
        server.shutdown()
        server.server_close()
        thread.join()

"""A completions endpoint over `pocket-causal`, as transformers runs it, in a thread; and ways to be bad."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from promptatlas.lm.load import embedded

END = 2  # `</s>`
NAME = "pocket-causal"


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Answer(NamedTuple):
    """What comes back instead of what the model says; no status: the connection is closed without a word."""

    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Bad = Callable[[dict[str, Any], int], Answer | None]  # a request, and how many there were -> what comes instead


@cache
def model() -> tuple[Any, Any]:
    folder = embedded()[NAME]
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@cache
def spelled(i: int) -> str:
    return str(model()[1].decode([i]))


class Served:
    """The endpoint.

    Attributes:
        url: of it.
        asked: every request so far.
        echo: whether it gives log-probabilities of a prompt's tokens.
        bad: what comes instead of an answer, if anything.
        twist: what is done to an answer before it goes out.
        free: set when the endpoint closes; a hanging answer waits for it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.echo = url, True
        self.asked: list[Asked] = []
        self.bad: Bad = lambda body, count: None
        self.twist: Callable[[dict[str, Any]], Any] = lambda reply: reply
        self.free = Event()
        self._lock = Lock()

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            count = len(self.asked)
        instead = self.bad(asked.body, count)
        if instead is not None:
            return instead
        with self._lock, torch.no_grad():
            reply = self.twist(self.complete(**asked.body))
        return Answer(200, reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    def complete(
        self, *, model: str, prompt: list[int], max_tokens: int, temperature: float = 1.0, logprobs: int = 0,
        echo: bool = False, n: int = 1, top_p: float = 1.0, seed: int = 0, stop: tuple[str, ...] = (),
        return_tokens_as_token_ids: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """The protocol. `top_p` isn't heeded; everything is float32."""
        draw = torch.Generator().manual_seed(seed)
        choices = []
        written = 0
        for index in range(n):
            ids, end, text = list(prompt), "length", ""
            for _ in range(max_tokens):
                logits = self.logits(ids)[-1]
                likeliest = int(logits.argmax())
                ids.append(
                    int(torch.multinomial((logits / temperature).softmax(0), 1, generator=draw))
                    if temperature
                    else likeliest
                )
                text = self.text(ids[len(prompt) :])
                cut = min((at for one in stop if (at := text.find(one)) >= 0), default=-1)
                if ids[-1] == END or cut >= 0:
                    end, text = "stop", text[:cut] if cut >= 0 else text
                    break
            shown = echo and self.echo
            found = self.scores(ids, 0 if shown else len(prompt), logprobs, named=return_tokens_as_token_ids)
            text = self.text(prompt) + text if shown else text
            choices.append({"index": index, "text": text, "finish_reason": end, "logprobs": found})
            written += len(ids) - len(prompt)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written}
        return {"object": "text_completion", "model": model, "choices": choices[::-1], "usage": usage}

    def logits(self, ids: list[int]) -> Any:
        return model()[0](input_ids=torch.tensor([ids])).logits[0].float()

    def text(self, ids: list[int]) -> str:
        return str(model()[1].decode(ids, skip_special_tokens=True))

    def token(self, i: int, named: bool) -> str:
        return f"token_id:{i}" if named else spelled(i)

    def scores(self, ids: list[int], begin: int, top: int, *, named: bool) -> dict[str, Any]:
        logp = self.logits(ids).log_softmax(-1)
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = 0
        for i in range(begin, len(ids)):
            token = self.token(ids[i], named)
            best = logp[i - 1].topk(top) if i else None
            found["tokens"].append(token)
            found["token_logprobs"].append(float(logp[i - 1, ids[i]]) if i else None)
            pairs = [] if best is None else zip(best.indices.tolist(), best.values.tolist(), strict=True)
            found["top_logprobs"].append({self.token(one, named): value for one, value in pairs} if i else None)
            found["text_offset"].append(at)
            at += len(token)
        return found


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(size))
            answer = served.answer(Asked(self.path, dict(self.headers.items()), body))
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


@contextmanager
def serving() -> Iterator[Served]:
    """An endpoint that is up as long as this lasts."""
    served = Served("")
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

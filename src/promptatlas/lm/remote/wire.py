"""Requests to an endpoint: some at a time, tried again where that may help, each reply kept as soon as it is there."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from threading import Event, Lock
from typing import Any, TypeVar
from weakref import finalize

import httpx2

from promptatlas.errors import RemoteError, SettingError
from promptatlas.lm.cost import Spent
from promptatlas.lm.remote.replies import Body, Replies, key

T = TypeVar("T")
Reading = Callable[[Any, Body], T]  # what a reply says to a request; raises ValueError: what was expected and what came
FIRST, LONGEST = 0.5, 60.0  # seconds to wait before the second try, and before any at most
PATIENCE = 600.0  # an endpoint that wants to be left alone for longer gives an error


@dataclass
class Paid(Spent):
    """What a remote model has been asked for so far: passes are its answers, tokens those of requests and answers.

    Attributes:
        requests: that were sent, those tried again too.
        prompt: tokens of requests that were answered.
        written: tokens of the answers.
        kept: requests answered from the replies on disk, for nothing.
        absent: label words whose probability is a bound alone (see `RemoteLM`).
    """

    requests: int = 0
    prompt: int = 0
    written: int = 0
    kept: int = 0
    absent: int = 0
    _lock: Any = field(default_factory=Lock, repr=False, compare=False)

    def count(self, **counts: int) -> None:
        """So many more; threads don't meet."""
        with self._lock:
            for name, more in counts.items():
                setattr(self, name, getattr(self, name) + more)


class Wire:
    """One model of one endpoint.

    Attributes:
        url: without `/completions`.
        spent: what went over it.
        replies: what is kept; None keeps nothing.
    """

    def __init__(
        self, url: str, *, key: str, replies: Replies | None, flights: int, tries: int, timeout: float, seed: int,
        sleep: Callable[[float], object] | None,
    ) -> None:  # fmt: skip
        """Nothing is sent yet. `key` is the name of the environment variable that holds one."""
        self.url, self.replies, self.spent = url, replies, Paid()
        self._flights, self._tries, self._timeout, self._seed, self._sleep = flights, tries, timeout, seed, sleep
        self._key, self._variable = os.environ.get(key, "").strip(), key
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if not self._key.isascii() or not self._key.isprintable():  # an error further on would show it
            raise SettingError(f"the key in {key} has letters that no key has", hint="is it that of this endpoint?")
        self._client = httpx2.Client(timeout=timeout, headers=headers, limits=httpx2.Limits(max_connections=flights))
        finalize(self, self._client.close)

    def ask(self, bodies: Sequence[Body], read: Reading[T]) -> list[T]:
        """What is read in the reply to each request, in order; equal requests are sent once.

        Raises:
            RemoteError: the endpoint is down, refuses, or a reply is none; replies before it are kept.
        """
        named = [key(self.url, body) for body in bodies]
        found: dict[str, T] = {}
        new: dict[str, Body] = {}
        for name, body in zip(named, bodies, strict=True):
            if name in found or name in new:
                continue
            kept = self.replies.get(name) if self.replies is not None else None
            if kept is None:
                new[name] = body
            else:
                found[name] = self._read(kept, body, read)
                self.spent.count(kept=1)
        found |= self._fetch(new, read)
        return [found[name] for name in named]

    def close(self) -> None:
        """Close connections and the file of replies."""
        self._client.close()
        if self.replies is not None:
            self.replies.close()

    def _fetch(self, new: Mapping[str, Body], read: Reading[T]) -> dict[str, T]:
        stopped = Event()
        with ThreadPoolExecutor(self._flights) as pool:
            futures = {pool.submit(self._one, name, body, read, stopped): name for name, body in new.items()}
            try:
                return {futures[one]: one.result() for one in as_completed(futures)}
            except BaseException:  # what is in flight still arrives, and is kept; nothing else is sent
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, name: str, body: Body, read: Reading[T], stopped: Event) -> T:
        reply = self._sent(name, body, stopped)
        found = self._read(reply, body, read)
        if self.replies is not None:
            self.replies.put(name, reply)
        usage = json.loads(reply).get("usage")
        prompt, written = _used(usage, "prompt_tokens", len(body["prompt"])), _used(usage, "completion_tokens", 0)
        self.spent.count(passes=1, tokens=prompt + written, prompt=prompt, written=written)
        return found

    def _sent(self, name: str, body: Body, stopped: Event) -> str:
        """The reply's text, tried again where the endpoint is busy, broken, slow or away."""
        draw = Random(f"{self._seed} {name}")  # a request waits as long whatever its company
        why = ""
        for attempt in range(self._tries):
            self.spent.count(requests=1)
            asked = 0.0
            try:
                answer = self._client.post(f"{self.url}/completions", json=dict(body))
            except httpx2.TimeoutException:
                why = f"doesn't answer within {self._timeout:g} seconds"
            except httpx2.RequestError as error:
                why = f"can't be reached: {error or type(error).__name__}"
            else:
                if answer.is_success:
                    return answer.text
                why = f"answers {answer.status_code} {answer.reason_phrase}{_said(answer)}"
                if answer.status_code != 429 and answer.status_code < 500:
                    raise self.fault(why, self._refused(answer.status_code), answer.status_code)
                asked = _asked_wait(answer.headers.get("Retry-After", ""))
                if asked > PATIENCE:
                    raise self.fault(f"{why}, and wants to be asked again in {asked:.0f} seconds", "ask again then")
            if stopped.is_set() or attempt + 1 == self._tries:
                break
            wait = max(asked, min(LONGEST, FIRST * 2**attempt) * draw.uniform(0.5, 1.0))
            if self._sleep is not None:
                self._sleep(wait)
            elif stopped.wait(wait):  # another request failed, or all are called off
                break
        times = f"{attempt + 1} tries" if attempt else "1 try"
        raise self.fault(f"{why} ({times})", "is it up and the address right? for a slow one: timeout=..., flights=1")

    def _refused(self, status: int) -> str:
        if status in (401, 403):
            state = "holds a key it doesn't take" if self._key else "is empty"
            return f"the environment variable {self._variable} {state}"
        if status == 404:
            return "the address ends before `/completions` (often in `/v1`), and the model is called as it is served"
        return "what it says above is what it refuses; `top`, `window` and `extra` are what can be set"

    def _read(self, reply: str, body: Body, read: Reading[T]) -> T:
        try:
            try:
                found = json.loads(reply)
            except ValueError:
                raise ValueError(f"a JSON object was expected, and it begins `{reply[:60]}`") from None
            return read(found, body)
        except ValueError as error:
            hint = "is it an OpenAI-compatible completions endpoint that gives log-probabilities?"
            raise self.fault(f"gives a reply that can't be used: {error}", hint) from error

    def fault(self, what: str, hint: str, status: int = 0) -> RemoteError:
        """An error that says where, what, what to do, and that what was answered is kept; never the key."""
        kept = (
            "" if self.replies is None else f"; finished replies are kept in {self.replies.path}, a rerun asks the rest"
        )
        told = f"`{self.url}` {what}"
        return RemoteError(told.replace(self._key, "…") if self._key else told, hint=hint + kept, status=status)


def _said(answer: httpx2.Response) -> str:
    """What an error's body says, shortened."""
    try:
        error = answer.json()
        error = error.get("error", error) if isinstance(error, dict) else error
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        text = answer.text
    text = " ".join(text.split())
    return f": {text[:300]}" if text else ""


def _used(usage: Any, name: str, otherwise: int) -> int:
    """Tokens that an answer says it took; many don't."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if isinstance(found, int) else otherwise


def _asked_wait(said: str) -> float:
    """Seconds a `Retry-After` asks for: a number, or a date; 0 where it is neither."""
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0

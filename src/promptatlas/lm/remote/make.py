"""An address to a language model behind it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from promptatlas.errors import LoadError, SettingError
from promptatlas.lm.load import embedded, quiet, words
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.replies import Replies
from promptatlas.lm.remote.wire import Wire
from promptatlas.lm.tokens import Tokenizer

KEPT = "~/.cache/promptatlas/replies.sqlite"
OWN = ("model", "prompt", "max_tokens", "logprobs", "echo", "temperature", "top_p", "n", "seed", "stop", "stream")


def remote(
    url: str,
    model: str | None = None,
    *,
    tokenizer: str | Path | None = None,
    window: int | None = None,
    top: int = 5,
    flights: int = 8,
    tries: int = 6,
    timeout: float = 60.0,
    cache: str | Path | None = KEPT,
    key: str = "PROMPTATLAS_API_KEY",
    extra: Mapping[str, Any] | None = None,
    seed: int = 0,
    sleep: Callable[[float], object] | None = None,
) -> RemoteLM:
    """A causal language model behind an OpenAI-compatible completions endpoint; nothing is asked of it yet.

    Args:
        url: what stands before `/completions`: "http://localhost:8000/v1", or with the model "http://localhost:8000/v1#gpt2".
        model: as it is called there.
        tokenizer: a folder or a hub name, the model's own name if not said. It has to be the model's: texts are cut and
            joined by tokens here, and sent as ids. Echoed texts and likely words are compared with it.
        window: positions the endpoint takes; the tokenizer's, if not said.
        top: how many of the likeliest tokens to ask for (OpenAI gives 5, vLLM 20 unless told otherwise).
        flights: requests under way at a time.
        tries: of a request that meets a busy (429), broken (5xx), slow or unreachable endpoint; the waits between grow,
            and are at least as long as the endpoint asks for.
        timeout: seconds without a byte after which an endpoint is slow.
        cache: the file replies are kept in, so that none is paid for twice; None keeps none.
        key: the environment variable that holds the key; it is sent to this address and kept nowhere.
        extra: more fields of every request, such as `{"return_tokens_as_token_ids": True}` of vLLM.
        seed: of the waits.
        sleep: what waits instead of the clock; for tests.

    Raises:
        SettingError: an address with a password or a query, no model, no window, a setting out of its range.
        LoadError: the tokenizer can't be read.
    """
    where, name = _parted(url, model)
    _check(timeout, extra or {}, top=top, flights=flights, tries=tries, window=1 if window is None else window)
    backend = _tokenizer(name, tokenizer)
    wire = Wire(
        where, key=key, replies=None if cache is None else Replies(cache), flights=flights, tries=tries,
        timeout=timeout, seed=seed, sleep=sleep,
    )  # fmt: skip
    tokens, size = Tokenizer(backend, causal=True), window or _window(backend)
    return RemoteLM(wire, name, tokens, window=size, top=top, extra=extra or {})


def _check(timeout: float, extra: Mapping[str, Any], **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise SettingError(f"`{name}` can't be {value}", hint="give 1 or more")
    if timeout <= 0:
        raise SettingError(f"`timeout` can't be {timeout:g}", hint="give seconds above 0")
    if mine := sorted(set(extra) & set(OWN)):
        hint = f"what is: all but {', '.join(OWN)}"
        raise SettingError(f"`{mine[0]}` of a request isn't for `extra` to say", hint=hint)


def is_address(name: str) -> bool:
    """Whether a model's name is an address."""
    return name.startswith(("http://", "https://"))


def _parted(url: str, model: str | None) -> tuple[str, str]:
    """The address alone, and the model. An address is saved with prompts, so nothing secret may be in it."""
    try:
        parts = urlsplit(url)
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL) as error:
        raise SettingError(f"`{url}` is no address: {error}", hint="give one like http://localhost:8000/v1") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(f"`{url}` is no address of an endpoint", hint="give one like http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query:
        what = "a query" if parts.query else "a name or password"
        told = f"the address of {parts.hostname} holds {what}, and addresses are saved with prompts"
        raise SettingError(told, hint="put the key into an environment variable: key=...")
    if model is not None and parts.fragment and parts.fragment != model:
        raise SettingError(f"`{url}` names a model, and so does model=`{model}`", hint="say it once")
    name = model or parts.fragment
    if not name:
        raise SettingError(f"`{url}` doesn't say which model", hint=f"{url}#NAME, or model=NAME")
    return parts._replace(fragment="").geturl().rstrip("/"), name


def _tokenizer(model: str, given: str | Path | None) -> Any:
    name = str(given or model)
    try:
        with quiet():
            return words(embedded().get(name, name), name)
    except LoadError as error:
        if given is not None:
            raise
        told = f"the tokenizer of `{model}` isn't found by the model's name, and texts are sent as its token ids"
        raise LoadError(
            told, hint="give a folder that holds its tokenizer.json, or a hub name: tokenizer=..."
        ) from error


def _window(backend: Any) -> int:
    size = int(min(backend.model_max_length, 10**9))
    if size == 10**9:
        raise SettingError("the tokenizer doesn't say how long a text may be", hint="give it: window=4096, say")
    return size

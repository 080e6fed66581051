"""Replies are paid for once, keys are shown nowhere, and an address is what a model is known by."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lm.remotes import NAME, ONE, SEVERAL, TEXTS, connect

import promptatlas
from promptatlas.errors import LoadError, RemoteError, SettingError
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.lm.named import named
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.make import remote
from promptatlas.testing.endpoint import Answer, Served

KEY = "sk-very-secret"
HOLDS = "the address of localhost holds {}, and addresses are saved with prompts"


def test_a_rerun_asks_nothing_again_even_when_the_endpoint_is_down(served: Served, tmp_path: Path) -> None:
    prompt = promptatlas.prompt("{text} It was {mask}", SEVERAL)
    first = prompt.score(connect(served, tmp_path), TEXTS)
    count = len(served.asked)
    served.bad = lambda body, count: Answer(500)
    again = connect(served, tmp_path)
    assert torch.equal(prompt.score(again, TEXTS), first)
    assert len(served.asked) == count
    assert (again.spent.requests, again.spent.prompt, again.spent.kept) == (0, 0, count)


def test_a_run_that_was_cut_pays_for_the_rest_alone(served: Served, tmp_path: Path) -> None:
    texts = [f"film number {i}" for i in range(6)]
    prompt = promptatlas.prompt("{text} It was {mask}", ONE)
    settings: dict[str, Any] = {"top": 2000, "tries": 2, "flights": 2}
    served.bad = lambda body, count: None if count <= 3 else Answer()  # it dies after three
    with pytest.raises(RemoteError, match="can't be reached"):
        prompt.score(connect(served, tmp_path, **settings), texts)
    served.asked.clear()
    served.bad = lambda body, count: None
    lm = connect(served, tmp_path, **settings)
    whole = prompt.score(lm, texts)
    assert (len(served.asked), lm.spent.kept) == (3, 3)
    assert torch.equal(whole, prompt.score(connect(served, tmp_path, cache=None, **settings), texts))


def test_no_more_requests_are_in_flight_than_are_allowed(served: Served, tmp_path: Path) -> None:
    flying, most = [0], [0]

    def bad(body: dict[str, Any], count: int) -> None:
        flying[0] += 1
        most[0] = max(most[0], flying[0])

    def twist(reply: Any) -> Any:
        flying[0] -= 1
        return reply

    served.bad, served.twist = bad, twist
    lm = connect(served, tmp_path, top=2000, flights=3)
    promptatlas.prompt("{text} It was {mask}", ONE).score(lm, [f"film number {i}" for i in range(8)])
    assert 1 <= most[0] <= 3


def test_a_reply_is_another_model_s_or_another_request_s_where_anything_differs(served: Served, tmp_path: Path) -> None:
    prompt = promptatlas.prompt("{text} It was {mask}", ONE)
    for settings in ({"top": 2000}, {"top": 2001}, {"top": 2000, "extra": {"return_tokens_as_token_ids": True}}):
        prompt.score(connect(served, tmp_path, **settings), TEXTS[:1])
    other = remote(served.url, "other", tokenizer=NAME, top=2000, cache=tmp_path / "replies.sqlite")
    prompt.score(other, TEXTS[:1])
    assert len(served.asked) == 4


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    lm = connect(served, tmp_path, key="MY_KEY")
    prompt = promptatlas.method("contextual_calibration").fit(
        lm, promptatlas.task("reviews").few(2, seed=0), promptatlas.prompt("{text} It was {mask}", ONE)
    )
    assert {one.headers["Authorization"] for one in served.asked} == {f"Bearer {KEY}"}
    promptatlas.save(prompt, tmp_path / "prompt")
    lm.close()
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()
    served.bad = lambda body, count: Answer(401, f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode())
    with pytest.raises(RemoteError) as caught:
        prompt.score(connect(served, tmp_path, key="MY_KEY"), ["new"])
    assert KEY not in str(caught.value)
    assert caught.value.message == f"`{served.url}` answers 401 Unauthorized: wrong key …"
    assert caught.value.hint.startswith("the environment variable MY_KEY holds a key it doesn't take")


def test_without_a_key_none_is_sent(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTATLAS_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    connect(served, tmp_path).echoes()
    assert "Authorization" not in served.asked[0].headers


@pytest.mark.parametrize("wrong", ["schlüssel", "two\nlines"])
def test_a_key_that_is_none_isnt_shown(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTATLAS_API_KEY", wrong)
    with pytest.raises(SettingError) as caught:
        remote("http://localhost/v1", NAME, cache=None)
    assert caught.value.message == "the key in PROMPTATLAS_API_KEY has letters that no key has"
    assert wrong not in str(caught.value)


def test_a_saved_prompt_knows_its_model_by_address_and_name(
    lm: RemoteLM, served: Served, local: LocalLM, tmp_path: Path
) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    prompt = promptatlas.method("contextual_calibration").fit(lm, task, promptatlas.prompt("{text} It was {mask}", ONE))
    promptatlas.save(prompt, tmp_path / "prompt")
    again = promptatlas.open(tmp_path / "prompt")
    assert again.history[-1].lm == {
        "name": f"{served.url}#{NAME}", "weights": f"{served.url}#{NAME}", "dtype": "float32",
        "tokenizer": local.identity["tokenizer"],
    }  # fmt: skip
    named = remote(again.history[-1].lm["name"], cache=None)
    assert torch.equal(again.score(named, TEXTS[:1]), prompt.score(lm, TEXTS[:1]))
    with pytest.raises(promptatlas.ArtifactError, match="was learned on"):
        again.score(local, TEXTS[:1])


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("localhost:8000", {}, "`localhost:8000` is no address of an endpoint"),
        ("http://localhost:abc/v1#m", {}, "`http://localhost:abc/v1#m` is no address: Invalid port: 'abc'"),
        ("http://[localhost/v1#m", {}, "`http://[localhost/v1#m` is no address: Invalid IPv6 URL"),
        ("http://localhost/v1", {}, "`http://localhost/v1` doesn't say which model"),
        ("http://me:pass@localhost/v1#m", {}, HOLDS.format("a name or password")),
        ("http://localhost/v1?key=secret#m", {}, HOLDS.format("a query")),
        ("http://localhost/v1#m", {"model": "n"}, "`http://localhost/v1#m` names a model, and so does model=`n`"),
        ("http://localhost/v1#m", {"top": 0}, "`top` can't be 0"),
        ("http://localhost/v1#m", {"window": 0}, "`window` can't be 0"),
        ("http://localhost/v1#m", {"timeout": 0.0}, "`timeout` can't be 0"),
        ("http://localhost/v1#m", {"extra": {"prompt": "x"}}, "`prompt` of a request isn't for `extra` to say"),
    ],
)  # fmt: skip
def test_settings_that_cant_be(url: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        remote(url, **{"tokenizer": NAME, "cache": None, **settings})
    assert caught.value.message == message
    assert "secret" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_a_tokenizer_that_isnt_found_by_the_model_s_name_has_to_be_given() -> None:
    with pytest.raises(LoadError) as caught:
        remote("http://localhost/v1", "no-such-model", cache=None)
    told = "the tokenizer of `no-such-model` isn't found by the model's name, and texts are sent as its token ids"
    assert caught.value.message == told
    with pytest.raises(LoadError, match="the tokenizer of `nowhere`"):
        remote("http://localhost/v1", "m", tokenizer="nowhere", cache=None)


def test_an_address_is_a_name_where_names_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(named("http://localhost/v1#pocket-causal"), RemoteLM)
    assert (tmp_path / ".cache/promptatlas/replies.sqlite").is_file()
    assert isinstance(named(NAME, "cpu"), LocalLM)
    with pytest.raises(LoadError, match="is an address, and no model of this machine"):
        load("http://localhost/v1#pocket-causal")


def test_a_cache_that_is_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, and longer than a header of one " * 9)
    with pytest.raises(SettingError, match="which can't be opened: file is not a database"):
        remote("http://localhost/v1", NAME, cache=tmp_path / "notes.txt")
    with pytest.raises(SettingError, match="which can't be opened"):
        remote("http://localhost/v1", NAME, cache=tmp_path / "notes.txt" / "below.sqlite")


def test_replies_are_json(lm: RemoteLM, tmp_path: Path) -> None:
    lm.echoes()
    with sqlite3.connect(tmp_path / "replies.sqlite") as file:
        ((request, reply),) = file.execute("SELECT * FROM replies").fetchall()
    file.close()
    assert len(request) == 64
    assert reply.startswith('{"object": "text_completion"')

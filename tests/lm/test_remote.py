"""A remote model says what the local one does, in as few requests as that takes, and refuses what it can't."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lm.remotes import ONE, SEVERAL, TEXTS, connect

import promptatlas
from promptatlas.data.view import One
from promptatlas.errors import CannotAttach, ModelError, NeedsError, SettingError, TooLong
from promptatlas.lm.ask import Decode, Given, Hidden, Job, Tokens, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.parts.tokens import Tokens as RealTokens
from promptatlas.parts.vectors import vocabulary
from promptatlas.testing.endpoint import Answer, Served
from promptatlas.text.template import Template

BEFORE = Template.parse("{text} It was {mask}").before()


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def some(lm: Any, template: str, *texts: str) -> list[Any]:
    return lm.encode([Template.parse(template).render({"text": text}) for text in texts], {})


@pytest.mark.parametrize(
    ("words", "echo"), [(ONE, True), (SEVERAL, True), (ONE, False)], ids=["one token", "several", "no echo"]
)
def test_labels_and_log_probabilities_are_the_local_ones(
    words: Any, echo: bool, served: Served, local: LocalLM, tmp_path: Path
) -> None:
    served.echo = echo
    lm = connect(served, tmp_path, top=5 if echo else 2000)
    prompt = promptatlas.prompt("{text}. All in all it was {mask}", words)
    same(prompt.score(lm, TEXTS), prompt.score(local, TEXTS))
    same(prompt.mass(lm, TEXTS), prompt.mass(local, TEXTS))
    ours, theirs = prompt.predict(lm, TEXTS), prompt.predict(local, TEXTS)
    assert [one.value for one in ours] == [one.value for one in theirs]
    assert lm.spent.absent == 0


def test_one_request_reads_all_words_that_are_among_the_likeliest(served: Served, tmp_path: Path) -> None:
    lm = connect(served, tmp_path, top=2000)
    promptatlas.prompt("{text}. All in all it was {mask}", {**ONE, "neither": "fine"}).score(lm, TEXTS[:2])
    assert [one.body["max_tokens"] for one in served.asked] == [1, 1]
    tokens = sum(len(one.body["prompt"]) for one in served.asked)
    assert (lm.spent.requests, lm.spent.prompt, lm.spent.written, lm.spent.kept) == (2, tokens, 2, 0)
    assert (lm.spent.passes, lm.spent.tokens) == (2, tokens + 2)


def test_tokens_are_told_by_ids_where_the_endpoint_names_them(served: Served, local: LocalLM, tmp_path: Path) -> None:
    lm = connect(served, tmp_path, top=2000, extra={"return_tokens_as_token_ids": True})
    prompt = promptatlas.prompt("{text}. All in all it was {mask}", ONE)
    same(prompt.score(lm, TEXTS), prompt.score(local, TEXTS))
    assert len(served.asked) == len(TEXTS)


def test_demonstrations_and_calibration_are_the_local_ones(lm: RemoteLM, local: LocalLM) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    prompt = promptatlas.prompt("{text} It was {mask}", task.words)
    shown = promptatlas.method("in_context", k=2).fit(lm, task, prompt)
    same(shown.score(lm, TEXTS[:2]), shown.score(local, TEXTS[:2]))
    ours = promptatlas.method("contextual_calibration").fit(lm, task, prompt)
    theirs = promptatlas.method("contextual_calibration").fit(local, task, prompt)
    same(ours.score(lm, TEXTS[:2]), theirs.score(local, TEXTS[:2]))


def test_choices_are_the_local_ones(lm: RemoteLM, local: LocalLM) -> None:
    rows = {one: some(one, "{text} It was {mask}", "a film") for one in (lm, local)}
    for answer in ("good", "neither good nor bad", ""):
        found = []
        for one, (row,) in rows.items():
            ids = one.word(answer, BEFORE) if answer else ()
            with torch.no_grad():
                found.append(one.read([Job(row.then(ids), (Given(),))])[0][0].values)
        same(*found)


def test_a_slot_at_every_item_is_read_behind_it(lm: RemoteLM, local: LocalLM) -> None:
    runs = [Template.parse("{text:each}").render({"text": ["the", "old", "grey", "town"]})]
    ask = Tokens(local.tokens("and of"), mass=True)
    found = []
    for one in (lm, local):
        with torch.no_grad():
            ((read,),) = one.read([Job(one.encode(runs, {})[0], (ask,))])
        found.append(read.values - read.total[:, None])
    assert found[0].shape == (4, 2)
    same(*found)


def test_real_tokens_may_stand_in_a_prompt(lm: RemoteLM, local: LocalLM) -> None:
    parts = {"found": RealTokens(local.tokens("so good"))}
    prompt = promptatlas.prompt("{@found}{text} It was {mask}", ONE).plus(**parts)
    same(prompt.score(lm, TEXTS), prompt.score(local, TEXTS))


@pytest.mark.parametrize("stop", [(), (".",), (" ",)])
def test_greedy_texts_are_the_local_ones(stop: tuple[str, ...], lm: RemoteLM, local: LocalLM) -> None:
    how = Decode(max_new=12, stop=stop)
    ours, theirs = (
        one.generate([Job(row, ()) for row in some(one, "{text}{mask}", "They left", "The harbour")], how)
        for one in (lm, local)
    )
    for (found,), (wanted,) in zip(ours, theirs, strict=True):
        assert (found.text, found.ids) == (wanted.text, wanted.ids)
        assert found.logp == pytest.approx(wanted.logp, abs=1e-3)


def test_a_prompt_that_writes_answers_with_the_local_texts(lm: RemoteLM, local: LocalLM) -> None:
    prompt = promptatlas.prompt("{text} In short:{mask}", view=One())
    how = Decode(max_new=5)
    assert [one.value for one in prompt.predict(lm, TEXTS[:2], how=how)] == [
        one.value for one in prompt.predict(local, TEXTS[:2], how=how)
    ]


def test_probes_are_written_by_the_endpoint(lm: RemoteLM) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    prompt = promptatlas.prompt("{text} It was {mask}", task.words)
    settings = {"k": 2, "draws": 1, "length": 12, "shortest": 1, "source": "written"}
    with pytest.raises(SettingError, match="the completions protocol has no word for `top_k`"):
        promptatlas.method("entropy_order", **settings).fit(lm, task, prompt)
    fitted = promptatlas.method("entropy_order", **settings, top_k=0).fit(lm, task, prompt)
    assert fitted.history[-1].figures["orders"] == 2


def test_sampling_takes_its_seed_and_a_row_that_comes_again_is_drawn_anew(lm: RemoteLM, served: Served) -> None:
    jobs = [Job(row, ()) for row in some(lm, "{text}{mask}", "They left", "They left", "It rained")]
    how = Decode(max_new=4, temperature=1.0, n=2, seed=7, top_p=0.9)
    found = lm.generate(jobs, how)
    assert found == lm.generate(jobs, how)
    assert sorted(one.body["seed"] for one in served.asked) == [7, 7, 8]
    assert {one.body["top_p"] for one in served.asked} == {0.9}
    assert [len(one) for one in found] == [2, 2, 2]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Decode(top_k=5), "the completions protocol has no word for `top_k`"),
        (Decode(beams=2), "the completions protocol has no word for `beams`"),
        (Decode(forbid=("a",)), "the completions protocol has no word for `forbid`"),
        (Decode(n=2), "2 texts a row need sampling"),
    ],
)
def test_what_the_protocol_has_no_word_for_is_refused(how: Decode, message: str, lm: RemoteLM, served: Served) -> None:
    with pytest.raises(SettingError) as caught:
        lm.generate([Job(row, ()) for row in some(lm, "{text}{mask}", "a")], how)
    assert caught.value.message == message
    assert not served.asked


def test_writing_past_the_window_is_refused(lm: RemoteLM, served: Served) -> None:
    with pytest.raises(TooLong, match="don't fit the window of 1024"):
        lm.generate([Job(row, ()) for row in some(lm, "{text}{mask}", "a")], Decode(max_new=1024))
    (row,) = some(lm, "{text}{mask}", "old " * 3000)
    assert len(row) == lm.window - 1  # what is read is written too
    assert not served.asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("prompt_tuning", "`prompt_tuning` needs a model that can do `gradient`, and `{}` can't"),
        ("p_tuning_v2", "`p_tuning_v2` needs a model that can do `gradient`, and `{}` can't"),
        ("kate", "`kate` needs a model that can do `hidden`, and `{}` can't"),
        ("petal", "`petal` needs a model that can do `vocabulary`, and `{}` can't"),
        ("kpt", "`kpt` needs a model that can do `vocabulary`, and `{}` can't"),
        ("label_names", "`label_names` needs a model that can do `vocabulary`, and `{}` can't"),
    ],
)
def test_a_method_that_needs_more_is_refused_before_work(name: str, message: str, lm: RemoteLM, served: Served) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    with pytest.raises(NeedsError) as caught:
        promptatlas.method(name).fit(lm, task, promptatlas.prompt("{text} It was {mask}", task.words))
    assert caught.value.message == message.format(lm.name)
    assert not served.asked


def test_words_are_named_by_label_names_without_the_vocabulary_where_it_isnt_needed(lm: RemoteLM) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    prompt = promptatlas.prompt("{text} It was {mask}", task.words)
    with pytest.raises(NeedsError, match="needs a model that can do `vectors`"):
        promptatlas.method("label_names", by="vectors").fit(lm, task, prompt)
    assert promptatlas.method("label_names", by="names", calibrate=False).fit(lm, task, prompt).labels == task.labels


def test_methods_that_do_without_are_named(lm: RemoteLM) -> None:
    task = promptatlas.task("reviews").few(2, seed=0)
    with pytest.raises(NeedsError, match="these do without: `in_context`"):
        promptatlas.method("prompt_tuning").fit(lm, task, promptatlas.prompt("{text} It was {mask}", task.words))


def test_parts_and_asks_that_need_more_are_refused_before_work(lm: RemoteLM, local: LocalLM, served: Served) -> None:
    (row,) = some(lm, "{text}{mask}", "a")
    parts = {"soft": vocabulary(local, 3, seed=0)}
    with pytest.raises(CannotAttach, match="has no way in for the part `soft`"):
        lm.encode([Template.parse("{@soft}{text}{mask}").render({"text": "a"})], parts)
    with pytest.raises(CannotAttach, match="has no way in for the part `soft`"):
        lm.read([Job(row, (Tokens((5,)),)), Job(row, (Tokens((5,)),), parts)])
    for ask in (Vocabulary(), Hidden()):
        with pytest.raises(ModelError, match=f"is remote, and doesn't answer `{type(ask).__name__}`"):
            lm.read([Job(row, (Tokens((5,)),)), Job(row, (ask,))])
    for refused in (lm.prefixes, lambda: lm.places("query"), lambda: lm.embed(["a"])):
        with pytest.raises(ModelError, match="is remote"):
            refused()
    with pytest.raises(ModelError, match="a row without a slot"):
        lm.read([Job(replace(row, slots=(), answer=(5, 6)), (Given(),))])
    assert not served.asked


def test_several_tokens_are_refused_before_work_where_there_is_no_echo(served: Served, tmp_path: Path) -> None:
    served.echo = False
    lm = connect(served, tmp_path)
    with pytest.raises(ModelError) as caught:
        promptatlas.prompt("{text} It was {mask}", SEVERAL).score(lm, TEXTS)
    assert caught.value.message == (
        f"`{lm.name}` doesn't echo, and words of several tokens or choices are read out of an echo"
    )
    assert len(served.asked) == 1  # the question itself


@pytest.mark.parametrize("status", [400, 422])
def test_an_echo_that_is_refused_is_none(status: int, served: Served, tmp_path: Path) -> None:
    served.bad = lambda body, count: Answer(status, b'{"error": {"message": "no echo"}}') if body.get("echo") else None
    assert not connect(served, tmp_path).echoes()


def test_an_endpoint_that_writes_instead_of_echoing_has_none(served: Served, tmp_path: Path) -> None:
    complete = served.complete
    served.complete = lambda body: complete(body | {"max_tokens": 1, "echo": False})  # type: ignore[method-assign]
    assert not connect(served, tmp_path).echoes()


def test_absent_words_are_bounded_and_counted_where_there_is_no_echo(
    served: Served, local: LocalLM, tmp_path: Path
) -> None:
    served.echo = False
    lm = connect(served, tmp_path, top=3)
    (row,) = some(lm, "{text} It was {mask}", "a film")
    with torch.no_grad():
        ((every,),) = local.read([Job(row, (Vocabulary(),))])
    best = every.values[0].topk(3)
    rare = next(i for i in every.values[0].argsort().tolist() if lm.spelling.told(i))
    with pytest.warns(UserWarning, match=r"1 of 2 label words aren't among the 3 likeliest .* an upper bound stands"):
        ((read,),) = lm.read([Job(row, (Tokens((int(best.indices[0]), rare), mass=True),))])
    bound = min(float(best.values[-1]), math.log(1 - float(best.values.exp().sum())))
    same(read.values[0], torch.tensor([float(best.values[0]), bound]))
    assert float(every.values[0, rare]) <= bound
    assert (lm.spent.absent, read.total.tolist()) == (1, [0.0])


def test_a_token_that_cant_be_told_by_its_text_is_refused_where_there_is_no_echo(
    served: Served, local: LocalLM, tmp_path: Path
) -> None:
    served.echo = False
    lm = connect(served, tmp_path)
    (row,) = some(lm, "{text} It was {mask}", "a film")
    part = local.tokens("影")[1]  # a byte of a character
    with pytest.raises(ModelError, match="can't be told by its text"):
        lm.read([Job(row, (Tokens((part,)),))])
    named = connect(served, tmp_path, extra={"return_tokens_as_token_ids": True})
    with pytest.warns(UserWarning, match="an upper bound"):
        named.read([Job(row, (Tokens((part,)),))])


def test_an_answer_of_one_token_needs_no_echo(served: Served, local: LocalLM, tmp_path: Path) -> None:
    served.echo = False
    lm = connect(served, tmp_path, top=3000)
    found = []
    for one in (lm, local):
        (row,) = some(one, "{text} It was {mask}", "a film")
        with torch.no_grad():
            found.append(one.read([Job(row.then(one.word("good", BEFORE)), (Given(),))])[0][0].values)
    same(*found)

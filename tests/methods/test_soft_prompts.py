"""Prompt tuning and P-tuning: sheets 27 and 21."""

from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import NeedsError, SettingError, TemplateError
from promptatlas.lm.ask import Decode
from promptatlas.methods.p_tuning import PTuning
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.parts.vectors import Vectors, of_text
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.registry import method
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.loss import Batch
from promptatlas.train.run import Run
from promptatlas.train.written import Written, pairs

TASK = toy()


def start(**settings: object) -> torch.Tensor:
    """The vectors before they have moved."""
    made = PromptTuning(**{"length": 4, "steps": 1, "lr": 1e-12, **settings}).fit(tiny("bert"), TASK, toy_prompt())
    assert isinstance(made, Prompt)
    return made.parts["soft"].tensors()["weight"]


def test_every_start_is_what_it_says() -> None:
    lm = tiny("bert")
    rows = lm.vectors.tolist()
    sampled = start(start="vocabulary").tolist()
    assert len({tuple(one) for one in sampled}) == 4
    assert all(one in rows for one in sampled)
    labels = torch.stack(
        [lm.vectors[list(lm.word(word, toy_prompt().template.before()))].mean(0) for word in ("good", "bad")]
    )
    torch.testing.assert_close(start(start="labels")[:2], labels)
    assert all(one in rows for one in start(start="labels")[2:].tolist())
    torch.testing.assert_close(start(start="text", text="the cat")[:2], lm.vectors[list(lm.tokens("the cat"))])
    assert float(start(start="uniform", length=50).abs().max()) <= 0.5
    for name in ("vocabulary", "uniform", "labels"):
        assert torch.equal(start(start=name, seed=3), start(start=name, seed=3))
        assert not torch.equal(start(start=name, seed=3), start(start=name, seed=4))


def test_adafactor_moves_by_the_rate_whatever_the_gradients_size() -> None:
    """Without parameter scaling the first step is the gradient over its own size, of an RMS of at most 1, times lr."""
    one = start(optim="adafactor", lr=1e-12, start="vocabulary")
    moved = start(optim="adafactor", lr=0.3, start="vocabulary") - one
    assert float(moved.abs().max()) == pytest.approx(0.3, rel=1e-3)
    assert float(moved.square().mean().sqrt()) <= 0.3 + 1e-6


def test_members_vote_and_each_is_what_its_seed_makes() -> None:
    lm = tiny("bert")
    made = PromptTuning(length=3, steps=3, members=3, seed=5).fit(lm, TASK, toy_prompt())
    assert isinstance(made, Ensemble)
    assert made.vote
    assert made.prompts == tuple(
        PromptTuning(length=3, steps=3, seed=5 + at).fit(lm, TASK, toy_prompt()) for at in range(3)
    )
    said = [[one.value for one in prompt.predict(lm, TASK.test)] for prompt in made.prompts]
    for answer, votes in zip(made.predict(lm, TASK.test), zip(*said, strict=True), strict=True):
        assert answer.value == max(set(votes), key=votes.count)  # three votes, two labels: no tie
    with pytest.raises(SettingError, match="an ensemble of no prompts"):
        PromptTuning(members=0).fit(lm, TASK, toy_prompt())


def test_members_that_are_done_are_not_trained_again(tmp_path: object) -> None:
    lm, settings = tiny("bert"), PromptTuning(length=3, steps=3, members=2)
    events: list[str] = []
    first = settings.fit(lm, TASK, toy_prompt(), run=Run(folder=tmp_path))  # type: ignore[arg-type]
    again = settings.fit(lm, TASK, toy_prompt(), run=Run(folder=tmp_path, listen=lambda one: events.append(one.what)))  # type: ignore[arg-type]
    assert again == first
    assert "tune" not in events


def test_the_best_on_dev_is_kept() -> None:
    lm = tiny("t5")
    made = PromptTuning(length=4, steps=40, lr=2.0, keep="best", every=5, flat=None).fit(lm, toy(dev=32), toy_prompt())
    last = PromptTuning(length=4, steps=40, lr=2.0, every=5, flat=None).fit(lm, toy(dev=32), toy_prompt())
    assert isinstance(made, Prompt)
    assert made.history[-1].figures["dev_accuracy"] == pytest.approx(_accuracy(made, lm, toy(dev=32)))
    assert _accuracy(made, lm, toy(dev=32)) >= _accuracy(last, lm, toy(dev=32))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="keep='best' needs dev examples"):
        PromptTuning(keep="best").fit(lm, replace(TASK, dev=()), toy_prompt())


def _accuracy(prompt: Prompt, lm: object, task: object) -> float:
    told = prompt.predict(lm, task.dev)  # type: ignore[arg-type, attr-defined]
    return sum(one.value == wanted.target for one, wanted in zip(told, task.dev, strict=True)) / len(told)  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_the_papers_loss_trains_too(family: str) -> None:
    lm = tiny(family)
    made = method("prompt_tuning", length=4, steps=30, loss="vocabulary", z=1e-4, lr=0.1).fit(lm, TASK, toy_prompt())
    few = method("prompt_tuning", length=4, steps=1, loss="vocabulary", z=1e-4, lr=1e-9).fit(lm, TASK, toy_prompt())
    assert made.history[-1].figures["loss"] < few.history[-1].figures["loss"]
    assert made.history[-1].figures["trained"] == 4 * lm.width


TEXTS = replace(
    TASK,
    kind="text",
    labels=(),
    metric="",
    train=(Example({"text": "the cat"}, "the hill"), Example({"text": "good"}, ("bad", "awful"))),
    dev=(Example({"text": "rain"}, ("the hill", "a dog")), Example({"text": "fine"}, "dull")),
)


@pytest.mark.parametrize("loss", ["labels", "vocabulary"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_texts_are_written_token_by_token_with_their_end(family: str, loss: str) -> None:
    lm = tiny(family, scale=6.0)
    settings = {"length": 4, "batch": 3, "loss": loss, "z": 1e-3, "flat": None}
    made = method("prompt_tuning", **settings, steps=60, lr=0.1).fit(lm, TEXTS, prompt("{text} {mask}"))
    first = method("prompt_tuning", **settings, steps=1, lr=1e-9).fit(lm, TEXTS, prompt("{text} {mask}"))
    assert made.writes
    assert made.history[-1].figures["loss"] < 0.8 * first.history[-1].figures["loss"]
    batch = Batch(pairs(TEXTS.train), (0, 1, 2), 0, torch.Generator())
    whole = Written(z=1e-3)(prompt("{text} {mask}").lead(soft=first.parts["soft"]), lm, batch)
    assert first.history[-1].figures["loss"] == pytest.approx(whole.mean().item(), rel=1e-4)


def test_of_texts_the_best_is_the_one_with_the_least_loss_on_dev() -> None:
    lm = tiny("gpt2", scale=6.0)
    settings = {"length": 4, "steps": 20, "lr": 1.0, "every": 5, "flat": None}
    made = method("prompt_tuning", **settings, keep="best").fit(lm, TEXTS, prompt("{text} {mask}"))
    batch = Batch(pairs(TEXTS.dev), (0, 1, 2), 0, torch.Generator())
    least = Written()(made, lm, batch).mean().item()
    assert made.history[-1].figures["dev_loss"] == pytest.approx(least, rel=1e-4)
    last = method("prompt_tuning", **settings).fit(lm, TEXTS, prompt("{text} {mask}"))
    assert least <= Written()(last, lm, batch).mean().item()
    with pytest.raises(SettingError, match="keep='best' needs dev examples"):
        method("prompt_tuning", keep="best").fit(lm, replace(TEXTS, dev=()), prompt("{text} {mask}"))


def test_members_vote_for_texts() -> None:
    lm = tiny("gpt2", scale=6.0)
    made = PromptTuning(length=3, steps=3, lr=1.0, members=3).fit(lm, TEXTS, prompt("{text} {mask}"))
    how = Decode(max_new=4)
    said = [[one.value for one in alone.predict(lm, TEXTS.dev, how=how)] for alone in made.prompts]
    for answer, votes in zip(made.predict(lm, TEXTS.dev, how=how), zip(*said, strict=True), strict=True):
        most = max(map(votes.count, votes))
        assert answer.value == next(one for one in votes if votes.count(one) == most)


def test_texts_need_a_model_that_writes() -> None:
    with pytest.raises(NeedsError) as caught:
        PromptTuning().fit(tiny("bert"), TEXTS, prompt("{text} {mask}"))
    assert str(caught.value) == (
        "`prompt_tuning` needs a model that writes for texts, and `tiny-bert` is masked\n\n"
        "hint: give a causal or seq2seq model, such as `pocket-causal` or `pocket-seq2seq`"
    )


def test_paper_is_the_published_run() -> None:
    settings = method("prompt_tuning", paper=True)
    assert (settings.length, settings.lr, settings.optim, settings.batch, settings.steps) == (
        100,
        0.3,
        "adafactor",
        32,
        30_000,
    )
    assert (settings.loss, settings.z, settings.keep, settings.weight_decay) == ("vocabulary", 1e-4, "best", 1e-5)


ANCHORED = replace(toy_prompt(), template=toy_prompt().template.parse("{@a} {text} so {@b} It was {mask}"))


@pytest.mark.parametrize("encoder", ["lstm", "wide_lstm", "mlp"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_p_tuning_keeps_flat_vectors_at_their_places(family: str, encoder: str) -> None:
    lm = tiny(family)
    made = PTuning(length=2, encoder=encoder, steps=3).fit(lm, TASK, ANCHORED)  # type: ignore[arg-type]
    assert str(made.template) == "{@a} {text} so {@b} It was {mask}"
    assert {name: type(part) for name, part in made.parts.items()} == {"a": Vectors, "b": Vectors}
    assert sum(one.numel() for part in made.trainable().values() for one in part.parameters()) == 4 * lm.width
    size = {"lstm": 16, "wide_lstm": 32, "mlp": 0}[encoder]
    layer = 2 * (4 * size * (32 + size) + 8 * size) + 2 * (4 * size * (2 * size + size) + 8 * size)
    mlp = ((2 * size or 32) * 32 + 32) + (32 * 32 + 32)
    assert made.history[-1].figures["trained"] == 4 * 32 + layer + mlp


def test_p_tuning_without_places_leads_and_goes_on_from_vectors_that_are_there() -> None:
    lm = tiny("bert")
    made = PTuning(length=2, steps=2).fit(lm, TASK, toy_prompt())
    assert str(made.template).startswith("{@soft}")
    again = PTuning(length=7, steps=1, lr=1e-9).fit(lm, TASK, made)
    torch.testing.assert_close(again.parts["soft"].tensors()["weight"], made.parts["soft"].tensors()["weight"])
    assert again.history[-1].figures["trained"] == 2 * 32


def test_words_in_place_of_vectors_are_the_plain_template() -> None:
    lm = tiny("bert")
    words = replace(ANCHORED, parts={"a": of_text(lm, "the cat"), "b": of_text(lm, "on")})
    plain = replace(toy_prompt(), template=toy_prompt().template.parse("the cat {text} so on It was {mask}"))
    torch.testing.assert_close(
        words.lead().score(lm, TASK.test),
        replace(plain, template=plain.template.parse("the cat{start}{text} so on It was {mask}")).score(lm, TASK.test),
        atol=1e-5, rtol=0,
    )  # fmt: skip


def test_p_tuning_learns_facts_by_heart() -> None:
    """Eight facts under a frozen model: the loss falls, and more are right than under the random start."""
    lm = tiny("gpt2", scale=6.0)
    task = replace(TASK, train=TASK.train[:8])
    start, made = (
        PTuning(length=3, steps=steps, lr=lr, loss="vocabulary", batch=8).fit(lm, task, toy_prompt())
        for steps, lr in ((1, 1e-9), (150, 0.02))
    )
    assert float(made.history[-1].figures["loss"]) < 0.5 * float(start.history[-1].figures["loss"])
    hits = [
        sum(a.value == e.target for a, e in zip(p.predict(lm, task.train), task.train, strict=True))
        for p in (start, made)
    ]
    assert hits[1] > hits[0]


def test_the_model_is_frozen_or_moves_beside_the_vectors() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    made = PTuning(length=2, steps=2, lm_lr=1e-3).fit(lm, TASK, toy_prompt())
    assert set(made.parts) == {"soft", "weights"}
    assert any(not torch.equal(one, before[name]) for name, one in made.parts["weights"].tensors().items())
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())


def test_p_tuning_says_what_cannot_be() -> None:
    with pytest.raises(SettingError, match="an encoder of no vectors") as caught:
        PTuning(length=0).fit(tiny("bert"), TASK, ANCHORED)
    assert caught.value.hint == "use 1 or more, or a template without parts"
    with pytest.raises(TemplateError, match="a causal model can't see what follows the slot"):
        PTuning(steps=1).fit(
            tiny("gpt2"), TASK, replace(ANCHORED, template=ANCHORED.template.parse("{text} {mask} so {@a}"))
        )
    with pytest.raises(NeedsError, match="needs a template with a slot"):
        PTuning().fit(tiny("bert"), TASK, replace(ANCHORED, template=ANCHORED.template.parse("{text} {@a}")))


def test_p_tuning_stops_when_dev_gets_no_better() -> None:
    made = PTuning(length=2, steps=60, every=2, patience=3, keep="best", lr=1e-9).fit(tiny("bert"), TASK, toy_prompt())
    assert made.history[-1].figures["steps"] < 60

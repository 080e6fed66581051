"""Prompt tuning and P-tuning: sheets 27 and 21."""

from dataclasses import replace

import pytest
import torch

from promptatlas.errors import SettingError
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.registry import method
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.run import Run

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

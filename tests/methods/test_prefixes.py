"""Prefix-tuning (sheet 15) and P-tuning v2 (sheet 47): what they train, what they keep, what they write."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.ask import Decode
from promptatlas.methods.p_tuning_v2 import PTuningV2
from promptatlas.methods.prefix_tuning import PrefixTuning
from promptatlas.parts.prefix import Prefix, normal, of_text
from promptatlas.prompting import Prompt
from promptatlas.registry import method
from promptatlas.score.own import Own
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.run import Cancelled, Run

TASK = toy()
WRITING = Prompt(template=Template.parse("{text} =>{mask}"), words=Own(), view=Choices())
TEXTS = Task(
    name="opposites",
    kind="text",
    fields=("text",),
    train=(
        Example({"text": "the cat"}, ("a dog", "a dog ran"), "0"),
        Example({"text": "the rain"}, "the hill", "1"),
        Example({"text": "good"}, "bad", "2"),
    ),
)


def trained(prompt: Prompt) -> int:
    return int(prompt.history[-1].figures["trained"])


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "bart"])
def test_learns_what_to_write_and_where_to_end(family: str) -> None:
    lm = tiny(family, scale=3.0)
    few = replace(TEXTS, train=TEXTS.train[1:])
    made = PrefixTuning(length=8, mid=0, steps=150, batch=2, lr=0.1).fit(lm, few, WRITING)
    short = PrefixTuning(length=8, mid=0, steps=1, batch=2, lr=1e-9).fit(lm, few, WRITING)
    assert made.history[-1].figures["loss"] < 0.5 * float(short.history[-1].figures["loss"])
    if family in ("gpt2", "llama"):
        said = made.generate(lm, few.train, Decode(max_new=8))
        assert [one[0].text.strip() for one in said] == ["the hill", "bad"]


def test_three_untied_prefixes_of_an_encoder_and_a_decoder() -> None:
    lm = tiny("t5")
    made = PrefixTuning(length=3, mid=4, steps=3).fit(lm, TEXTS, WRITING)
    part = made.parts["prefix"]
    assert isinstance(part, Prefix)
    assert set(part.places) == {"encoder", "decoder", "cross"}
    ends = [one.detach() for one in part.places.values()]
    assert all(not torch.equal(one, ends[0]) for one in ends[1:])
    assert sum(one.numel() for one in part.parameters()) == 3 * (3 * 2 * 2 * 4 * 8)
    # trained: three tables of 3 x 32 and three MLPs of 32 -> 4 -> 128
    assert trained(made) == 3 * (3 * 32 + (32 * 4 + 4) + (4 * 128 + 128))


@pytest.mark.parametrize("name", ["prefix_tuning", "p_tuning_v2"])
def test_the_mlp_is_dropped_and_the_prefix_is_plain(name: str) -> None:
    lm = tiny("bert")
    made = method(name, length=3, mid=4, steps=3, dropout=0.2).fit(lm, TASK, toy_prompt())
    assert isinstance(made.parts["prefix"], Prefix)
    assert "dropout" not in made.parts["prefix"].config()
    head = (32 + 1) * 2 if name == "p_tuning_v2" else 0
    assert trained(made) == 3 * 32 + (32 * 4 + 4) + (4 * 128 + 128) + head
    positions = "shifted" if name == "prefix_tuning" else "unshifted"
    assert made.parts["prefix"].config() == {"positions": positions}
    again = method(name, length=9, mid=4, steps=1, lr=1e-9).fit(lm, TASK, made)  # goes on from the plain prefix
    torch.testing.assert_close(again.parts["prefix"].tensors()["self"], made.parts["prefix"].tensors()["self"])


def test_starts_from_what_the_model_makes_of_the_words() -> None:
    lm = tiny("gpt2")
    words = "the cat sat"
    made = PrefixTuning(start=words, mid=0, steps=1, lr=1e-9, length=99).fit(lm, TEXTS, WRITING)
    torch.testing.assert_close(
        made.parts["prefix"].tensors()["self"], of_text(lm, words).tensors()["self"], atol=1e-6, rtol=0
    )
    assert made.parts["prefix"].config() == {"positions": "shifted"}
    goal = of_text(lm, words).tensors()["self"]
    near, far = (
        PrefixTuning(start=words, mid=16, prefit=steps, prefit_lr=1e-2, steps=1, lr=1e-9).fit(lm, TEXTS, WRITING)
        for steps in (300, 1)
    )
    apart = [float((one.parts["prefix"].tensors()["self"] - goal).square().mean()) for one in (near, far)]
    assert apart[0] < 0.1 * apart[1]


def test_the_base_stays_and_every_layer_of_the_prefix_moves() -> None:
    lm = tiny("llama")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    start = normal(lm, 4, seed=0)
    made = PrefixTuning(steps=3, lr=1e-2).fit(lm, TEXTS, WRITING.plus(prefix=start))
    moved = (made.parts["prefix"].tensors()["self"] - start.tensors()["self"]).abs().sum((2, 3, 4))
    assert bool((moved > 0).all())
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    lm = tiny("gpt2")
    settings = PrefixTuning(length=3, mid=4, steps=8, dropout=0.1)
    whole = settings.fit(lm, TEXTS, WRITING)
    steps: list[int] = []
    stopped = Run(folder=tmp_path, steps=1, listen=lambda one: steps.append(one.done), cancelled=lambda: len(steps) > 4)
    with pytest.raises(Cancelled):
        settings.fit(lm, TEXTS, WRITING, run=stopped)
    assert settings.fit(lm, TEXTS, WRITING, run=Run(folder=tmp_path)) == whole


def test_a_prefix_shared_by_a_family_of_tasks(tmp_path: Path) -> None:
    lm = tiny("bert", scale=6.0)
    other = [
        {"text": one.fields["text"], "label": "far" if one.target == "pets" else "near"} for one in toy(seed=3).train
    ]
    path = tmp_path / "other.jsonl"
    path.write_text("\n".join(map(json.dumps, other)), encoding="utf8")
    settings = {"length": 4, "lr": 0.02, "steps": 1, "batch": 4}
    alone = PTuningV2(**settings).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]
    made = PTuningV2(**settings, family=(str(path),), family_steps=20).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]
    again = PTuningV2(**settings, family=(str(path),), family_steps=20).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]
    assert set(made.parts) == {"prefix", "head"}
    assert made == again
    apart = made.parts["prefix"].tensors()["self"] - alone.parts["prefix"].tensors()["self"]
    assert float(apart.abs().mean()) > 0.05  # twenty steps at 0.02 against one
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a", "references": ["b"]}\n', encoding="utf8")
    with pytest.raises(NeedsError, match="a part can't be shared with `texts`, which has targets of kind text"):
        PTuningV2(family=(str(texts),)).fit(lm, TASK, toy_prompt())


def test_papers_settings() -> None:
    paper = method("p_tuning_v2", paper=True)
    assert (paper.positions, paper.dropout, paper.keep, paper.mid, paper.lr, paper.length) == (
        "shifted",
        0.1,
        "best",
        0,
        7e-3,
        8,
    )
    prefix = method("prefix_tuning", paper=True)
    assert (prefix.lr, prefix.batch, prefix.length, prefix.mid, prefix.dropout) == (5e-5, 5, 10, 512, 0.0)
    made = method("p_tuning_v2", paper=True, steps=2, length=3).fit(tiny("bert"), TASK, toy_prompt())
    assert made.parts["prefix"].config() == {"positions": "shifted"}


def test_says_what_cannot_be() -> None:
    with pytest.raises(NeedsError, match="needs a model that writes for texts, and `tiny-bert` is masked"):
        PrefixTuning().fit(tiny("bert"), TEXTS, WRITING)
    with pytest.raises(NeedsError, match="can do `prefix`") as caught:
        PrefixTuning().fit(tiny("deberta-v2"), TASK, toy_prompt())
    assert caught.value.hint == "these do without: `prompt_tuning`"
    with pytest.raises(SettingError, match="leaves no room"):
        PrefixTuning(length=tiny("gpt2").window).fit(tiny("gpt2"), TEXTS, WRITING)
    with pytest.raises(SettingError, match="can't have -1 positions"):
        PrefixTuning(length=-1).fit(tiny("gpt2"), TEXTS, WRITING)
    with pytest.raises(SettingError, match="`dropout` is"):
        PrefixTuning(dropout=1.5).fit(tiny("gpt2"), TEXTS, WRITING)

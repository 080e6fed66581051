"""Null prompts: the sheet's checks."""

from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, SettingError, TemplateError, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.null_prompts import NullPrompts
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import bare
from promptatlas.score.candidates import drawn
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template

TASK = toy()
PAIRS = Task(
    name="pairs", kind="label", fields=("a", "b"), labels=("pets", "weather"),
    train=tuple(Example({"a": one.fields["text"], "b": "the old town"}, one.target, one.key) for one in TASK.train),
)  # fmt: skip
START = replace(toy_prompt(), template=Template.parse("{a} ? {mask} , {b} !"))


@pytest.mark.parametrize("name", names("masked"))
def test_a_row_is_the_fields_and_the_slot_and_nothing_else(name: str) -> None:
    """[CLS] a b [MASK] [SEP]."""
    lm = tiny(name)
    tuned = NullPrompts(steps=1, batch=2).fit(lm, PAIRS, START)
    (row,) = tuned.reader(lm).encode(tuned.lines(lm, [Example({"a": "good", "b": "bad"})])[0])
    start, end = lm.tokenizer.start, lm.tokenizer.end
    assert str(tuned.template) == "{a} {b} {mask}"
    assert row.ids == (*start, *lm.tokens("good bad"), lm.mask, *end)
    empty = tuned.reader(lm).encode(tuned.lines(lm, [Example({"a": "", "b": ""})])[0])[0]
    kept = [one for one in empty.ids if lm.text([one]).strip()]
    assert (kept, empty.ids[-1]) == ([], end[-1])  # no word, whatever a tokenizer makes of blanks


@pytest.mark.parametrize(
    "order", [("a", "b", "mask"), ("b", "a", "mask"), ("b", "mask", "a"), ("mask", "b", "a"), ("mask", "a")]
)
def test_the_order_is_as_it_is_said(order: tuple[str, ...]) -> None:
    tuned = NullPrompts(steps=1, batch=2, order=order).fit(tiny("bert"), PAIRS, START)
    assert str(tuned.template) == " ".join(f"{{{name}}}" for name in order)


def test_label_scores_are_a_share_among_labels() -> None:
    """The oracle: label logits of 2 and 0, the first is right."""
    lm = ScriptedLM(["yes", "no", "other"], lambda text: {"yes": 2.0, "no": 0.0, "other": 5.0})
    asked = Prompt(template=bare(("text", "mask"), ("text",)), words=Words.of({"a": "yes", "b": "no"}))
    assert float(-asked.score(lm, ["x"])[0, 0]) == pytest.approx(0.126928, abs=1e-6)


@pytest.mark.parametrize(("train", "part"), [("all", "weights"), ("biases", "biases"), ("norms", "norms")])
def test_what_is_trained_moves_and_nothing_else(train: str, part: str) -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    tuned = NullPrompts(steps=2, train=train).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]
    assert set(tuned.parts) == {part}
    moved = set(tuned.parts[part].tensors())
    wanted = {
        "weights": set(before),
        "biases": {name for name in before if name.endswith("bias")},
        "norms": {name for name in before if "LayerNorm" in name},
    }[part]
    assert moved <= wanted
    assert len(moved) > 0.8 * len(wanted)  # what is asked of a softmax moves no key's bias
    assert all(torch.equal(lm.parameters[name], one) for name, one in before.items())


def test_random_words_are_distinct_tokens_and_the_seed_s() -> None:
    for name in ("bert", "roberta", "llama", "t5"):
        lm, template = tiny(name), bare(("text", "mask"), ("text",))
        labels = tuple("abcdef")
        words = [drawn(lm, labels, template, seed=seed) for seed in (1, 1, 2)]
        assert words[0] == words[1] != words[2]
        ids = [lm.word(words[0].word(label), template.before()) for label in labels]
        assert [len(one) for one in ids] == [1] * 6
        assert len(set(ids)) == 6
        assert not {one for (one,) in ids} & lm.special
    tuned = NullPrompts(steps=1, words="random", seed=3).fit(tiny("bert"), TASK, toy_prompt())
    assert tuned.words == drawn(tiny("bert"), TASK.labels, tuned.template, seed=3)


def test_training_goes_on_from_what_is_there() -> None:
    lm = tiny("bert")
    first = NullPrompts(steps=5, train="norms").fit(lm, TASK, toy_prompt())
    again = NullPrompts(steps=1, lr=1e-12, train="norms").fit(lm, TASK, first)
    for name, one in first.parts["norms"].tensors().items():
        torch.testing.assert_close(again.parts["norms"].tensors()[name], one, atol=1e-6, rtol=0)


def test_learns_the_toy_task() -> None:
    lm, task = tiny("bert"), toy(train=64, seed=1)
    tuned = NullPrompts(steps=60, batch=12, lr=3e-3).fit(lm, task, toy_prompt())
    answers = tuned.predict(lm, task.test)
    assert sum(one.value == example.target for one, example in zip(answers, task.test, strict=True)) >= 29


def fit(lm_name: str = "bert", **settings: object) -> Prompt:
    return NullPrompts(steps=1, **settings).fit(tiny(lm_name), PAIRS, START)  # type: ignore[arg-type]


def test_says_what_is_wrong() -> None:
    with pytest.raises(SettingError) as caught:
        fit(order=("a", "c", "mask"))
    assert str(caught.value) == "`order` has `c`, which is no field\n\nhint: there are `a`, `b`, `mask`"
    for order in (("a", "b"), ("mask",), ("a", "mask", "a"), ("mask", "a", "mask")):
        with pytest.raises(SettingError, match="hint: it has `mask`, the slot, once, and fields, each once"):
            fit(order=order)
    with pytest.raises(TemplateError, match="a causal model can't see what follows the slot"):
        fit("llama", order=("mask", "a", "b"))
    with pytest.raises(NeedsError, match="tiny-t5 has no biases: there is nothing to train"):
        fit("t5", train="biases")
    lm = ScriptedLM(["one", "2", "three!"], lambda text: {})
    with pytest.raises(WordError) as error:
        drawn(lm, ("a", "b"), bare(("text", "mask"), ("text",)), seed=0)
    assert str(error.value) == (
        "scripted has 1 words of one token, for 2 labels\n\nhint: give each label a word of your own"
    )

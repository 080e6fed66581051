"""The loss of what is to be written at the slot, beside the formula."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.view import Choices
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.activations import ending
from promptatlas.lm.ask import Given, Job, Vocabulary
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Line, Prompt
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.loss import Batch
from promptatlas.train.written import Written, pairs

ONE_OF_EACH = ("bert", "llama", "t5", "gpt2")
WRITING = Prompt(template=Template.parse("{text} => {mask}"), words=Own(), view=Choices())


def batch(*examples: Example) -> Batch:
    return Batch(examples, tuple(range(len(examples))), 0, torch.Generator())


def loss(written: Written, prompt: Prompt, lm: Any, *examples: Example) -> list[float]:
    return written(prompt, lm, batch(*examples)).tolist()


def test_the_loss_is_over_the_whole_vocabulary_and_the_answer_among_the_words() -> None:
    """Sheet 21: logits (2.0, 1.9, 0.1, -1, 1.0), allowed {1, 2, 4}: the answer is 1, the loss 2.905057 - 1.9."""
    names = ("zero", "one", "two", "three", "four")
    said = dict(zip(names, (2.0, 1.9, 0.1, -1.0, 1.0), strict=True))
    lm = ScriptedLM(names, lambda text: said, kind="causal")
    prompt = Prompt(
        template=Template.parse("{text} {mask}"), words=Words.of({name: name for name in ("one", "two", "four")})
    )
    example = Example({"text": "zero"}, "one")
    assert prompt.predict(lm, [example])[0].value == "one"
    assert loss(Written(), prompt, lm, example) == pytest.approx([1.005057], abs=1e-6)
    # with z-loss: the squared log-sum of the logits beside it
    assert loss(Written(z=0.01), prompt, lm, example) == pytest.approx([1.005057 + 0.01 * 2.905057**2], abs=1e-5)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_labels_word_is_what_is_written(family: str) -> None:
    lm, prompt, examples = tiny(family), toy_prompt(), toy().train[:4]
    line = [Line(prompt.template, one) for one in examples]
    said = [one[0].values[0] for one in lm.read([Job(row, (Vocabulary(),)) for row in prompt.reader(lm).encode(line)])]
    ids = [lm.word(prompt.words.word(str(one.target)), prompt.template.before())[0] for one in examples]
    by_hand = [-float(values[at]) for values, at in zip(said, ids, strict=True)]
    assert loss(Written(), prompt, lm, *examples) == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bart"])
def test_a_text_and_its_end_are_written_token_by_token(family: str) -> None:
    lm = tiny(family)
    examples = [Example({"text": "the cat"}, "a good dog"), Example({"text": "rain"}, "the hill")]
    with_end, without = Written(), Written(end=False)
    ids = [without.tokens(WRITING, lm, one) for one in examples]
    assert ending(lm)
    assert [with_end.tokens(WRITING, lm, one) for one in examples] == [one + ending(lm) for one in ids]
    rows = WRITING.reader(lm).encode([Line(WRITING.template, one) for one in examples], room=5)
    readings = lm.read([Job(row.then(one), (Given(),)) for row, one in zip(rows, ids, strict=True)])
    sums = [-float(one[0].values.sum()) for one in readings]
    assert loss(without, WRITING, lm, *examples) == pytest.approx(sums, abs=1e-4)
    means = [one / len(mine) for one, mine in zip(sums, ids, strict=True)]
    assert loss(Written(over="mean", end=False), WRITING, lm, *examples) == pytest.approx(means, abs=1e-4)
    assert all(more > less for more, less in zip(loss(with_end, WRITING, lm, *examples), sums, strict=True))
    alone = [loss(with_end, WRITING, lm, one)[0] for one in examples]  # no row notices its neighbours
    assert loss(with_end, WRITING, lm, *examples) == pytest.approx(alone, abs=1e-4)


def test_a_masked_word_of_several_tokens_has_as_many_masks() -> None:
    lm = tiny("bert")
    prompt = replace(toy_prompt(), words=Words.of({"pets": "good movie", "weather": "bad"}))
    examples = toy().train[:4]
    both = loss(Written(), prompt, lm, *examples)
    assert both == pytest.approx([loss(Written(), prompt, lm, one)[0] for one in examples], abs=1e-5)
    assert len({len(Written().tokens(prompt, lm, one)) for one in examples}) == 2


def test_references_are_an_example_each() -> None:
    many = Example({"text": "a"}, ("x", "y"), "1")
    assert [one.target for one in pairs([many, Example({"text": "b"}, "z"), Example({"text": "c"})])] == ["x", "y", "z"]
    with pytest.raises(DataError, match="there is no target to learn to write"):
        pairs([Example({"text": "c"})])


def test_says_what_cannot_be_written() -> None:
    lm = tiny("gpt2")
    for target, why in ((None, "is no text to write"), (("a", "b"), "is no text to write"), ("", "has no tokens")):
        with pytest.raises(DataError, match=why):
            loss(Written(), WRITING, lm, Example({"text": "a"}, target, "7"))
    with pytest.raises(SettingError, match="`z` is -1"):
        Written(z=-1.0)


def test_equal_settings_have_equal_keys() -> None:
    keys = {
        Written(over=over, z=z, end=end).key() for over in ("sum", "mean") for z in (0.0, 1e-4) for end in (False, True)
    }  # type: ignore[arg-type]
    assert len(keys) == 8
    assert Written().key() == Written().key()

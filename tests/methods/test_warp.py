"""WARP: the sheet's oracle and invariants."""

from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Hidden, Job
from promptatlas.methods.warp import Warp
from promptatlas.parts.head import LabelVectors as Rows
from promptatlas.prompting import Prompt
from promptatlas.registry import method
from promptatlas.score.soft import Classifier, LabelVectors
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template

TASK = toy()


def untrained(lm: object, **settings: object) -> Prompt:
    return Warp(steps=1, lr=1e-12, **settings).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]


def test_worked_example() -> None:
    """h = (1, 2), V = [[0.5, 0], [0, 0.25]], b = (0.1, 0)."""
    state, rows = torch.tensor([[1.0, 2.0]]), Rows(torch.tensor([[0.5, 0.0], [0.0, 0.25]]), torch.tensor([0.1, 0.0]))
    logits = torch.nn.functional.linear(state, rows.weight, rows.bias)
    torch.testing.assert_close(logits.detach(), torch.tensor([[0.6, 0.5]]))
    torch.testing.assert_close(logits.softmax(-1).detach(), torch.tensor([[0.524979, 0.475021]]), atol=1e-6, rtol=0)
    loss = -logits.log_softmax(-1)[0, 0]
    assert float(loss.detach()) == pytest.approx(0.644397, abs=1e-6)
    loss.backward()
    wanted = torch.tensor([[-0.475021, -0.950042], [0.475021, 0.950042]])
    torch.testing.assert_close(rows.weight.grad, wanted, atol=1e-6, rtol=0)


def test_a_prompts_score_is_the_product_of_row_and_state() -> None:
    lm, prompt = tiny("bert"), untrained(tiny("bert"))
    rows = prompt.parts["label_vectors"].tensors()
    (row,) = prompt.reader(lm).encode(prompt.lines(lm, TASK.test[:1])[0])
    ((state,),) = lm.read([Job(row, (Hidden(at="head"),), prompt.parts)])
    by_hand = (state.values @ rows["weight"].T + rows["bias"]).log_softmax(-1)
    torch.testing.assert_close(prompt.score(lm, TASK.test[:1]).detach(), by_hand.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", names("masked"))
def test_started_from_words_it_is_the_plain_prompt(name: str) -> None:
    lm = tiny(name)
    torch.testing.assert_close(untrained(lm).score(lm, TASK.test), toy_prompt().score(lm, TASK.test), atol=1e-5, rtol=0)


def test_numbers_stored() -> None:
    """k · d + C · d + C: the published layout on two texts is 20 vectors."""
    lm, pair = tiny("bert"), replace(toy_prompt(), template=Template.parse("{a} ? {mask} , {b}"))
    examples = tuple(Example({"a": "cat", "b": "rain"}, one.target) for one in TASK.train)
    task = replace(TASK, fields=("a", "b"), train=examples)
    prompt = method("warp", paper=True, steps=1).fit(lm, task, pair)
    assert str(prompt.template) == "{start}{@warp_0}{a}{@warp_1} {mask}{@warp_2} {b}{@warp_3}"
    assert sum(one.numel() for part in prompt.trainable().values() for one in part.parameters()) == 20 * 32 + 2 * 32 + 2


def test_albert_has_vectors_as_wide_as_its_embeddings() -> None:
    prompt = Warp(start="mask", length=2, steps=1).fit(tiny("albert"), TASK, toy_prompt())
    assert {name: tuple(one.shape) for part in ("warp_0", "label_vectors") for name, one in
            prompt.parts[part].tensors().items()} == {"weight": (2, 16), "bias": (2,)}  # fmt: skip


def test_only_vectors_and_rows_move() -> None:
    lm = tiny("roberta")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    start, end = untrained(lm), Warp(steps=5).fit(lm, TASK, toy_prompt())
    for part in ("warp_0", "label_vectors"):
        for name, one in end.parts[part].tensors().items():
            assert not torch.equal(one, start.parts[part].tensors()[name]), (part, name)
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())


def test_vectors_stand_wherever_the_template_says() -> None:
    template = "{text} It {@warp} was {mask} {@warp_b}."
    prompt = replace(toy_prompt(), template=Template.parse(template))
    tuned = Warp(steps=1, length=2).fit(tiny("bert"), TASK, prompt)
    assert str(tuned.template) == template
    assert {name: part.length for name, part in tuned.parts.items() if name != "label_vectors"} == {
        "warp": 2, "warp_b": 2
    }  # fmt: skip


def test_vectors_are_kept_where_labels_are_learned_anew() -> None:
    lm = tiny("bert")
    large = Warp(steps=3).fit(lm, TASK, toy_prompt())
    small = Warp(steps=1, lr=1e-12, labels="random", seed=5).fit(lm, TASK, replace(large, words=toy_prompt().words))
    kept = [prompt.parts["warp_0"].tensors()["weight"] for prompt in (small, large)]
    torch.testing.assert_close(*kept, atol=1e-9, rtol=0)
    assert not torch.allclose(small.parts["label_vectors"].weight, large.parts["label_vectors"].weight, atol=1e-2)


def test_training_goes_on_from_what_is_there() -> None:
    lm = tiny("bert")
    first = Warp(steps=3).fit(lm, TASK, toy_prompt())
    again = Warp(steps=1, lr=1e-12).fit(lm, TASK, first)
    torch.testing.assert_close(again.score(lm, TASK.test), first.score(lm, TASK.test), atol=1e-5, rtol=0)


def test_says_what_is_wrong_before_any_work() -> None:
    lm = tiny("bert")
    several = replace(toy_prompt(), words=Words.of({"pets": "unfortunate", "weather": "unbelievably"}))
    with pytest.raises(WordError, match="label word `unbelievably` of label `weather` is"):
        Warp().fit(lm, TASK, several)
    headed = replace(toy_prompt(), words=Classifier(labels=TASK.labels))
    with pytest.raises(SettingError, match="no label words to start label vectors from"):
        Warp().fit(lm, TASK, headed)
    with pytest.raises(WordError, match="labels are read at one slot, and the template has 2"):
        Warp().fit(lm, TASK, replace(toy_prompt(), template=Template.parse("{text} {mask:a} {mask:b}")))


def test_empty_texts_are_answered() -> None:
    lm = tiny("bert")
    assert Warp(steps=1).fit(lm, TASK, toy_prompt()).predict(lm, [""])[0].value in TASK.labels


def test_rows_among_the_vocabulary() -> None:
    """As if each row were one more word: by hand, over the logits of all words and both rows."""
    lm, prompt = tiny("bert"), untrained(tiny("bert"))
    whole = replace(prompt, words=LabelVectors(labels=TASK.labels, among="vocabulary"))
    (row,) = prompt.reader(lm).encode(prompt.lines(lm, TASK.test[:1])[0])
    ((state,),) = lm.read([Job(row, (Hidden(at="head"),), prompt.parts)])
    words = state.values @ lm.outputs.T + lm.parameters["cls.predictions.bias"]
    rows = prompt.parts["label_vectors"].tensors()
    by_hand = torch.cat([state.values @ rows["weight"].T + rows["bias"], words], -1).log_softmax(-1)[:, :2]
    torch.testing.assert_close(whole.mass(lm, TASK.test[:1]).detach(), by_hand.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.score(lm, TASK.test).detach(), prompt.score(lm, TASK.test).detach())

"""The loss of tags, and how well they are found while training."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example, Target
from promptatlas.data.view import One, Tags
from promptatlas.errors import DataError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.head import Head
from promptatlas.prompting import Prompt
from promptatlas.score.soft import Classifier
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Batch, generator, nll, nll_among_all, tagged
from promptatlas.train.optim import Optim
from promptatlas.train.plan import Plan
from promptatlas.train.run import Run

LABELS = ("B-X", "O")
LM = ScriptedLM(["a", "b"], lambda text: {"a": 0.0}, kind="causal", embedding=lambda text: (text.count("a"), 1.0))
HEAD = Head(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]), torch.zeros(2))  # after n a's, B-X is 3 ** n as likely as O
EXAMPLES = (
    Example({"tokens": ["a", "b", "a"]}, ("B-X", "O", "B-X"), "1"),  # 3/4, 1/4, 9/10
    Example({"tokens": ["b"]}, ("O",), "2"),  # 1/2, and the first of equals is B-X
    Example({"tokens": []}, (), "3"),
)


def tagger(head: Head = HEAD) -> Prompt:
    words = Classifier(labels=LABELS, pool="each")
    return Prompt(template=Template.parse("{tokens:each}"), words=words, view=Tags(), parts={"head": head})


def batch(examples: Sequence[Example]) -> Batch:
    return Batch(tuple(examples), tuple(range(len(examples))), 0, generator(0))


def test_the_loss_of_an_example_is_the_mean_over_its_items() -> None:
    wanted = [-(math.log(3 / 4) + math.log(1 / 4) + math.log(9 / 10)) / 3, math.log(2), 0.0]
    assert nll(tagger(), LM, batch(EXAMPLES)).tolist() == pytest.approx(wanted, abs=1e-6)
    shares, losses = tagged(tagger(), LM, EXAMPLES)
    assert shares.tolist() == pytest.approx([2 / 3, 0.0, 1.0])
    assert losses.tolist() == pytest.approx(wanted, abs=1e-6)


def test_gradients_reach_the_head() -> None:
    head = Head(torch.zeros(2, 2), torch.zeros(2))
    nll(tagger(head), LM, batch(EXAMPLES[:1])).sum().backward()
    assert head.bias.grad is not None
    # softmax minus what is right, a mean over items: B-X is right twice, O once
    assert head.bias.grad.tolist() == pytest.approx([0.5 - 2 / 3, 0.5 - 1 / 3])


def test_the_loss_is_of_the_items_that_fit() -> None:
    lm, labels = tiny("bert"), torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    made = tagger(Head(labels, torch.zeros(2)))
    long = Example({"tokens": ["the"] * 200}, ("O",) * 158 + ("B-X",) * 42, "long")
    right = replace(long, target=("O",) * 200)
    assert torch.equal(nll(made, lm, batch([long])), nll(made, lm, batch([right])))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (("O", "B-x"), "example `7` has the tag `B-x`, which is no label\n\nhint: did you mean `B-X`?"),
        (("O",), "example `7` has 2 items and the target ('O',)\n\nhint: every item has one tag"),
        ("O", "example `7` has 2 items and the target 'O'\n\nhint: every item has one tag"),
        (None, "example `7` has 2 items and the target None\n\nhint: every item has one tag"),
    ],
)
def test_targets_that_are_no_tags_are_named(target: Target, message: str) -> None:
    with pytest.raises(DataError) as caught:
        nll(tagger(), LM, batch([*EXAMPLES, Example({"tokens": ["a", "b"]}, target, "7")]))
    assert str(caught.value) == message


def test_tags_are_no_label() -> None:
    with pytest.raises(DataError, match=r"has the target \('O',\), which is no label"):
        nll(replace(tagger(), view=One()), LM, batch(EXAMPLES[1:2]))
    with pytest.raises(DataError, match=r"has the target \('O',\), which is no label"):
        nll_among_all(tagger(), LM, batch(EXAMPLES[1:2]))


TRAIN = tuple(
    Example({"tokens": [animal, "sat", "on", "the", "mat"]}, ("B-X" if animal == "cat" else "O", *["O"] * 4), str(at))
    for at, animal in enumerate(("cat", "dog") * 4)
)


def test_the_best_on_dev_is_kept_and_measured() -> None:
    lm, run = tiny("bert"), Run()
    start = tagger(Head(torch.zeros(2, 32), torch.tensor([2.0, 0.0])))  # everything is a B-X at first
    tuned = tune(
        start, lm, [Term(TRAIN, nll)], optim=Optim(lr=0.1), steps=40, seed=0, dev=TRAIN, keep="best", every=10, run=run
    )
    assert run.figures["dev_accuracy"] == 1.0
    assert tagged(tuned, lm, TRAIN)[0].mean() == 1.0
    assert tagged(start, lm, TRAIN)[0].mean() == pytest.approx(0.1)
    assert run.figures["dev_loss"] == pytest.approx(tagged(tuned, lm, TRAIN)[1].mean().item(), abs=1e-5)


def test_other_items_are_another_checkpoint() -> None:
    def settings(word: str) -> dict[str, object]:
        examples = tuple(replace(one, fields={"tokens": [word, *one.fields["tokens"][1:]]}) for one in TRAIN)  # type: ignore[index]
        plan = Plan((Term(examples, nll),), 1, 0, (), "last", 1, None, None, None)
        return plan.settings(tagger(), tiny("bert"), Optim(lr=0.1))

    assert settings("hill") == settings("hill")
    assert settings("hill") != settings("town")

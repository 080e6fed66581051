"""How well a prompt does: against plain arithmetic, and a model that says what it is told."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.ask import Job, Read, Reading
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.measure import Measure, measured, nll
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

EXAMPLES = tuple(
    Example({"text": text}, label, str(at))
    for at, (text, label) in enumerate([("the cat sat", "up"), ("a dog ran over the hill", "down"), ("rain", "up")])
)
VALUES = [Tokens((40, 41)), Tokens((40, 42)), Tokens((99,)), Vectors(torch.zeros(2, 32))]


def prompt(**words: Any) -> Prompt:
    found = Words.of(words or {"up": "good", "down": "bad"})
    return Prompt(template=Template.parse("{text} it was{@trigger} {mask}"), words=found, parts={"trigger": VALUES[0]})


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("words", [{}, {"up": ["good", "unbelievable movie"], "down": "bad"}])
@pytest.mark.parametrize("among", ["labels", "vocabulary"])
def test_a_measure_is_a_share_and_a_mean(name: str, words: dict[str, Any], among: Any) -> None:
    lm, given = tiny(name), prompt(**words)
    for value, found in zip(VALUES, measured(given, lm, "trigger", VALUES, EXAMPLES, among), strict=True):
        mass = given.plus(trigger=value).mass(lm, EXAMPLES)
        logp = mass.log_softmax(-1).tolist() if among == "labels" else mass.tolist()
        right = [given.labels.index(str(one.target)) for one in EXAMPLES]
        of_right = [row[at] for row, at in zip(logp, right, strict=True)]
        hits = [row[at] > row[1 - at] for row, at in zip(logp, right, strict=True)]
        assert found.accuracy == pytest.approx(sum(hits) / 3)
        assert found.likelihood == pytest.approx(sum(of_right) / 3, abs=1e-5)
        losses = nll(given.plus(trigger=value), lm, EXAMPLES, among)
        assert losses.tolist() == pytest.approx([-one for one in of_right], abs=1e-5)


class Stub:
    """A model that gives each token the probability it is told, whatever the row."""

    def __init__(self, lm: Any, given: dict[str, float]) -> None:
        self.lm, self.given = lm, {lm.tokens(word)[0]: p for word, p in given.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lm, name)

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        ids = jobs[0].asks[0].ids  # type: ignore[union-attr]
        values = torch.tensor([[math.log(self.given[one]) for one in ids]])
        return [(Read(values, torch.zeros(1)),) for _ in jobs]


def test_the_loss_is_that_of_a_labels_words_together() -> None:
    lm: Any = Stub(tiny("bert"), {"good": 0.2, "great": 0.1, "bad": 0.4})
    given = replace(prompt(), words=Words.of({"up": ["good", "great"], "down": "bad"}, over_words="sum_prob"))
    assert nll(given, lm, EXAMPLES[:1], "vocabulary").item() == pytest.approx(1.203973, abs=1e-6)
    assert nll(given, lm, EXAMPLES[1:2], "vocabulary").item() == pytest.approx(-math.log(0.4), abs=1e-6)
    assert nll(given, lm, EXAMPLES[:1], "labels").item() == pytest.approx(-math.log(0.3 / 0.7), abs=1e-6)
    found = measured(given, lm, "trigger", VALUES[:1], EXAMPLES[:1], "vocabulary")
    assert found == [(0.0, pytest.approx(-1.203973, abs=1e-6))]


def test_names_that_are_none_are_refused_with_those_there_are() -> None:
    with pytest.raises(SettingError, match="`among` can't be `words`\n\nhint: there are `labels`, `vocabulary`"):
        nll(prompt(), tiny("bert"), EXAMPLES, "words")
    with pytest.raises(SettingError, match=r"`metric` can't be `acuracy`\n\nhint: did you mean `accuracy`"):
        Measure(0.5, -1.0).by("acuracy")


def test_a_target_that_is_no_label_is_named() -> None:
    with pytest.raises(DataError, match="example `7` has the target None, which is no label"):
        nll(prompt(), tiny("bert"), [Example({"text": "a"}, None, "7")])

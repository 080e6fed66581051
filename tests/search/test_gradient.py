"""Which tokens a gradient points at: by hand, by finite differences, and in a toy model with planted words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.demos.pick import Fixed
from promptatlas.errors import DataError, SettingError, WordError
from promptatlas.lm.ask import Job, Read, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.gradient import asked, flips, label_words, odds, probe, pull, unfit
from promptatlas.search.measure import measured, nll
from promptatlas.search.place import placed
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

VECTORS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]])
GRADIENT = torch.tensor([0.5, -0.25])
EXAMPLES = tuple(
    Example({"text": text}, label, str(at))
    for at, (text, label) in enumerate([("the cat sat", "up"), ("a dog ran over the hill", "down"), ("rain", "up")])
)
MASKED = ("bert", "roberta", "albert", "deberta-v2", "modernbert")
CAUSAL = ("gpt2", "llama", "qwen2", "opt")


def prompt(lm: LM, template: str = "{text} It was {mask}", ids: tuple[int, ...] = (40, 41, 42)) -> Prompt:
    words = Words.of({"up": "good", "down": "bad"})
    return Prompt(template=placed(Template.parse(template), "trigger"), words=words, parts={"trigger": Tokens(ids)})


def mean_loss(given: Prompt, lm: LM) -> float:
    with torch.no_grad():
        return float(nll(given, lm, EXAMPLES).double().mean())


def test_tokens_come_in_the_order_in_which_they_lower_the_loss() -> None:
    assert flips(GRADIENT, VECTORS, 4) == [3, 2, 0, 1]
    assert flips(GRADIENT, VECTORS, 2) == [3, 2]


def test_more_tokens_than_there_are_is_all_of_them() -> None:
    assert flips(GRADIENT, VECTORS, 99, without={0}) == [3, 2, 1]


def test_tokens_that_are_not_allowed_never_come() -> None:
    assert flips(GRADIENT, VECTORS, 3, without=[3, 3, 0]) == [2, 1]


@pytest.mark.parametrize(("k", "without"), [(2, range(4)), (0, ())])
def test_no_token_left_is_an_error(k: int, without: Sequence[int]) -> None:
    counts = f"4 in the vocabulary, {len(without)} not allowed, {k} wanted"
    with pytest.raises(SettingError, match=f"no token to choose: {counts}"):
        flips(GRADIENT, VECTORS, k, without=without)


def test_where_the_loss_is_straight_the_prediction_is_the_change() -> None:
    lm = tiny("bert")
    ahead = torch.randn(2, lm.width, generator=torch.Generator().manual_seed(1))

    def straight(given: Prompt, lm: LM, examples: Sequence[Example]) -> torch.Tensor:
        stands: Any = given.parts["trigger"]
        return (stands.vectors(lm, ()) * ahead).sum().expand(len(examples))

    at = prompt(lm, ids=(40, 41))
    found = pull(at, lm, "trigger", [EXAMPLES], straight)
    assert torch.allclose(found, ahead, atol=1e-6)
    now = straight(at, lm, EXAMPLES[:1])
    for token in (3, 77, 120):
        swapped = straight(at.plus(trigger=Tokens((40, token))), lm, EXAMPLES[:1])
        predicted = (lm.vectors[token] - lm.vectors[41]) @ found[1]
        assert torch.allclose(swapped - now, predicted, atol=1e-5)
    changes = [float((VECTORS[token] - VECTORS[1]) @ GRADIENT) for token in (3, 0, 2)]
    assert changes == pytest.approx([-1.5, -0.5, -0.75])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_gradient_is_the_slope_of_the_loss(name: str) -> None:
    lm = tiny(name)
    at = prompt(lm)
    found = pull(at, lm, "trigger", [EXAMPLES], nll).double()
    start, step = lm.vectors[[40, 41, 42]].double(), 2e-3
    for place in range(3):
        for way in (found[place] / found[place].norm(), torch.eye(lm.width).double()[place]):
            move = torch.zeros_like(start)
            move[place] = way * step
            up, down = (mean_loss(at.plus(trigger=Vectors((start + one).float())), lm) for one in (move, -move))
            assert (up - down) / (2 * step) == pytest.approx(float(found[place] @ way), rel=0.02, abs=5e-4)


@pytest.mark.parametrize("name", MASKED + CAUSAL)
@pytest.mark.parametrize(
    "template", ["{text} It was {mask}", "{@trigger}{text} It was {mask}", "the {@trigger} : {text} {mask}"]
)
@pytest.mark.parametrize("shown", [0, 2])
def test_vectors_stand_where_the_tokens_stood(name: str, template: str, shown: int) -> None:
    """Else the gradient is taken at other places than those the swaps are tried at."""
    lm = tiny(name)
    at = prompt(lm, template)
    if shown:
        at = replace(at, demos=Fixed(examples=EXAMPLES[:shown]))
    as_vectors = at.plus(trigger=Vectors(lm.vectors[[40, 41, 42]]))
    query = [Example({"text": "a bad film"}, "down")]
    assert torch.allclose(at.mass(lm, query), as_vectors.mass(lm, query).detach(), atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_what_is_predicted_goes_with_what_happens(name: str) -> None:
    lm = tiny(name)
    at = prompt(lm)
    found = pull(at, lm, "trigger", [EXAMPLES], nll)
    tokens = range(10, 130)
    predicted = (lm.vectors[list(tokens)] - lm.vectors[41]) @ found[1]
    tried = [Tokens((40, token, 42)) for token in tokens]
    true = -torch.tensor([one.likelihood for one in measured(at, lm, "trigger", tried, EXAMPLES)]) - mean_loss(at, lm)
    assert float(torch.corrcoef(torch.stack([predicted, true]))[0, 1]) > 0.5


def test_batches_count_the_same_and_rows_of_a_batch_are_averaged() -> None:
    lm = tiny("bert")
    at = prompt(lm)
    one, two = (pull(at, lm, "trigger", [some], nll) for some in (EXAMPLES[:1], EXAMPLES[1:]))
    assert torch.allclose(pull(at, lm, "trigger", [EXAMPLES[:1], EXAMPLES[1:]], nll), (one + two) / 2, atol=1e-6)
    assert torch.allclose(pull(at, lm, "trigger", [EXAMPLES], nll), (one + 2 * two) / 3, atol=1e-5)


def test_nothing_but_the_places_takes_a_gradient() -> None:
    lm = tiny("bert")
    soft = Vectors(lm.vectors[7:9])
    with torch.no_grad():  # whatever the caller is at
        found = pull(prompt(lm).lead(soft=soft), lm, "trigger", [EXAMPLES], nll)
    assert not found.requires_grad
    assert soft.weight.grad is None
    assert all(one.grad is None for one in lm.parameters.values())


def test_only_tokens_are_exchanged() -> None:
    lm = tiny("bert")
    with pytest.raises(SettingError, match="the part `trigger` is of kind `vectors`"):
        pull(prompt(lm).plus(trigger=Vectors(lm.vectors[:2])), lm, "trigger", [EXAMPLES], nll)


class Pieces:
    """A vocabulary of six rows, of which the fourth is a mark by another name, and no token has the last."""

    def __getattr__(self, name: str) -> Any:
        return getattr(tiny("bert"), name)

    special = frozenset({0})
    vectors = torch.zeros(6, 2)
    texts = ("<s>", " Mary", " was", "", "Ed", "")

    def text(self, ids: Sequence[int]) -> str:
        return self.texts[ids[0]]


def test_marks_and_rows_without_a_token_are_unfit_and_names_if_wanted() -> None:
    lm: Any = Pieces()
    assert unfit(lm) == {0, 3, 5}
    assert unfit(lm, capitals=True) == {0, 1, 3, 4, 5}


def test_reserved_tokens_of_a_real_vocabulary_are_unfit() -> None:
    for lm, marks in (
        (load("pocket-masked", device="cpu"), {"[MASK]", "[PAD]"}),
        (tiny("t5"), {"</s>", "<extra_id_0>"}),
    ):
        assert {lm.pieces([token])[0] for token in unfit(lm)} > marks
    assert len(unfit(load("pocket-masked", device="cpu"))) < 50


def test_the_words_that_are_asked_for() -> None:
    lm = tiny("bert")
    assert asked(lm, prompt(lm), EXAMPLES[0]) == {*lm.tokens("good"), *lm.tokens("bad")}
    several = replace(prompt(lm), words=Words.of({"up": ["good", "unbelievable great"], "down": "bad"}))
    assert asked(lm, several, EXAMPLES[0]) == {*lm.tokens("good unbelievable great bad")}
    causal = tiny("gpt2")
    several = replace(prompt(causal), words=several.words)
    assert asked(causal, several, EXAMPLES[0]) == {*causal.tokens(" good unbelievable great bad")}


def test_odds_order_words_as_softmax_does_without_rounding() -> None:
    scores = torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, 1.0], [60.0, 0.0, 0.0], [90.0, 0.0, 0.0]])
    found = odds(scores)
    assert torch.allclose(found[:2].sigmoid(), scores[:2].softmax(1), atol=1e-6)
    assert float(scores.softmax(1)[2, 0]) == float(scores.softmax(1)[3, 0]) == 1.0
    assert found[3, 0] > found[2, 0]


def test_the_probe_is_at_its_optimum() -> None:
    drawn = torch.Generator().manual_seed(2)
    states, right = torch.randn(12, 5, generator=drawn), torch.tensor([0, 1, 2] * 4)
    weight = probe(states, right, 3)
    assert torch.equal(weight, probe(states, right, 3))
    assert torch.allclose(weight.sum(0), torch.zeros(5), atol=1e-3)  # at the optimum no direction is common to all
    assert not weight.requires_grad


class Toy:
    """A model whose state at the slot is the output row of a label's word, and noise; all rows are as long."""

    def __init__(self, lm: Any, meant: dict[str, str]) -> None:
        self.lm, self.meant, self.outputs = lm, meant, torch.nn.functional.normalize(lm.outputs)
        self.drawn = torch.Generator().manual_seed(4)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lm, name)

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        found: list[Reading] = []
        for job in jobs:
            word = next(word for key, word in self.meant.items() if self.lm.tokens(key)[0] in job.row.ids)
            noise = torch.randn(self.lm.head, generator=self.drawn) * 0.02
            found.append((Read((self.outputs[self.lm.tokens(word)[0]] + noise)[None]),))
        return found


def test_words_that_a_model_means_are_found() -> None:
    lm: Any = Toy(tiny("bert"), {"cat": "sports", "dog": "science"})
    examples = [Example({"text": text}, label) for text, label in [("the cat", "up"), ("a dog", "down")] * 8]
    assert label_words(lm, prompt(lm), examples, 1) == {"up": ("sports",), "down": ("science",)}


def test_found_words_are_read_as_they_were_found() -> None:
    lm = tiny("roberta")
    at = prompt(lm, "{text} It was {mask} .")
    words = label_words(lm, at, EXAMPLES, 3)
    assert [len(some) for some in words.values()] == [3, 3]
    before = at.template.before()
    assert all(len(lm.word(word, before)) == 1 for some in words.values() for word in some)
    assert replace(at, words=Words.of(words, over_words="sum_prob")).score(lm, EXAMPLES).shape == (3, 2)


def test_an_example_with_another_label_is_named() -> None:
    lm = tiny("bert")
    what = "example `x` has the target 'sideways', which is no label\n\nhint: there are `up`, `down`"
    with pytest.raises(DataError, match=what):
        label_words(lm, prompt(lm), [*EXAMPLES, Example({"text": "a"}, "sideways", "x")], 1)


def test_a_label_nothing_stands_for() -> None:
    lm = tiny("bert")
    with pytest.raises(WordError, match="no word of tiny-bert stands for label `up` more than for the others"):
        label_words(lm, prompt(lm), EXAMPLES, 0)

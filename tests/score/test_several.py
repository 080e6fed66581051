"""Words of several tokens in a masked model, read in one pass or filled in token by token: the sheet's invariants."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import permutations
from math import log
from typing import get_args

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.view import Choices
from promptatlas.lm.ask import Job, Reading, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Row
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.weights import full
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.own import Own
from promptatlas.score.plan import Several
from promptatlas.score.words import Words
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

X = Example({"text": "x"})
TEXTS = [Example({"text": text}) for text in ("the cat sat", "rain", "a dog ran over the old hill", "")]
WAYS: tuple[Several, ...] = get_args(Several)
SAID = {  # the text -> the probability of A or of B
    "q [MASK] _": {"A": 0.2, "B": 0.1, "C": 0.3},
    "q _ [MASK]": {"B": 0.5, "A": 0.1, "C": 0.1},
    "q [MASK] B": {"A": 0.4},
    "q A [MASK]": {"B": 0.6},
    "q [MASK]": {"C": 0.25},
}


def script(text: str) -> dict[str, float]:
    said = SAID[text]
    return {word: log(share) for word, share in {**said, "rest": 1 - sum(said.values())}.items()}


SCRIPTED = ScriptedLM(["A", "B", "C", "rest", "q"], script)


def prompt(words: dict[str, str], several: Several, template: str = "{text} It was {mask} .") -> Prompt:
    return Prompt(template=Template.parse(template), words=Words.of(words, several=several))


def long_words(lm: LocalLM, count: int) -> list[str]:
    """Words of three tokens, none of them in two."""
    before, letters = Template.parse("{text} It was {mask} .").before(), "bcdfghjklmnpqrstvwxz"
    found: dict[str, tuple[int, ...]] = {}
    for word in map("".join, permutations(letters, 3)):
        ids = lm.word(word, before)
        if len(found) < count and len(set(ids)) == 3 and not any(set(ids) & set(one) for one in found.values()):
            found[word] = ids
    return list(found)


def spent(asked: Prompt, lm: LocalLM) -> tuple[int, int]:
    """Passes and tokens that one text takes."""
    passes, tokens = lm.spent.passes, lm.spent.tokens
    with torch.no_grad():  # else what doesn't change between steps of training is kept
        asked.mass(lm, TEXTS[:1])
    return lm.spent.passes - passes, lm.spent.tokens - tokens


@contextmanager
def watched(lm: LocalLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[Job]]]:
    """What a model is asked, read by read."""
    reads: list[list[Job]] = []
    real = type(lm).read

    def read(self: LocalLM, jobs: Sequence[Job]) -> list[Reading]:
        reads.append(list(jobs))
        return real(self, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(type(lm), "read", read)
        yield reads


@pytest.mark.parametrize(
    ("several", "expected"),
    [("confident", -1.609438), ("left_to_right", -2.120264), ("parallel", -2.302585), ("widest", -2.302585)],
)
def test_the_oracle(several: Several, expected: float) -> None:
    mass = prompt({"AB": "A B", "C": "C"}, several, "q {mask}").mass(SCRIPTED, [X])
    assert mass[0, 0].item() == pytest.approx(expected, abs=1e-6)
    alone = 0.3 if several == "widest" else 0.25  # the one-token word is read in as many masks as the longest has
    assert mass[0, 1].item() == pytest.approx(log(alone), abs=1e-6)


def test_a_word_of_fewer_tokens_is_averaged_over_its_own() -> None:
    words = Words.of({"AB": "A B", "C": "C"}, several="widest", over_tokens="mean")
    mass = Prompt(template=Template.parse("q {mask}"), words=words).mass(SCRIPTED, [X])
    assert mass[0].tolist() == pytest.approx([(log(0.2) + log(0.5)) / 2, log(0.3)], abs=1e-6)


def test_where_every_word_is_one_token_all_ways_are_one() -> None:
    lm = tiny("bert")
    scores = [prompt({"good": "great", "bad": "terrible"}, several).score(lm, TEXTS) for several in WAYS]
    assert all(torch.equal(one, scores[0]) for one in scores)


@pytest.mark.parametrize(
    ("several", "passes"), [("parallel", 1), ("widest", 1), ("confident", 3), ("left_to_right", 3)]
)
def test_how_many_passes_they_take(several: Several, passes: int) -> None:
    lm = tiny("bert")
    one, two = long_words(lm, 2)
    asked = prompt({"one": one, "two": two}, several)
    assert spent(asked, lm)[0] == (1 if several in ("parallel", "widest") else 3)


def test_the_first_pass_is_shared_by_words_of_one_length() -> None:
    lm = tiny("bert")
    words = long_words(lm, 3)
    two, three = (prompt({word: word for word in words[:count]}, "confident") for count in (2, 3))
    (row,) = two.reader(lm).wide(two.lines(lm, TEXTS[:1])[0], [3], [3])
    assert spent(two, lm)[1] == (1 + 2 * 2) * len(row)
    assert spent(three, lm)[1] == (1 + 2 * 3) * len(row)


def replayed(lm: LocalLM, row: Row, ids: tuple[int, ...], several: Several) -> tuple[float, list[int]]:
    """By hand, with the vocabulary's log-probabilities at every mask: their sum, and the order."""
    left, total, masks, order = [0, 1, 2], 0.0, row.slots[0].positions, []
    while left:
        logp = lm.read([Job(row, (Vocabulary(),))])[0][0].values  # [3, vocab]
        at = max(left, key=lambda one: float(logp[one, ids[one]])) if several == "confident" else left[0]
        total += float(logp[at, ids[at]])
        order.append(at)
        left.remove(at)
        row = replace(row, ids=tuple(ids[at] if place == masks[at] else one for place, one in enumerate(row.ids)))
    return total, order


def test_what_is_filled_in_is_the_replay_of_its_order() -> None:
    lm, orders = tiny("bert", scale=4.0), {}
    names = long_words(lm, 3)
    for several in ("confident", "left_to_right"):
        asked = prompt(dict(zip(names, names, strict=True)), several)
        rows = asked.reader(lm).wide(asked.lines(lm, TEXTS)[0], [3] * len(TEXTS), [3] * len(TEXTS))
        tokens = Words.of({name: name for name in names}).tokens(lm, asked.template)
        hand = [[replayed(lm, row, *tokens[name], several) for name in names] for row in rows]
        by_hand = torch.tensor([[total for total, _ in some] for some in hand])
        torch.testing.assert_close(asked.mass(lm, TEXTS), by_hand, atol=1e-4, rtol=0)
        orders[several] = [order for some in hand for _, order in some]
    assert orders["confident"] != orders["left_to_right"], "the likeliest token is not always the leftmost"


@pytest.mark.parametrize("several", WAYS)
def test_a_word_is_read_in_as_many_masks_as_it_has_tokens(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("bert")
    (word,) = long_words(lm, 1)
    asked = prompt({"long": word, "short": "great"}, several)
    with watched(lm, monkeypatch) as reads:
        asked.mass(lm, TEXTS[:1])
    masks = [sorted({job.row.ids.count(lm.mask) for job in jobs}) for jobs in reads]
    assert masks == {"parallel": [[1, 3]], "widest": [[3]]}.get(several, [[1, 3], [2], [1]])


@pytest.mark.parametrize("several", WAYS)
def test_a_score_depends_neither_on_other_words_nor_on_other_examples(several: Several) -> None:
    lm = tiny("bert", scale=4.0)
    one, two, three = long_words(lm, 3)
    few = prompt({"one": one, "short": "great"}, several).mass(lm, TEXTS)
    many = prompt({"two": two, "one": one, "three": three, "short": "great", "other": "bad"}, several).mass(lm, TEXTS)
    torch.testing.assert_close(many[:, [1, 3]], few, atol=1e-5, rtol=0)
    alone = torch.cat([prompt({"one": one, "short": "great"}, several).mass(lm, [text]) for text in reversed(TEXTS)])
    torch.testing.assert_close(alone.flip(0), few, atol=1e-5, rtol=0)


@pytest.mark.parametrize("several", WAYS)
def test_gradients_pass(several: Several) -> None:
    lm = tiny("bert")
    one, two = long_words(lm, 2)
    asked = prompt({"one": one, "two": two}, several).plus(weights=full(lm))
    (-asked.score(lm, TEXTS[:2])[:, 0]).sum().backward()
    assert all(one.grad is not None for one in asked.parts["weights"].parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_model_that_writes_reads_token_after_token_whatever_is_said(family: str) -> None:
    lm = tiny(family)
    asked = [prompt({"a": "unbelievable", "b": "great"}, one, "{text} It was {mask}") for one in WAYS]
    scores = [one.score(lm, TEXTS) for one in asked]
    assert all(torch.equal(one, scores[0]) for one in scores)


@pytest.mark.parametrize(
    ("several", "expected"), [("confident", log(0.2)), ("left_to_right", log(0.12)), ("parallel", log(0.1))]
)
def test_choices_of_several_tokens_are_filled_in_too(several: Several, expected: float) -> None:
    words = Own(several=several)  # type: ignore[arg-type]
    asked = Prompt(template=Template.parse("q {mask}"), words=words, view=Choices())
    example = Example({"choices": ("A B", "C")})
    mass = asked.mass(SCRIPTED, [example])
    assert mass[:, 0].tolist() == pytest.approx([expected, log(0.25)], abs=1e-6)
    assert asked.predict(SCRIPTED, [example])[0].value == "C"
    assert Own.build(words.config(), {}) == words


def test_prompts_that_read_in_several_ways_are_scored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("bert")
    one, two = long_words(lm, 2)
    members = tuple(prompt({"one": one, "two": two}, several) for several in WAYS)
    with watched(lm, monkeypatch) as reads:
        together = Ensemble(prompts=members).score(lm, TEXTS)
    assert len(reads) == 3
    by_hand = torch.stack([member.score(lm, TEXTS) for member in members]).mean(0).log_softmax(-1)
    torch.testing.assert_close(together, by_hand, atol=1e-5, rtol=0)


def test_the_way_is_kept_and_told_apart() -> None:
    words = Words.of({"a": "A B", "b": "C"}, several="confident")
    assert Words.build(words.config(), {}) == words
    assert words != replace(words, several="parallel")
    before = {name: value for name, value in words.config().items() if name != "several"}
    assert Words.build(before, {}).several == "parallel"  # saved before there was a choice

"""Label words that are found."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.assign import Likely, _right, assigned, likely
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK = toy()


def logp(prompt: Prompt, name: str, examples: tuple[Example, ...]) -> torch.Tensor:
    lm = tiny(name)
    rows = prompt.reader(lm).encode(prompt.lines(lm, examples)[0])
    return torch.stack([one[0].values[0] for one in lm.read([Job(row, (Vocabulary(),)) for row in rows])])


@pytest.mark.parametrize("name", ["bert", "roberta", "llama", "t5"])
def test_the_likeliest_words_of_a_label(name: str) -> None:
    """By hand: the mean log-probability over the label's examples, of tokens that are words at the slot."""
    lm, prompt = tiny(name), toy_prompt()
    found = likely(prompt, lm, TASK.train, 5)
    before = prompt.template.before()
    for label, some in found.items():
        mean = logp(prompt, name, tuple(one for one in TASK.train if one.target == label)).mean(0)
        good = [at for at in range(mean.shape[0]) if at not in lm.special and lm.text([at]).strip().isalpha()]
        good = [at for at in good if lm.word(lm.text([at]).strip(), before) == (at,)]
        best = sorted(good, key=lambda at: -float(mean[at]))[:5]
        assert list(some.ids) == best
        assert some.logp == pytest.approx([float(mean[at]) for at in best], abs=1e-4)
        assert [lm.word(word, before) for word in some.words] == [(at,) for at in best]
    assert Words.of({label: some.words[at] for at, (label, some) in enumerate(found.items())}, single=True)


def test_the_search_is_exhaustive_where_it_can_be() -> None:
    lm, prompt = tiny("bert", scale=3.0), toy_prompt()
    words = likely(prompt, lm, TASK.train, 8)
    found = assigned(prompt, lm, TASK.train, words, 10_000)
    pairs = [pair for pair in product(*(some.words for some in words.values())) if len(set(pair)) == 2]
    assert {tuple(one.words.values()) for one in found} == set(pairs)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in (*found[:5], *found[-5:]):
        scores = replace(prompt, words=Words.of(dict(one.words))).score(lm, TASK.train)
        right = torch.tensor([list(words).index(str(example.target)) for example in TASK.train])
        assert one.score == pytest.approx(float((scores.argmax(1) == right).float().mean()), abs=1e-6)
    assert assigned(prompt, lm, TASK.train, words, 3) == found[:3]


def table(values: list[list[float]]) -> tuple[Likely, torch.Tensor]:
    count = len(values)
    return Likely(tuple("abcdefgh"[:count]), tuple(range(count)), (0.0,) * count), torch.tensor(
        values, dtype=torch.float32
    )


def test_a_planted_pair_comes_first_and_ties_go_to_the_first_label() -> None:
    """Four examples, labels 0 0 1 1; word 2 of the first label and word 1 of the second part them."""
    first = table([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, -2, -2]])
    second = (Likely(("x", "y"), (10, 11), (0.0, 0.0)), torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]]))
    ways, score = _right(torch.tensor([0, 0, 1, 1]), [first[0], second[0]], [first[1], second[1]], 100)
    assert ways[0].tolist() == [2, 0]  # of 0 against 2 and -2; equal means of log-probabilities: the earlier word
    assert ways[1].tolist() == [2, 1]
    assert score[:2].tolist() == [1.0, 1.0]
    equal = [way for way, one in zip(ways.tolist(), score.tolist(), strict=True) if way == [0, 0] and one == 0.5]
    assert equal == [[0, 0]]  # all four are the first label's


def test_the_likelier_of_equals_comes_first() -> None:
    first = Likely(("a", "b"), (1, 2), (-3.0, -5.0)), torch.zeros(2, 2)
    second = Likely(("c", "b"), (3, 2), (-1.0, -2.0)), torch.zeros(2, 2)
    ways, _ = _right(torch.tensor([0, 1]), [first[0], second[0]], [first[1], second[1]], 10)
    assert ways.tolist() == [[0, 0], [0, 1], [1, 0]]  # no word twice


def test_pruned_ways_are_few_and_good() -> None:
    draw = torch.Generator().manual_seed(0)
    right = torch.arange(24) % 4
    some = [Likely(tuple("abcdef"), tuple(range(at * 6, at * 6 + 6)), (0.0,) * 6) for at in range(4)]
    tables = [torch.randn(6, 24, generator=draw) + (right == at) for at in range(4)]
    ways, score = _right(right, some, tables, 10_000)
    assert len(ways) == 6**4
    for way, value in list(zip(ways.tolist(), score.tolist(), strict=True))[::97]:
        said = torch.stack([one[at] for one, at in zip(tables, way, strict=True)]).argmax(0)
        assert value == pytest.approx(float((said == right).float().mean()))
    pruned, close = _right(right, some, tables, 50)
    assert len(pruned) == 50
    assert float(close[0]) >= float(score[0]) - 0.1


def test_words_of_numbers() -> None:
    lm = tiny("bert", scale=3.0)
    places = {"pets": 4.0, "weather": 1.0}
    examples = tuple(replace(one, target=places[str(one.target)]) for one in TASK.train)
    prompt = replace(toy_prompt(), words=Words.of({"low": "bad", "high": "good"}), view=Interval(0.0, 5.0))
    words = likely(prompt, lm, examples, 6)
    found = assigned(prompt, lm, examples, words, 1000)
    assert all(one.words["low"] != one.words["high"] for one in found)
    for one in (found[0], found[-1]):
        said = replace(prompt, words=Words.of(dict(one.words))).predict(lm, examples)
        pair = torch.tensor([[float(a.value), float(b.target)] for a, b in zip(said, examples, strict=True)]).T  # type: ignore[arg-type]
        assert one.score == pytest.approx(float(torch.corrcoef(pair)[0, 1]), abs=1e-4)
    turned = replace(prompt, words=Words.of({"high": "good", "low": "bad"}))
    again = assigned(turned, lm, examples, likely(turned, lm, examples, 6), 1)[0]
    assert again.score == pytest.approx(found[0].score, abs=1e-6)


def test_neighbours_of_a_seed_word() -> None:
    lm, prompt = tiny("bert"), toy_prompt()
    all_, near = likely(prompt, lm, TASK.train, 12), likely(prompt, lm, TASK.train, 12, neighbours=4)
    (own,) = lm.word("good", prompt.template.before())
    vectors = torch.nn.functional.normalize(lm.outputs, dim=-1)
    best = sorted(all_["pets"].ids, key=lambda at: -float(vectors[at] @ vectors[own]))[:4]
    assert list(near["pets"].ids) == best
    long = replace(prompt, words=Words.of({"pets": "unbelievable good", "weather": "bad"}))
    with pytest.raises(WordError, match="the word of label `pets` is"):
        likely(long, lm, TASK.train, 4, neighbours=2)


def test_what_it_refuses() -> None:
    lm, prompt = tiny("bert"), toy_prompt()
    with pytest.raises(SettingError, match="k=0, neighbours=0"):
        likely(prompt, lm, TASK.train, 0)
    with pytest.raises(SettingError, match="no example has the label `weather`"):
        likely(prompt, lm, [one for one in TASK.train if one.target == "pets"], 3)
    words = likely(prompt, lm, TASK.train, 1)
    one = {"pets": words["pets"], "weather": words["pets"]}
    with pytest.raises(SettingError, match="two labels have the same single word to choose"):
        assigned(prompt, lm, TASK.train, one, 1)
    with pytest.raises(SettingError, match="0 ways to name the labels are wanted"):
        assigned(prompt, lm, TASK.train, words, 0)

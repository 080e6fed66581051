"""Label words that a model means itself: the likeliest of each label, and how well they tell labels together.

Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 5.1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Ask, Job, Reading, Tokens, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.measure import targets
from promptatlas.search.pool import whole

MOST = 10_000  # ways to name some of the labels that go on to the next label
CHUNK = 1 << 24  # scores compared at once


class Likely(NamedTuple):
    """Candidate words of a label, the likeliest first.

    Attributes:
        words: as they are written.
        ids: their tokens at the slot.
        logp: the mean of each over the label's examples.
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]
    logp: tuple[float, ...]


class Assigned(NamedTuple):
    """A word for every label.

    Attributes:
        words: by label.
        score: accuracy on the examples without training; of numbers, Pearson's correlation.
    """

    words: Mapping[str, str]
    score: float


def likely(prompt: Prompt, lm: LM, examples: Sequence[Example], k: int, *, neighbours: int = 0) -> dict[str, Likely]:
    """The k words that are likeliest at the slot of each label's examples, by the mean of their log-probabilities.

    A word is a token of letters that its own text gives back at the slot, so that no mere piece of a word is one.
    Numbers are parted at the examples' median.

    Args:
        prompt: whose slot is read.
        lm: the model.
        examples: labelled.
        k: how many; fewer where there are fewer.
        neighbours: of those, keep so many that are most like the label's own word, by the cosine of the model's output
            vectors; 0: all.

    Raises:
        SettingError: k or `neighbours` can't be, or a label has no example.
        WordError: no token is a word here, or a label's own word, which neighbours are looked for of, is not one token.
    """
    if k < 1 or neighbours < 0:
        raise SettingError(f"k={k}, neighbours={neighbours}", hint="take 1 word or more, and 0 neighbours or more")
    mean, readable = _means(prompt, lm, examples), _readable(prompt, lm)
    found = {}
    for at, label in enumerate(prompt.words.labels):
        ids: list[int] = []
        for token in mean[at].argsort(descending=True, stable=True).tolist():
            if len(ids) < k and readable(token):
                ids.append(token)
        if not ids:
            raise WordError(f"no token of {lm.name} is a word of letters", hint="give each label a word of your own")
        if neighbours:
            ids = _near(prompt, lm, label, ids)[:neighbours]
        found[label] = Likely(tuple(map(readable, ids)), tuple(ids), tuple(mean[at, ids].tolist()))
    return found


def assigned(
    prompt: Prompt, lm: LM, examples: Sequence[Example], words: Mapping[str, Likely], count: int, *, most: int = MOST
) -> list[Assigned]:
    """The best `count` ways to give each label one of its words, no word twice, by how well they do without training.

    Labels are named one after the other. While no more than `most` ways stand, all are looked at; of more, those go on
    that are right about most examples of the labels named so far. Of equals the likelier words come first.

    Args:
        prompt: whose slot is read.
        lm: the model.
        examples: labelled.
        words: of every label.
        count: how many are wanted; fewer where there are fewer.
        most: ways that go on to the next label.

    Raises:
        SettingError: none is wanted, or every way gives two labels one word.
    """
    if count < 1:
        raise SettingError(f"{count} ways to name the labels are wanted", hint="want 1 or more")
    labels = prompt.words.labels
    some = [words[label] for label in labels]
    tables = _tables(prompt, lm, examples, some)
    if isinstance(prompt.view, Interval):
        ways, scores = _correlated(prompt.view, examples, labels, some, tables)
    else:
        ways, scores = _right(torch.tensor(targets(labels, examples)), some, tables, max(most, count))
    if not len(ways):
        raise SettingError("two labels have the same single word to choose", hint="look at more words a label")
    return [
        Assigned({label: one.words[at] for label, one, at in zip(labels, some, way, strict=True)}, score)
        for way, score in zip(ways[:count].tolist(), scores[:count].tolist(), strict=True)
    ]


def _means(prompt: Prompt, lm: LM, examples: Sequence[Example]) -> Float[Tensor, "labels vocab"]:
    """Of every token the mean log-probability at the slot, over each label's examples."""
    sides, labels = _sides(prompt, examples), prompt.words.labels
    for at, label in enumerate(labels):
        if at not in sides:
            raise SettingError(f"no example has the label `{label}`", hint="words are found by examples of every label")
    sums = torch.zeros(len(labels), len(lm.outputs), dtype=torch.float64)
    for at, (read, *_) in zip(sides, _readings(prompt, lm, examples, Vocabulary()), strict=True):
        sums[at, : read.values.shape[1]] += read.values[0].double().cpu()
    return sums / torch.tensor([sides.count(at) for at in range(len(labels))])[:, None]


def _readings(prompt: Prompt, lm: LM, examples: Sequence[Example], ask: Ask) -> list[Reading]:
    lines, _ = prompt.lines(lm, examples)
    rows = prompt.reader(lm).encode(lines)
    with torch.no_grad():
        return list(lm.stream(Job(row, (ask,), prompt.parts) for row in rows))


def _sides(prompt: Prompt, examples: Sequence[Example]) -> list[int]:
    """Where among the labels each example's is; a number's is the side of the median it is on, itself low."""
    labels = prompt.words.labels
    if not isinstance(prompt.view, Interval):
        return targets(labels, examples)
    places = [prompt.view.place(one) for one in examples]
    middle = float(torch.tensor(places, dtype=torch.float64).median())
    return [labels.index("high" if one > middle else "low") for one in places]


def _readable(prompt: Prompt, lm: LM) -> Callable[[int], str]:
    """The word a token is at the slot; "" where it is none."""
    before = prompt.template.before(prompt.template.slots[0])
    known: dict[int, str] = {}

    def word(token: int) -> str:
        if token not in known:
            text = whole(lm, token, before)
            known[token] = text if text.isalpha() else ""
        return known[token]

    return word


def _near(prompt: Prompt, lm: LM, label: str, ids: Sequence[int]) -> list[int]:
    """Tokens by how like they are to the label's own word, the most like first."""
    own = lm.word(str(prompt.words.word(label)), prompt.template.before(prompt.template.slots[0]))
    if len(own) != 1:
        raise WordError(f"the word of label `{label}` is {len(own)} tokens in {lm.name}", hint="set neighbours=0")
    vectors = torch.nn.functional.normalize(lm.outputs[[own[0], *ids]].float().cpu(), dim=-1)
    order = (vectors[1:] @ vectors[0]).argsort(descending=True, stable=True).tolist()
    return [ids[at] for at in order]


def _tables(
    prompt: Prompt, lm: LM, examples: Sequence[Example], some: Sequence[Likely]
) -> list[Float[Tensor, "_ examples"]]:
    """The logits of each label's words."""
    ids = sorted({token for one in some for token in one.ids})
    read = _readings(prompt, lm, examples, Tokens(tuple(ids)))
    logits = torch.stack([one[0].values[0].float().cpu() for one in read], 1)  # [asked, examples]
    place = {token: at for at, token in enumerate(ids)}
    return [logits[[place[token] for token in one.ids]] for one in some]


def _right(
    right: Int[Tensor, " examples"],
    some: Sequence[Likely],
    tables: Sequence[Float[Tensor, "_ examples"]],
    most: int,
) -> tuple[Int[Tensor, "ways labels"], Float[Tensor, " ways"]]:
    """Ways, the best first, and the share of examples each is right about; of equal scores the first label has most."""
    ways = torch.zeros(1, 0, dtype=torch.long)
    best = torch.full((1, len(right)), -torch.inf)
    hit = torch.zeros(1, len(right), dtype=torch.bool)
    logp, count = torch.zeros(1, dtype=torch.float64), torch.zeros(1)
    for at, (one, table) in enumerate(zip(some, tables, strict=True)):
        step = max(1, CHUNK // max(1, table.numel()))
        counts = torch.cat(
            [
                torch.where(table > most_so_far[:, None], right == at, was[:, None]).sum(-1)
                for most_so_far, was in zip(torch.split(best, step), torch.split(hit, step), strict=True)
            ]
        )  # [ways, words]
        total = logp[:, None] + torch.tensor(one.logp, dtype=torch.float64)
        counts = counts.masked_fill(_clash(ways, some[:at], one), -1)
        order = total.flatten().argsort(descending=True, stable=True)
        order = order[counts.flatten()[order].argsort(descending=True, stable=True)]
        order = order[counts.flatten()[order] >= 0][:most]
        way, word = order // len(one.ids), order % len(one.ids)
        hit = torch.where(table[word] > best[way], right == at, hit[way])
        best = torch.maximum(best[way], table[word])
        ways, logp, count = torch.cat([ways[way], word[:, None]], 1), total[way, word], hit.float().mean(-1)
    return ways, count


def _clash(ways: Int[Tensor, "ways labels"], before: Sequence[Likely], one: Likely) -> Tensor:
    """Which words stand for another label already: Bool[ways words]."""
    ids = torch.tensor(one.ids)
    clash = torch.zeros(len(ways), len(ids), dtype=torch.bool)
    for at, other in enumerate(before):
        clash |= torch.tensor(other.ids)[ways[:, at]][:, None] == ids
    return clash


def _correlated(
    view: Interval, examples: Sequence[Example], labels: Sequence[str], some: Sequence[Likely],
    tables: Sequence[Float[Tensor, "_ examples"]],
) -> tuple[Int[Tensor, "ways labels"], Float[Tensor, " ways"]]:  # fmt: skip
    """Pairs of words for the two ends, and the correlation of their numbers with the examples'."""
    sign = 1.0 if tuple(labels) == ("low", "high") else -1.0
    numbers = (sign * (tables[1][None] - tables[0][:, None])).sigmoid().double()  # [words, words, examples]
    wanted = torch.tensor([view.place(one) for one in examples], dtype=torch.float64)
    centred, wanted = numbers - numbers.mean(-1, keepdim=True), wanted - wanted.mean()
    scale = centred.norm(dim=-1) * wanted.norm()
    scores = torch.where(scale > 0, (centred @ wanted) / scale.clamp(min=1e-300), 0.0)
    same = torch.tensor(some[0].ids)[:, None] == torch.tensor(some[1].ids)
    order = scores.masked_fill(same, -2.0).flatten().argsort(descending=True, stable=True)
    order = order[~same.flatten()[order]]
    ways = torch.stack([order // len(some[1].ids), order % len(some[1].ids)], 1)
    return ways, scores.flatten()[order].float()

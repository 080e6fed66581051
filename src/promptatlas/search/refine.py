"""Lists of label words made fit for a model: what it can't read, hardly says or means otherwise goes.

Hu, Ding, Wang, Liu, Wang, Li, Wu & Sun 2022, "Knowledgeable Prompt-tuning", arXiv:2108.02035, and its released code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from warnings import warn

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError, WordError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.calibrate import Divide
from promptatlas.score.words import ONE_SLOT, OverTokens, Words
from promptatlas.search.pool import said

Ids = tuple[int, ...]
Lists = Mapping[str, Sequence[str]]


def known(
    lists: Lists, lm: LM, prompt: Prompt, over_tokens: OverTokens = "first", most: int = 0
) -> dict[str, dict[str, Ids]]:
    """The words a model can read at the slot, with the tokens that are read there; of equal tokens the first word.

    Args:
        lists: words by label.
        lm: the model.
        prompt: whose slot is read.
        over_tokens: under "first" no more than the first token is read.
        most: leaves out words of more tokens; 0: none.

    Raises:
        WordError: a label has no such word.
    """
    template = prompt.template
    if len(template.slots) != 1:
        raise WordError(f"label words are read at one slot, and `{template}` has {len(template.slots)}", hint=ONE_SLOT)
    before = template.before(template.slots[0])
    found: dict[str, dict[str, Ids]] = {}
    for label, some in lists.items():
        kept: dict[Ids, str] = {}
        for word in some:
            ids = lm.word(word, before)
            if ids and not set(ids) & lm.special and not 0 < most < len(ids):
                kept.setdefault(ids[:1] if over_tokens == "first" else ids, word)
        if not kept:
            shown = ", ".join(f"`{one}`" for one in some[:3])
            told = f"{lm.name} can read none of the {len(some)} words of label `{label}` ({shown}, …)"
            raise WordError(told, hint="give it other words")
        found[label] = {word: ids for ids, word in kept.items()}
    return found


def apart(lists: Mapping[str, Mapping[str, Ids]]) -> dict[str, dict[str, Ids]]:
    """Without words that several labels have, but where one is a label's first word: there it stays.

    Raises:
        WordError: the first words of two labels are the same.
    """
    firsts: dict[Ids, str] = {}
    for label, some in lists.items():
        word, ids = next(iter(some.items()))
        other = firsts.setdefault(ids, label)
        if other != label:
            told = f"labels `{other}` and `{label}` both begin with the word `{word}`, as the model reads it"
            raise WordError(told, hint="a label's first word is its own: begin one of them with another")
    counts: dict[Ids, int] = {}
    for some in lists.values():
        for ids in some.values():
            counts[ids] = counts.get(ids, 0) + 1
    return {
        label: {word: ids for word, ids in some.items() if counts[ids] == 1 or firsts.get(ids) == label}
        for label, some in lists.items()
    }


def spoken(prompt: Prompt, lm: LM, examples: Sequence[Example], words: Words) -> Float[Tensor, "texts words"]:
    """What the model says of every word on its own at the slot of each text.

    Logits where every word is one token; log-probabilities else.
    """
    rules = Words.of({word: word for some in words.words.values() for word in some}, over_tokens=words.over_tokens)
    asked = Prompt(template=prompt.template, words=rules, parts=prompt.parts)
    lines, _ = asked.lines(lm, examples)
    with torch.no_grad():
        return asked.reader(lm).fold(lines, mass=False).double().cpu()


def common(mean: Float[Tensor, " vocab"], words: Sequence[Ids], rare: float) -> Bool[Tensor, " words"]:
    """Whether each word is none of those the model hardly ever says (frequency refinement).

    Args:
        mean: of each token of the vocabulary at the slot, over many texts: its logit or log-probability.
        words: the tokens of each.
        rare: the share of the vocabulary that is said least; a word with any such token goes.

    Raises:
        SettingError: no share below 1.
    """
    if not 0 <= rare < 1:
        raise SettingError(f"`rare` is {rare}", hint="it is a share, from 0 up to, not including, 1")
    marked = torch.zeros(len(mean), dtype=torch.bool)
    marked[mean.argsort(stable=True)[: int(rare * len(mean))]] = True
    return torch.tensor([not bool(marked[list(ids)].any()) for ids in words], dtype=torch.bool)


def relevance(scores: Float[Tensor, "texts words"], owner: Int[Tensor, " words"]) -> Float[Tensor, " words"]:
    """How much more a word is said where its label's first word is than where others' are (relevance refinement).

    The cosine of what is said over texts, centred, with that of the own label's first word, divided by a mean over the
    other labels; -100 where it is negative. A word that is said everywhere alike has a cosine of 0.

    Args:
        scores: what the model says of each word in each text.
        owner: the label of each word; the words of a label stand together, its first word first.

    Raises:
        DataError: fewer than two labels.
    """
    count = int(owner.max()) + 1
    if count < 2:
        raise DataError("words of one label can't be told from those of others", hint="give two labels or more")
    centred = scores - scores.mean(0)
    length = centred.norm(dim=0)
    flat = length <= 1e-9 * scores.abs().amax().clamp(min=1)
    unit = (centred / torch.where(flat, 1.0, length)).masked_fill(flat, 0.0)
    firsts = [int((owner == label).nonzero()[0]) for label in range(count)]
    similar = unit.T @ unit[:, firsts]  # [words, labels]
    own = similar.gather(1, owner[:, None])[:, 0]
    power = 10 / (count - 2 + 0.01) + 1
    others = similar.abs().scatter(1, owner[:, None], 0.0)
    top = others.amax(1).clamp(min=1e-12)  # divided out: of two labels the power is 1001
    mean = top * ((others / top[:, None]).pow(power).sum(1) / (count - 1)).pow(1 / power)
    return torch.where(own < 0, -100.0, own / mean.clamp(min=1e-12))


def cut(scores: Float[Tensor, " words"], owner: Int[Tensor, " words"]) -> Bool[Tensor, " words"]:
    """Which words are kept: of each label the same share of its best, so that the next ones score nearest to 1.

    Args:
        scores: of `relevance`.
        owner: the label of each word.
    """
    ranked = [
        (at := (owner == label).nonzero()[:, 0])[scores[at].argsort(descending=True, stable=True)]
        for label in range(int(owner.max()) + 1)
    ]
    most = max(map(len, ranked))
    rates = [at / most for at in range(most)]
    loss = [sum(float((scores[one[int(rate * len(one))]] - 1) ** 2) for one in ranked) for rate in rates]
    rate = rates[min(range(most), key=loss.__getitem__)]
    kept = torch.zeros(len(scores), dtype=torch.bool)
    for one in ranked:
        kept[one[: max(1, int(rate * len(one)))]] = True
    return kept


def only(lists: Mapping[str, Mapping[str, Ids]], kept: Bool[Tensor, " words"], what: str) -> dict[str, dict[str, Ids]]:
    """The words that are kept, in their order; a label that loses all keeps its first, and a warning says so."""
    found: dict[str, dict[str, Ids]] = {}
    at = 0
    for label, some in lists.items():
        mine = kept[at : at + len(some)].tolist()
        at += len(some)
        if not any(mine):
            warn(f"every word of label `{label}` is {what}; the first stays", stacklevel=2)
            mine[0] = True
        found[label] = {word: ids for (word, ids), stays in zip(some.items(), mine, strict=True) if stays}
    return found


def prior(scores: Float[Tensor, "texts words"]) -> Float[Tensor, " words"]:
    """Log of how often each word is said among all of these, whatever the text: the contextual prior."""
    return scores.mean(0).log_softmax(0)


def refined(
    words: Mapping[str, Mapping[str, Ids]], lm: LM, prompt: Prompt, texts: Sequence[Example], over_tokens: OverTokens,
    *, rare: float, relevant: bool,
) -> tuple[dict[str, dict[str, Ids]], dict[str, int]]:  # fmt: skip
    """Words after frequency and relevance refinement, and how many there were and each step left.

    Args:
        words: of `apart`.
        lm: the model.
        prompt: whose slot is read.
        texts: what the model is shown; their labels aren't looked at.
        over_tokens: as the words will be read.
        rare: of `common`; 0: no words go for being rare.
        relevant: whether words go for being irrelevant.
    """
    found = {label: dict(some) for label, some in words.items()}
    sizes = {"words": sum(map(len, found.values()))}
    if rare:
        sums, read = [some.double().sum(0) for some in said(prompt, lm, texts)], len(texts)
        every = [ids for some in found.values() for ids in some.values()]
        found = only(found, common(torch.stack(sums).sum(0) / read, every, rare), "rare")
        sizes["common"] = sum(map(len, found.values()))
    if relevant:
        scores = relevance(
            spoken(
                prompt,
                lm,
                texts,
                Words.of({label: list(some) for label, some in found.items()}, over_tokens=over_tokens),
            ),
            owners(found),
        )
        found = only(found, cut(scores, owners(found)), "irrelevant")
        sizes["relevant"] = sum(map(len, found.values()))
    return found, sizes


def owners(words: Mapping[str, Mapping[str, Ids]]) -> Int[Tensor, " words"]:
    """The number of each word's label, the words in their order."""
    return torch.tensor([at for at, some in enumerate(words.values()) for _ in some])


def calibrated(prompt: Prompt, words: Words, prior: Float[Tensor, " words"], *, logs: bool) -> Prompt:
    """The prompt with each word's probability divided by its prior, before a label's words are averaged.

    Of logs, a mean of differences is a difference of means: the label's is a calibration. Of probabilities, a division
    is a weight of the word. Either holds no more than numbers, and scores as if all words were calibrated together.

    Args:
        prompt: gets the words and a calibration.
        words: as the prior was measured for.
        prior: of `prior`.
        logs: whether log-probabilities are averaged.
    """
    labels, each = words.labels, torch.split(prior, [len(some) for some in words.words.values()])
    if logs:
        means = torch.stack([one.mean() for one in each]).softmax(0)
        divide = Divide(labels=labels, prior=tuple(means.tolist()))
        return replace(prompt, words=replace(words, over_words="mean_logit", weights=None), calibration=(divide,))
    shares = [(prior.min() - one).exp() / len(one) for one in each]  # up to a factor that all have in common
    weights = {label: tuple(one.tolist()) for label, one in zip(labels, shares, strict=True)}
    return replace(prompt, words=replace(words, over_words="sum_prob", weights=weights), calibration=())

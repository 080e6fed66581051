"""Which tokens a gradient points at: for a place in the prompt, and as words for a label."""

from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Hidden, Job, Tokens
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.search.measure import targets
from promptatlas.search.place import standing

Loss = Callable[[Prompt, LM, Sequence[Example]], Tensor]  # a number an example

DECAY = 0.01  # of the probe: its optimum exists, and is one, also where few states can be told apart perfectly


def pull(
    prompt: Prompt, lm: LM, part: str, batches: Sequence[Sequence[Example]], loss: Loss
) -> Float[Tensor, "length width"]:
    """The gradient of a loss at the places where a part's tokens stand.

    It is that of vectors put there instead, equal to the tokens'; rows are summed, as every row has the same tokens.
    Nothing else takes a gradient: neither the model nor another part.

    Args:
        prompt: whose template has the part.
        lm: the model.
        part: the name of a part that is tokens, in a template as `placed` makes it: there, vectors take their places.
        batches: the mean loss of each counts the same.
        loss: of each example.
    """
    soft = Vectors(standing(prompt, part).vectors(lm, ()))
    there = prompt.plus(**{part: soft})
    with torch.enable_grad():
        each = [torch.autograd.grad(loss(there, lm, one).mean(), soft.weight)[0] for one in batches]
    return torch.stack(each).mean(0)


def flips(
    gradient: Float[Tensor, " width"], vectors: Float[Tensor, "vocab width"], k: int, *, without: Collection[int] = ()
) -> list[int]:
    """The k tokens that would make the loss smallest, were it as straight as its gradient says; the best first.

    Ebrahimi, Rao, Lowd & Dou 2018, "HotFlip", arXiv:1712.06751. The change in loss is (vector - the present token's
    vector) · gradient, and the present token's term is the same for all.

    Args:
        gradient: of the loss, at the place.
        vectors: the vocabulary's input vectors.
        k: how many; all that are allowed, where there are fewer.
        without: tokens that aren't allowed.

    Raises:
        SettingError: no token is allowed.
    """
    change = vectors.float() @ gradient.to(vectors.device).float()  # [vocab]
    allowed = torch.ones_like(change, dtype=torch.bool)
    allowed[list(without)] = False
    count = min(k, int(allowed.sum()))
    if count < 1:
        counts = f"{len(vectors)} in the vocabulary, {len(set(without))} not allowed, {k} wanted"
        raise SettingError(f"no token to choose: {counts}", hint="allow more tokens, or want 1 or more")
    return change.masked_fill(~allowed, torch.inf).argsort(stable=True)[:count].tolist()


def unfit(lm: LM, *, capitals: bool = False) -> frozenset[int]:
    """Tokens that no prompt should hold: those without a text, as marks are, and rows of the model that no token has.

    Args:
        lm: the model.
        capitals: also tokens that begin with a capital, which names mostly do.
    """
    texts = [lm.text([token]) for token in range(len(lm.vectors))]
    upper = (token for token, text in enumerate(texts) if capitals and text.strip()[:1].isupper())
    return lm.special.union((token for token, text in enumerate(texts) if not text), upper)


def asked(lm: LM, prompt: Prompt, example: Example) -> frozenset[int]:
    """Tokens that are read at the slot: those of all label words."""
    queries = prompt.words.queries(lm, prompt.template, example)
    read = (ask.ids for query in queries for ask in query.asks if isinstance(ask, Tokens))
    return frozenset(one for ids in (*read, *(query.answer for query in queries)) for one in ids)


def label_words(lm: LM, prompt: Prompt, examples: Sequence[Example], k: int) -> dict[str, tuple[str, ...]]:
    """Words that a model means at the slot where an example has a label.

    Shin et al. 2020, arXiv:2010.15980, sec. 2.3: a linear probe learns to tell labels by the state that enters the
    output projection; a word is scored by putting its row of the projection in the state's place.

    Differs: the probe is trained to its optimum under a small weight decay, so that no seed decides; a word stands for
    one label only, that of its highest score; and only tokens are taken that their own text gives back at the slot.

    Args:
        lm: the model.
        prompt: whose slot is read.
        examples: labelled.
        k: most words a label.

    Raises:
        WordError: no word scores highest for a label.
    """
    right = torch.tensor(targets(prompt.labels, examples))
    lines, _ = prompt.lines(lm, examples)
    rows = prompt.reader(lm).encode(lines)
    with torch.no_grad():
        states = [one[0].values[0] for one in lm.read([Job(row, (Hidden(at="head"),), prompt.parts) for row in rows])]
    weight = probe(torch.stack(states).float().cpu(), right, len(prompt.labels))
    return named(lm, prompt, odds(lm.outputs.float().cpu() @ weight.T), k)


def probe(states: Float[Tensor, "rows head"], right: Int[Tensor, " rows"], labels: int) -> Float[Tensor, "labels head"]:
    """The weights of a linear classifier of states, at its optimum; it has a bias, too, that nobody needs."""
    weight, bias = torch.zeros(labels, states.shape[1]), torch.zeros(labels)
    trained = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.LBFGS(trained, max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = cross_entropy(states @ weight.T + bias, right) + DECAY / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach()


def odds(scores: Float[Tensor, "vocab labels"]) -> Float[Tensor, "vocab labels"]:
    """Of each label against all others: in the order of softmax over labels, which rounds to 1 for many words."""
    others = [torch.cat([scores[:, :at], scores[:, at + 1 :]], 1).logsumexp(1) for at in range(scores.shape[1])]
    return scores - torch.stack(others, 1)


def named(lm: LM, prompt: Prompt, scores: Float[Tensor, "vocab labels"], k: int) -> dict[str, tuple[str, ...]]:
    """The texts of each label's k best tokens, of those that score highest for it and can be read at the slot."""
    before, best = prompt.template.before(prompt.template.slots[0]), scores.argmax(1)
    words: dict[str, tuple[str, ...]] = {}
    for at, label in enumerate(prompt.labels):
        found: list[str] = []
        for token in scores[:, at].argsort(descending=True, stable=True).tolist():
            text = lm.text([token]).strip()
            if len(found) == k or best[token] != at:
                continue
            if text and token not in lm.special and lm.word(text, before) == (token,):
                found.append(text)
        if not found:
            what = f"no word of {lm.name} stands for label `{label}` more than for the others"
            raise WordError(what, hint="give the label words yourself")
        words[label] = tuple(found)
    return words

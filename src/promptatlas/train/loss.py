"""What is made small: a number for every example of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.data.view import Choices, Tags
from promptatlas.errors import DataError, NeedsError, SettingError, near
from promptatlas.lm.ask import Job, Places
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.prompting import Prompt
from promptatlas.prompting.items import items
from promptatlas.train.number import divergence

ASKED, MASKED, SWAPPED = 0.15, 0.8, 0.1  # Devlin et al. 2019, arXiv:1810.04805, sec. 3.1


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples of one step, or some of them where a batch is split.

    Attributes:
        examples: the examples.
        indices: where they stand among their term's examples.
        step: the step, from 0.
        generator: for random draws; of this term, step and piece. What must not change with how batches are split draws
            from `own` instead.
        seed: what `own` goes by.
    """

    examples: tuple[Example, ...]
    indices: tuple[int, ...]
    step: int
    generator: torch.Generator
    seed: int = 0

    def own(self, at: int) -> torch.Generator:
        """A generator of the `at`-th example alone, the same in whatever piece of the batch it comes."""
        return generator(self.seed, self.step, self.indices[at])


Loss = Callable[[Prompt, LM, Batch], Tensor]  # a number an example


@runtime_checkable
class Keyed(Protocol):
    """A loss, or a sequence of examples, that says what it holds: a checkpoint goes on only under the same."""

    def key(self) -> str:
        """The same for equal values."""


def generator(*key: int | str) -> torch.Generator:
    """A random generator on the CPU, fixed by this key."""
    digest = sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def nll(prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
    """Minus the log-probability of each example's label among all labels; of tags the mean over the example's items.

    Of a number, how far the probabilities of the interval's ends are from it: `number.divergence`.

    Raises:
        DataError: an example whose target is no label, no number of the interval, or whose tags are not a label an
            item.
    """
    if isinstance(prompt.view, Interval):
        return divergence(prompt, lm, batch.examples, prompt.view)
    if isinstance(prompt.view, Tags):
        return tagged(prompt, lm, batch.examples)[1]
    return _lost(prompt, lm, batch, prompt.score)


def nll_among_all(prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
    """Minus the log-probability of each example's label's words under the whole vocabulary.

    Raises:
        DataError: an example whose target is no label.
    """
    return _lost(prompt, lm, batch, prompt.mass)


def margin(prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
    """The sum over wrong labels of max(0, 1 - log q(right) + log q(wrong)): 0 where each is beaten by 1 or more.

    Schick & Schütze 2021, arXiv:2009.07118, where q is the product of the probabilities of a word's tokens, each at its
    own mask.

    Raises:
        DataError: an example whose target is no label.
    """
    mass = prompt.mass(lm, batch.examples)
    places = _column(prompt, batch.examples, mass)
    over = (1 - mass.gather(1, places) + mass).relu()  # [examples, labels]
    return over.scatter(1, places, 0.0).sum(1)


def _lost(prompt: Prompt, lm: LM, batch: Batch, scored: Callable[[LM, Sequence[Example]], Tensor]) -> Tensor:
    scores = scored(lm, batch.examples)
    return -scores.gather(1, _column(prompt, batch.examples, scores))[:, 0]


def _column(prompt: Prompt, examples: Sequence[Example], scores: Tensor) -> Tensor:
    """Where each example's answer stands among its scores: [examples, 1]."""
    return torch.tensor(right(prompt, examples), device=scores.device)[:, None]


def tagged(
    prompt: Prompt, lm: LM, examples: Sequence[Example]
) -> tuple[Float[Tensor, " examples"], Float[Tensor, " examples"]]:
    """The share of each example's tags that are found likeliest, and the mean of minus their log-probability.

    Both are of the items that were read; of none they are 1 and 0.

    Raises:
        DataError: an example whose tags are not a label an item.
    """
    wanted = [_tags(prompt, one) for one in examples]
    shares, losses = [], []
    for scores, places in zip(items(prompt, lm, examples), wanted, strict=True):
        right = torch.tensor(places[: len(scores)], dtype=torch.long, device=scores.device)
        most = scores.new_tensor(max(1, len(scores)))
        missed = (scores.detach().argmax(-1) != right).sum()
        shares.append(1 - missed / most)
        losses.append(-scores.gather(1, right[:, None]).sum() / most)
    return torch.stack(shares), torch.stack(losses)


def _tags(prompt: Prompt, example: Example) -> list[int]:
    name = f"example `{example.key}`" if example.key else "an example"
    count = len(prompt.view.items(example)) if isinstance(prompt.view, Tags) else 0
    if not isinstance(example.target, tuple) or len(example.target) != count:
        raise DataError(f"{name} has {count} items and the target {example.target!r}", hint="every item has one tag")
    for tag in example.target:
        if tag not in prompt.labels:
            raise DataError(f"{name} has the tag `{tag}`, which is no label", hint=near(tag, prompt.labels))
    return [prompt.labels.index(tag) for tag in example.target]


def answers(prompt: Prompt, example: Example) -> tuple[str, ...]:
    """What an example may be answered with, in the order of its scores: the labels, or the choices it brings."""
    return prompt.view.options(example) if isinstance(prompt.view, Choices) else prompt.labels


def right(prompt: Prompt, examples: Sequence[Example]) -> list[int]:
    """Where each example's target stands among its answers. Raises DataError for a target that is none of them."""
    return [_place(prompt, one) for one in examples]


def _place(prompt: Prompt, example: Example) -> int:
    known = answers(prompt, example)
    if not isinstance(example.target, str) or example.target not in known:
        name = f" `{example.key}`" if example.key else ""
        hint = "there are " + ", ".join(f"`{one}`" for one in known)
        raise DataError(f"example{name} has the target {example.target!r}, which is no label", hint=hint)
    return known.index(example.target)


@dataclass(frozen=True, eq=False)
class Soft:
    """Distance from a teacher; see `soft`."""

    targets: Float[Tensor, "examples labels"]
    temperature: float

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """Temperature squared times the divergence of the student from the teacher."""
        student = (prompt.score(lm, batch.examples) / self.temperature).log_softmax(-1)
        teacher = (self.targets[list(batch.indices)].to(student) / self.temperature).log_softmax(-1)
        return self.temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)

    def key(self) -> str:
        """The same for equal targets and temperature."""
        digest = sha256(self.targets.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return f"soft {self.temperature} {digest.hexdigest()}"


def soft(targets: Float[Tensor, "examples labels"], temperature: float = 2.0) -> Soft:
    """A loss that draws the prompt's scores to a teacher's: T² · KL(softmax(targets / T) ‖ softmax(scores / T)).

    Hinton, Vinyals & Dean 2015, arXiv:1503.02531, sec. 2; T = 2 is PET's (Schick & Schütze 2021, arXiv:2001.07676).

    Args:
        targets: the teacher's scores, logits or log-probabilities, of every example of the term, in its order.
        temperature: above 1, small probabilities count for more.
    """
    if temperature <= 0:
        raise SettingError(f"`temperature` is {temperature}", hint="it is above 0")
    return Soft(targets.detach(), temperature)


def masked_lm(prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
    """Minus the mean log-probability of hidden tokens of each example in its template, under a masked model.

    Of the tokens that are no mark, slot or part, 15 % are asked about, at least one; of those, 80 % are replaced by the
    mask, 10 % by a random token, 10 % not (Devlin et al. 2019, arXiv:1810.04805, sec. 3.1). As an auxiliary loss:
    Schick & Schütze 2021, arXiv:2001.07676, sec. 3.2. differs: every example counts the same, not every token.

    Raises:
        NeedsError: the model has no mask.
    """
    if lm.kind != "masked" or lm.mask is None:
        raise NeedsError(
            f"`{lm.name}` has no mask to hide tokens behind", hint="leave this term out, or load a masked model"
        )
    lines, owners = prompt.lines(lm, batch.examples)
    rows = prompt.reader(lm).encode([lines[first] for first, _ in owners])
    hidden = [_hidden(row, lm, lm.mask, batch.own(at)) for at, row in enumerate(rows)]
    jobs = [Job(row, (asked,), prompt.parts) for row, asked in hidden]
    return torch.stack([-reading[0].values.mean() for reading in lm.read(jobs)])


def _hidden(row: Row, lm: LM, mask: int, draw: torch.Generator) -> tuple[Row, Places]:
    """A row with some tokens hidden, and the question what they were."""
    spans = [range(span.start, span.end) for span in row.spans if span.kind in ("field", "text")]
    free = [at for span in spans for at in span if row.ids[at] not in lm.special]
    if not free:
        raise DataError("an example has no tokens that could be hidden", hint="leave examples without text out")
    order = torch.randperm(len(free), generator=draw)[: max(1, round(ASKED * len(free)))]
    places = sorted(free[at] for at in order.tolist())
    ids = list(row.ids)
    for at, chance in zip(places, torch.rand(len(places), generator=draw).tolist(), strict=True):
        if chance < MASKED:
            ids[at] = mask
        elif chance < MASKED + SWAPPED:
            ids[at] = int(torch.randint(len(lm.vectors), (), generator=draw))
    return replace(row, ids=tuple(ids)), Places(tuple(places), tuple(row.ids[at] for at in places))

"""Which words tell labels apart, by how likely the model finds them at the slot of examples of each label.

Schick, Schmid & Schütze 2020, "Automatically Identifying Words That Can Serve as Labels for Few-Shot Text
Classification", arXiv:2010.13641.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import DataError, SettingError, WordError, near

LEAST = 1e-12  # no probability is nearer to 0 or 1
SCORES = ("llr", "ce")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Sums over examples of what the model says of words, all that either score needs; in float64.

    An example counts for a label by its share of it: all for its own where labels are known, a probability where they
    are guessed. Evidence of more examples, or of other patterns, is added.

    Attributes:
        said: of log q, where q is a word's probability among the whole vocabulary.
        unsaid: of log(1 - q).
        shown: of q.
        size: of the shares: examples a label.
        clamped: probabilities too near 0 or 1 to take the log of.
    """

    said: Float[Tensor, "labels words"]
    unsaid: Float[Tensor, "labels words"]
    shown: Float[Tensor, "labels words"]
    size: Float[Tensor, " labels"]
    clamped: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        """Of both."""
        return Evidence(self.said + other.said, self.unsaid + other.unsaid, self.shown + other.shown,
                        self.size + other.size, self.clamped + other.clamped)  # fmt: skip

    def means(self) -> tuple[Float[Tensor, "labels words"], Float[Tensor, "labels words"]]:
        """A word's mean probability in examples of each label, and in all others."""
        others, rest = self.size.sum() - self.size, self.shown.sum(0) - self.shown
        return self.shown / self.size[:, None], rest / others[:, None]


def evidence(logp: Float[Tensor, "rows words"], shares: Float[Tensor, "rows labels"]) -> Evidence:
    """What some examples say.

    Args:
        logp: log-probabilities among the whole vocabulary; not brought to sum to one over these words.
        shares: how much each example counts for each label.
    """
    q = logp.double().exp()
    kept = q.clamp(LEAST, 1 - LEAST)
    each = shares.double().T
    clamped = int((q != kept).sum())
    return Evidence(each @ kept.log(), each @ (-kept).log1p(), each @ q, each.sum(1), clamped)


def scored(
    found: Evidence, labels: Sequence[str], score: str, *, balanced: bool = True
) -> Float[Tensor, "labels words"]:
    """How well each word stands for each label, the higher the better.

    Args:
        found: what the examples say.
        labels: named in errors.
        score: "llr", the log of how much likelier the word is where it should be than where it should not; or "ce",
            the log-likelihood of a classifier by the word alone, which common words win.
        balanced: a label's examples count as much as all others together.

    Raises:
        DataError: a label has no example, or all the examples.
        SettingError: no such score.
    """
    if score not in SCORES:
        raise SettingError(f"`score` can't be `{score}`", hint=near(score, SCORES))
    others = found.size.sum() - found.size
    for label, size, rest in zip(labels, found.size.tolist(), others.tolist(), strict=True):
        if size <= 0 or rest <= 0:
            what = f"label `{label}` has {'no example' if size <= 0 else 'all the examples'}"
            raise DataError(f"{what}: no word can be told to stand for it", hint="give examples of every label")
    weight = (others / found.size)[:, None] if balanced else torch.ones(len(found.size), 1, dtype=torch.float64)
    unsaid = found.unsaid.sum(0) - found.unsaid
    if score == "ce":
        return weight * found.said + unsaid
    return weight * (found.said - found.unsaid) - (found.said.sum(0) - found.said) + unsaid


def best(
    scores: Float[Tensor, "labels words"], likely: Float[Tensor, "labels words"], k: int, most: int
) -> list[list[int]]:
    """Each label's k best words, the best first; a word stands for the label it has the larger score for.

    Args:
        scores: of `scored`.
        likely: log-likelihood of the words where they should be: only a label's `most` likeliest are looked at.
        k: words a label; fewer where there are no more.
        most: see `likely`; 0 or less looks at all.
    """
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if 0 < most < scores.shape[1]:
        top = likely.argsort(dim=1, descending=True, stable=True)[:, :most]
        allowed = torch.zeros_like(allowed).scatter(1, top, True)
    ranked = scores.masked_fill(~allowed, -torch.inf).flatten().argsort(descending=True, stable=True)
    chosen: list[list[int]] = [[] for _ in scores]
    taken: set[int] = set()
    for at in ranked[: int(allowed.sum())].tolist():
        label, word = divmod(at, scores.shape[1])
        if word not in taken and len(chosen[label]) < k:
            chosen[label].append(word)
            taken.add(word)
    return chosen


def named(
    lists: Sequence[Sequence[int]], scores: Float[Tensor, "labels words"], found: Evidence, labels: Sequence[str],
    names: Sequence[str], k: int,
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:  # fmt: skip
    """Label -> the words at these places, and why, for a history.

    `great 12.1 (0.31/0.02)` is the score, and the word's mean probability in the label's examples and in all others. A
    label with fewer words than k is warned of.

    Raises:
        WordError: a label has no word.
    """
    inside, outside = found.means()
    words: dict[str, tuple[str, ...]] = {}
    why: dict[str, str] = {}
    for at, (label, some) in enumerate(zip(labels, lists, strict=True)):
        if not some:
            raise WordError(f"no word is left for label `{label}`", hint="look at more words, or take fewer a label")
        if len(some) < k:
            warn(f"label `{label}` gets {len(some)} words and not {k}: there are no more", stacklevel=2)
        words[label] = tuple(names[one] for one in some)
        why[f"words {label}"] = ", ".join(
            f"{names[one]} {scores[at, one]:.1f} ({inside[at, one]:.2g}/{outside[at, one]:.2g})" for one in some
        )
    return words, why

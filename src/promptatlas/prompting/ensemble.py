"""Several prompts that answer together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.data.view import Answer, One, Tags
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.prompting.history import Step
from promptatlas.prompting.likelihood import likelihood
from promptatlas.prompting.prompt import Given, Prompt, scored
from promptatlas.prompting.writing import voted


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Prompts whose scores are averaged, who vote, or whose probabilities are mixed. Scores and predicts like a prompt.

    Where answers are numbers, the numbers are averaged.

    Attributes:
        prompts: all with the same labels in the same order.
        weights: of each; need not sum to one; equal where not given.
        vote: each prompt's likeliest label has its weight, instead of its log-probabilities (ties: the label with the
            higher mean log-probability).
        mix: the members' probabilities under the whole vocabulary are averaged, not their log-probabilities; calibrated
            prompts have none.
        heed: of a mixture: a member counts the more, the likelier it finds the example's own fields; the higher this
            temperature, the less it matters (Qin & Eisner 2021, arXiv:2104.06599). None: all examples alike.
    """

    prompts: tuple[Prompt, ...]
    weights: tuple[float, ...] = ()
    vote: bool = False
    mix: bool = False
    heed: float | None = None

    def __post_init__(self) -> None:
        """Check that the members can answer together."""
        if not self.prompts:
            raise SettingError("an ensemble of no prompts", hint="give at least one")
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.prompts))
        if len(self.weights) != len(self.prompts) or sum(self.weights) <= 0 or min(self.weights) < 0:
            raise SettingError(
                f"{len(self.weights)} weights for {len(self.prompts)} prompts: {self.weights}",
                hint="one each, not all 0",
            )
        if any(isinstance(one.view, Tags) for one in self.prompts):
            raise SettingError("prompts for tags don't answer together", hint="take one of them")
        labels = {one.labels for one in self.prompts}
        if len(labels) > 1:
            raise SettingError(
                f"prompts with different labels: {sorted(labels)}", hint="give all the same labels in the same order"
            )
        ends = {(one.view, one.words.labels) for one in self.prompts if isinstance(one.view, Interval)}
        if ends and (len(ends) > 1 or self.vote or any(not isinstance(one.view, Interval) for one in self.prompts)):
            raise SettingError(
                "only prompts whose numbers lie in one interval answer together, and they don't vote",
                hint="give prompts of one task, with the labels `low` and `high` in one order, and vote=False",
            )
        self._check_mixture()

    def _check_mixture(self) -> None:
        if self.mix and self.vote:
            raise SettingError("an ensemble can't both vote and mix", hint="set one of `vote` and `mix`")
        if self.heed is not None and (not self.mix or self.heed <= 0):
            raise SettingError(f"`heed` is {self.heed}, mix={self.mix}", hint="it is above 0, and goes with mix=True")
        if self.mix and any(one.calibration or not isinstance(one.view, One) for one in self.prompts):
            raise SettingError(
                "prompts that are calibrated, or read a row a choice, have no probabilities to mix",
                hint="leave their calibration out, or set mix=False",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.prompts[0].labels

    @property
    def history(self) -> tuple[Step, ...]:
        """Of the first member."""
        return self.prompts[0].history

    def examples(self, given: Given) -> list[Example]:
        """Examples of texts or of fields; a single one is a list of one."""
        return self.prompts[0].examples(given)

    def score(self, lm: LM, examples: Given) -> Float[Tensor, "examples answers"]:
        """Log-probabilities: the weighted mean of the members', normalised; of the votes' shares; or of the mixture."""
        wanted = self.examples(examples)
        if self.mix:
            return self.mass(lm, wanted).log_softmax(-1)
        return self._joined(scored(lm, self.prompts, wanted))

    def mass(self, lm: LM, examples: Given) -> Float[Tensor, "examples labels"]:
        """Of a mixture, the log of each label's probability under the vocabulary: the members', weighted and summed."""
        if not self.mix:
            raise SettingError("only a mixture has a mass", hint="Ensemble(..., mix=True)")
        wanted = self.examples(examples)
        mass = torch.stack([one.mass(lm, wanted) for one in self.prompts])  # [prompts, examples, labels]
        return torch.logsumexp(mass + self.shares(lm, wanted).T[..., None].to(mass), 0)

    def shares(self, lm: LM, examples: Given) -> Float[Tensor, "examples prompts"]:
        """The log of how much each member counts for each example."""
        wanted = self.examples(examples)
        prior = torch.tensor(self.weights).log().log_softmax(-1).expand(len(wanted), -1)
        if self.heed is None:
            return prior
        own = torch.stack([likelihood(one, lm, wanted) for one in self.prompts], -1)  # [examples, prompts]
        return (prior.to(own) + own / self.heed).log_softmax(-1)

    def predict(self, lm: LM, examples: Given, *, abstain: float = 0.0, how: Decode | None = None) -> list[Answer]:
        """An answer an example; see `Prompt.predict`. `abstain` looks at the first member's mass.

        Prompts that write vote for their texts; of texts with as many votes, the one that was written first wins.
        """
        wanted = self.examples(examples)
        if self.prompts[0].writes or how is not None:
            return self._written(lm, wanted, how, abstain)
        if not abstain and (self.mix or all(map(_plain, self.prompts))):
            return self._likeliest(lm, wanted)
        members = [one.predict(lm, wanted, abstain=abstain if at == 0 else 0.0) for at, one in enumerate(self.prompts)]
        return [self._answer(list(answers)) for answers in zip(*members, strict=True)]

    def _written(self, lm: LM, wanted: Sequence[Example], how: Decode | None, abstain: float) -> list[Answer]:
        if self.prompts[0].writes and not self.vote:
            raise SettingError("prompts that write answer together by voting alone", hint="Ensemble(..., vote=True)")
        members = [one.predict(lm, wanted, abstain=abstain, how=how) for one in self.prompts]
        return [voted(answers, self.weights) for answers in zip(*members, strict=True)]

    def _likeliest(self, lm: LM, wanted: Sequence[Example]) -> list[Answer]:
        """Answers of prompts that score the same labels for every example, all rows read in one call."""
        with torch.no_grad():
            scores = self.score(lm, wanted)
        view, labels = self.prompts[0].view, self.prompts[0].words.labels
        return [view.fold(one, row[None], labels) for one, row in zip(wanted, scores, strict=True)]

    def _answer(self, answers: Sequence[Answer]) -> Answer:
        """One answer of the members'; their choices may differ in number from example to example."""
        names = list(answers[0].probabilities)
        logp = [[math.log(max(one.probabilities[name], 1e-30)) for name in names] for one in answers]
        shares = self._joined([torch.tensor([one]) for one in logp])[0].exp().tolist()
        best = max(range(len(names)), key=shares.__getitem__)
        value = None if answers[0].value is None else names[best]
        return Answer(value, shares[best], dict(zip(names, shares, strict=True)), answers[0].why)

    def _joined(self, scores: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(scores))  # [prompts, examples, answers]
        weights = torch.tensor(self.weights, device=stacked.device, dtype=stacked.dtype)[:, None, None] / sum(
            self.weights
        )
        if isinstance(self.prompts[0].view, Interval):
            return (stacked.log_softmax(-1).exp() * weights).sum(0).log()
        mean = (stacked * weights).sum(0)
        if not self.vote:
            return mean.log_softmax(-1)
        votes = (torch.nn.functional.one_hot(stacked.argmax(-1), stacked.shape[-1]) * weights).sum(0)
        return (votes + mean.softmax(-1) * 1e-6).clamp(min=1e-12).log().log_softmax(-1)


def _plain(prompt: Prompt) -> bool:
    """Whether an answer of the prompt is its likeliest label, and no more is to be said of it."""
    return isinstance(prompt.view, One | Interval) and all(one.proper for one in prompt.calibration)

"""Several prompts that answer together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.view import Answer, One
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting.prompt import Given, Prompt, Step, scored


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Prompts whose scores are averaged, or who vote. Scores and predicts like a prompt.

    Attributes:
        prompts: all with the same labels in the same order.
        weights: of each; need not sum to one; equal where not given.
        vote: each prompt's likeliest label has its weight, instead of its log-probabilities (ties: the label with the
            higher mean log-probability).
    """

    prompts: tuple[Prompt, ...]
    weights: tuple[float, ...] = ()
    vote: bool = False

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
        labels = {one.labels for one in self.prompts}
        if len(labels) > 1:
            raise SettingError(
                f"prompts with different labels: {sorted(labels)}", hint="give all the same labels in the same order"
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
        """Log-probabilities: the weighted mean of the members', normalised; or the logarithm of the shares of votes."""
        return self._joined(scored(lm, self.prompts, self.examples(examples)))

    def predict(self, lm: LM, examples: Given, *, abstain: float = 0.0) -> list[Answer]:
        """An answer an example; see `Prompt.predict`. `abstain` looks at the first member's mass."""
        wanted = self.examples(examples)
        if not abstain and all(map(_plain, self.prompts)):
            return self._likeliest(lm, wanted)
        members = [one.predict(lm, wanted, abstain=abstain if at == 0 else 0.0) for at, one in enumerate(self.prompts)]
        return [self._answer(list(answers)) for answers in zip(*members, strict=True)]

    def _likeliest(self, lm: LM, wanted: Sequence[Example]) -> list[Answer]:
        """Answers of prompts that score the same labels for every example, all rows read in one call."""
        with torch.no_grad():
            scores = self.score(lm, wanted)
        return [self.prompts[0].view.fold(one, row[None], self.labels) for one, row in zip(wanted, scores, strict=True)]

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
        mean = (stacked * weights).sum(0)
        if not self.vote:
            return mean.log_softmax(-1)
        votes = (torch.nn.functional.one_hot(stacked.argmax(-1), stacked.shape[-1]) * weights).sum(0)
        return (votes + mean.softmax(-1) * 1e-6).clamp(min=1e-12).log().log_softmax(-1)


def _plain(prompt: Prompt) -> bool:
    """Whether an answer of the prompt is its likeliest label, and no more is to be said of it."""
    return isinstance(prompt.view, One) and all(one.proper for one in prompt.calibration)

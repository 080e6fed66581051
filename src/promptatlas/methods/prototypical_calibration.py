"""Prototypical calibration: labels are clusters of what the model says of texts, and not what it finds likeliest.

Han, Hao, Dong, Sun & Wei 2023, "Prototypical Calibration for Few-shot Learning of Language Models", arXiv:2205.10183.

Learns: a Gaussian a label over the labels' log-probabilities of texts without labels, kept in the prompt's calibration.
Needs: texts, whose labels aren't looked at; any kind of model; the same demonstrations for all inputs.
Relations: `batch_calibration` moves the border between labels by the same texts' mean, and can't turn it.
Differs: log-probabilities sum to one over the labels. A cluster is of a label for no other reason than that the label
is likelier there: where texts cluster by something else, so do the answers.

Example:
    >>> import promptatlas
    >>> promptatlas.method("prototypical_calibration", restarts=5).texts
    500
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.prototypes import position
from promptatlas.search.clusters import clustered
from promptatlas.search.prior import drawn, heard, uncalibrated, unlabelled
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class PrototypicalCalibration:
    """Settings of prototypical calibration.

    Attributes:
        texts: read at most, drawn at random: unlabeled ones, or where there are none the training examples.
        restarts: fits of the mixture, of which that is kept whose clusters match the labels best.
        least: variance, of a log-probability, that every cluster has in all directions.
        weighted: a cluster counts by its share of the texts; otherwise labels are taken to be as common as each other.
        seed: of the draw and of the fits.
    """

    texts: int = 500
    restarts: int = 10
    least: float = 1e-4
    weighted: bool = True
    seed: int = 0

    name: ClassVar[str] = "prototypical_calibration"
    needs: ClassVar[Needs] = Needs(can=("logits",))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Find the labels' clusters under the prompt as it is; a calibration it had is replaced."""
        self.needs.check(self.name, lm, task, prompt)
        prompt = uncalibrated(prompt, self.name)
        texts = drawn(unlabelled(lm, task, prompt, self.name), self.texts, self.seed)
        prototypes, score = clustered(
            position(heard(prompt, lm, texts)),
            restarts=self.restarts, least=self.least, weighted=self.weighted, seed=self.seed,
        )  # fmt: skip
        shares = zip(prompt.words.labels, prototypes.weights.tolist(), strict=True)
        figures = {f"share {label}": round(one, 4) for label, one in shares}
        made = replace(prompt, calibration=(prototypes,))
        return made.noted(lm, self, task.identity(), texts=len(texts), match=round(score, 4), **figures)

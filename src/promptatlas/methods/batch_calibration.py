"""Batch calibration: divide by what the model says of the task's own texts, on average.

Zhou, Wan, Proleev, Mincu, Chen, Heller & Roy 2023, "Batch Calibration: Rethinking Calibration for In-Context Learning
and Prompt Engineering", arXiv:2309.17249.

Learns: the mean probability of each label over texts without labels, kept in the prompt's calibration.
Needs: texts, whose labels aren't looked at; any kind of model; the same demonstrations for all inputs.
Relations: `contextual_calibration` asks about inputs without content, `domain_calibration` about words in disorder;
`prototypical_calibration` finds the labels' clusters among such texts, and not their mean alone.
Differs: the mean is taken once, over texts of the task, and not over the batch that is answered: no answer depends on
its company. Labels that are far from equally common in these texts are moved towards equal shares all the same.

Example:
    >>> import promptatlas
    >>> promptatlas.method("batch_calibration", texts=64).strength
    1.0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.prior import drawn, figures, heard, mean_prior, uncalibrated, unlabelled
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class BatchCalibration:
    """Settings of batch calibration.

    Attributes:
        texts: read at most, drawn at random: unlabeled ones, or where there are none the training examples.
        strength: of the division, a power of the mean; 1 is the paper's without labels, 0 changes nothing.
        seed: of the draw.
    """

    texts: int = 128
    strength: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "batch_calibration"
    needs: ClassVar[Needs] = Needs(can=("logits",))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Average the labels' probabilities under the prompt as it is; a calibration it had is replaced."""
        self.needs.check(self.name, lm, task, prompt)
        prompt = uncalibrated(prompt, self.name)
        texts = drawn(unlabelled(lm, task, prompt, self.name), self.texts, self.seed)
        divide = mean_prior(heard(prompt, lm, texts), prompt.words.labels, self.strength)
        made = replace(prompt, calibration=(divide,))
        return made.noted(lm, self, task.identity(), texts=len(texts), **figures(divide))

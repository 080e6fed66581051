"""Domain-context calibration: divide by what the model says of the task's own words in disorder.

Fei, Hou, Chen & Bosselut 2023, "Mitigating Label Biases for In-context Learning", arXiv:2305.19148.

Learns: the mean probability of each label over texts of random words, kept in the prompt's calibration.
Needs: texts to take words from, whose labels aren't looked at; any kind of model; the same demonstrations for all
inputs.
Relations: `contextual_calibration` takes inputs without content, which tell nothing of what the task's words alone
favour; `batch_calibration` takes whole texts.
Differs: each field of text has its own words and its own length, the mean number of words there. In scripts without
blanks a character is a word.

Example:
    >>> import promptatlas
    >>> promptatlas.method("domain_calibration").draws
    20
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.prior import disordered, figures, heard, mean_prior, uncalibrated, unlabelled
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class DomainCalibration:
    """Settings of domain-context calibration.

    Attributes:
        draws: texts of random words that are averaged over.
        seed: of the words. They come from the unlabeled texts, or where there are none from the training examples.
    """

    draws: int = 20
    seed: int = 0

    name: ClassVar[str] = "domain_calibration"
    needs: ClassVar[Needs] = Needs(can=("logits",))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Average the labels' probabilities under the prompt as it is; a calibration it had is replaced."""
        self.needs.check(self.name, lm, task, prompt)
        prompt = uncalibrated(prompt, self.name)
        texts = unlabelled(lm, task, prompt, self.name)
        divide = mean_prior(heard(prompt, lm, disordered(texts, self.draws, self.seed)), prompt.words.labels)
        made = replace(prompt, calibration=(divide,))
        return made.noted(lm, self, task.identity(), texts=len(texts), **figures(divide))

"""Domain-conditional PMI: an answer counts by how much likelier the question makes it than the domain alone does.

Holtzman, West, Shwartz, Choi & Zettlemoyer 2021, "Surface Form Competition: Why the Highest Probability Answer Isn't
Always Right", arXiv:2104.08315.

Learns: nothing; the domain is kept in the prompt's calibration, and read beside every input.
Needs: nothing but the model; any kind; labels with words, or choices.
Relations: `contextual_calibration` divides by an input without content after the same demonstrations, and once for all.
Differs: also for masked models, a choice in as many masks as it has tokens. Where none is given, the domain is the
template's own end. What comes out is brought to sum to one, and only ranks.

Example:
    >>> import promptatlas
    >>> promptatlas.method("pmi", domain=" the answer is:{mask}").looked
    16
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.calibrate import PMI
from promptatlas.score.domain import domain, summed
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class DomainPMI:
    """Settings of domain-conditional PMI.

    Attributes:
        domain: a template that ends where the answer starts and doesn't show the question, such as
            ` the answer is:{mask}`; it may show a field that isn't the question, as ` because` or ` so` is. "": what
            stands in the prompt's template behind its last field. `:{mask}` is the paper's unconditional PMI.
        looked: texts at most, unlabeled or else of the training examples, in which it is counted how many answers
            change; 0: none.
    """

    domain: str = ""
    looked: int = 16

    name: ClassVar[str] = "pmi"
    needs: ClassVar[Needs] = Needs(can=("logits",), tasks=("label", "choice"))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Divide by the domain; a calibration the prompt had is replaced, and no answer's length is divided out."""
        self.needs.check(self.name, lm, task, prompt)
        plain = replace(prompt, words=summed(prompt.words), calibration=())
        alone = domain(prompt.template, self.domain)
        made = replace(plain, calibration=(PMI(domain=alone),))
        looked = (task.unlabeled or task.train)[: self.looked]
        figures: dict[str, float | int | str] = {"domain": str(alone)}
        if looked:
            before, after = ([one.value for one in some.predict(lm, looked)] for some in (plain, made))
            changed = sum(one != other for one, other in zip(before, after, strict=True))
            figures |= {"changed": round(changed / len(looked), 4), "looked": len(looked)}
        if task.kind == "label" and not alone.fields and isinstance(prompt.view, One):
            with torch.no_grad():  # what frequent words take from others before anything is asked, in one row
                mass = replace(plain, template=alone, demos=NoDemos()).mass(lm, [{}]).double()[0].exp().tolist()
            figures |= {f"domain {label}": round(one, 6) for label, one in zip(plain.words.labels, mass, strict=True)}
        return made.noted(lm, self, task.identity(), **figures)

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
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.calibrate import PMI
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.text.pieces import FieldPiece, SlotPiece, TextPiece
from promptatlas.text.template import Template
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
        words = prompt.words
        if isinstance(words, Own | Words) and words.over_tokens == "mean":
            words = replace(words, over_tokens="sum")
        if isinstance(words, Words):
            words = replace(words, over_words="sum_prob")
        plain = replace(prompt, words=words, calibration=())
        domain = Template.parse(self.domain) if self.domain else ending(prompt.template)
        if domain.slots and (domain == prompt.template or domain.slots != prompt.template.slots):
            told = f"`{domain}` is no domain of `{prompt.template}`"
            raise SettingError(told, hint="give the same slot, and leave the question out: domain=...")
        made = replace(plain, calibration=(PMI(domain=domain),))
        looked = (task.unlabeled or task.train)[: self.looked]
        figures: dict[str, float | int | str] = {"domain": str(domain)}
        if looked:
            before, after = ([one.value for one in some.predict(lm, looked)] for some in (plain, made))
            changed = sum(one != other for one, other in zip(before, after, strict=True))
            figures |= {"changed": round(changed / len(looked), 4), "looked": len(looked)}
        if task.kind == "label" and not domain.fields and isinstance(prompt.view, One):
            with torch.no_grad():  # what frequent words take from others before anything is asked, in one row
                mass = replace(plain, template=domain, demos=NoDemos()).mass(lm, [{}]).double()[0].exp().tolist()
            figures |= {f"domain {label}": round(one, 6) for label, one in zip(plain.words.labels, mass, strict=True)}
        return made.noted(lm, self, task.identity(), **figures)


def ending(template: Template) -> Template:
    """What stands in a template behind its last field before the slot, without any field, part or demonstration.

    >>> str(ending(Template.parse("Q: {question} A:{mask}")))
    ' A:{mask}'
    """
    pieces = template.pieces
    slot = next(at for at, one in enumerate(pieces) if isinstance(one, SlotPiece))
    fields = [at for at, one in enumerate(pieces[:slot]) if isinstance(one, FieldPiece)]
    kept = pieces[fields[-1] + 1 if fields else 0 :]
    return Template(tuple(one for one in kept if isinstance(one, TextPiece | SlotPiece)))

"""One part shared by several tasks: trained on all of them, each through a head of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from promptatlas.data.target import LISTED
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import answering, classifier, plain
from promptatlas.score.soft import Classifier, Pool
from promptatlas.text.pieces import EachPiece
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Batch, nll
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Through:
    """The loss of a task's labels, or tags, through a head of its own: a number an example."""

    template: Template
    words: Classifier

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """As `nll` has it."""
        return nll(answering(replace(prompt, template=self.template), self.words), lm, batch)

    def key(self) -> str:
        """The same for equal templates and labels."""
        return f"through {self.template!s} {self.words.config()}"


def shared(
    lm: LM, prompt: Prompt, tasks: Sequence[Task], *, part: str, pool: Pool, optim: Optim, steps: int, batch: int,
    seed: int, run: Run,
) -> Prompt:  # fmt: skip
    """The prompt with a part of it trained on several tasks at once: the sum of their losses, `batch` of each a step.

    Of the first task the prompt's template is read, of the others their plain fields between separators. The heads are
    dropped.

    Raises:
        NeedsError: a task whose targets are neither labels nor tags, or that has no train examples.
    """
    for task in tasks:
        if task.kind not in ("label", "tags") or not task.train:
            what = f"targets of kind {task.kind}" if task.train else "no train examples"
            raise NeedsError(f"a part can't be shared with `{task.name}`, which has {what}")
    lists = {"tags": EachPiece(LISTED["tags"])}
    templates = [prompt.template, *(plain(task.fields, lists.get(task.kind)) for task in tasks[1:])]
    names = [f"head-{at}" for at in range(len(tasks))]
    heads = {
        name: head(lm, len(task.labels), seed=seed + at)
        for at, (name, task) in enumerate(zip(names, tasks, strict=True))
    }
    terms = [
        Term(task.train, Through(template=template, words=classifier(task, pool, name)), batch=batch)
        for task, template, name in zip(tasks, templates, names, strict=True)
    ]  # fmt: skip
    whole = replace(prompt, parts={**prompt.parts, **heads})
    settings = dict.fromkeys((part, *names), optim)
    tuned = tune(whole, lm, terms, optim=settings, steps=steps, seed=seed, flat=None, run=run)
    return prompt.plus(**{part: tuned.parts[part]})

"""Labels as sentences that follow from a text or don't: how that is asked, by what head it is told, and its loss."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from warnings import warn

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from promptatlas.data.descriptions import Descriptions, added
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import One, View
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.parts.weights import full, onto
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import plain
from promptatlas.prompting.rows import Line
from promptatlas.score.soft import POOLS, Classifier, Pool
from promptatlas.score.words import Words
from promptatlas.text.pieces import LabelPiece, SlotPiece, TextPiece
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Template
from promptatlas.train.loss import Batch, Loss, nll, right

RELATION = ("entailment", "not_entailment")  # the labels of a head that learns no more
DESCRIBE = 'descriptions={"label": "a sentence that says what it means", ...}'


@dataclass(frozen=True)
class Asked:
    """How a task is asked: its template, and the view that makes one answer of rows."""

    template: Template
    view: View


def ask(task: Task, prompt: Prompt, texts: Mapping[str, str], entailed: str) -> Asked:
    """How a task is asked: by descriptions of its labels, or as a relation of two texts.

    Args:
        task: the task.
        prompt: its fields are shown.
        texts: label -> description.
        entailed: the label of a relation under which the second text follows from the first; "" for descriptions.

    Raises:
        SettingError: what doesn't fit the task, or both.
    """
    if entailed and texts:
        raise SettingError("`entailed` and `descriptions` are both given", hint="two texts need no descriptions")
    return paired(task, prompt, entailed) if entailed else described(task, prompt, texts)


def described(task: Task, prompt: Prompt, texts: Mapping[str, str]) -> Asked:
    """A description a label behind the prompt's fields; those that aren't given are what the prompt says of a label.

    Raises:
        SettingError: a label without description, two with the same, or one that isn't there.
    """
    view = prompt.view
    found = texts or (view.texts if isinstance(view, Descriptions) else sentences(prompt))
    if not texts:
        found = {label: text for label, text in found.items() if label in task.labels}
    shown = "description" if "description" not in task.fields else "label_description"
    before = " ".join(f"{{{name}}}" for name in prompt.template.fields if name not in added(view))
    return Asked(Template.parse(f"{before}{{sep}}{{{shown}!}}"), Descriptions(task.labels, found, shown))


def paired(task: Task, prompt: Prompt, entailed: str) -> Asked:
    """Two texts, of which the second follows from the first where the label is `entailed`.

    Raises:
        SettingError: no such label, or another number of fields.
    """
    fields = [name for name in task.fields if name in prompt.template.fields]
    if len(fields) != 2:
        said = ", ".join(f"`{name}`" for name in fields) or "none"
        raise SettingError(
            f"of two texts one may follow from the other, and the prompt shows of `{task.name}`: {said}",
            hint=f"describe the labels instead: {DESCRIBE}",
        )
    if entailed not in task.labels:
        raise SettingError(f"`{entailed}` is no label of `{task.name}`", hint=near(entailed, task.labels))
    return Asked(plain(fields), Descriptions(task.labels, {entailed: ""}) if len(task.labels) == 2 else One())


def sentences(prompt: Prompt) -> dict[str, str]:
    """Label -> what the prompt's template says of it: its own words with the label's word at the slot, without fields.

    Raises:
        SettingError: these are no label words, or the template has no slot.

    >>> from promptatlas.prompting.make import prompt
    >>> sentences(prompt("{text} It was {mask}.", {"up": "great", "down": ["bad", "poor"]}))
    {'up': 'It was great.', 'down': 'It was bad.'}
    """
    if not isinstance(prompt.words, Words) or not prompt.template.slots:
        raise SettingError("the labels have no descriptions, and no words they could be made of", hint=DESCRIBE)
    kept = Template(tuple(one for one in prompt.template.pieces if isinstance(one, TextPiece | SlotPiece | LabelPiece)))
    runs = {label: kept.render({}, word=prompt.words.word(label)) for label in prompt.labels}
    texts = {label: "".join(run.text for run in some if isinstance(run, TextRun)) for label, some in runs.items()}
    return {label: " ".join(text.split()) for label, text in texts.items()}


def tells(prompt: Prompt, label: str) -> str | None:
    """What the prompt's head calls "it follows"; None where it has no such head, or none over trained weights.

    Args:
        prompt: any.
        label: what it is called where the head's labels are those of a relation.
    """
    if not isinstance(prompt.words, Classifier) or not {"weights", "head"} <= prompt.parts.keys():
        return None
    name = prompt.view.right if isinstance(prompt.view, Descriptions) else label
    return name if name in prompt.words.labels else None


def pose(
    prompt: Prompt, lm: LM, asked: Asked, start: Prompt | None, labels: tuple[str, ...], *, label: str,
    pool: Pool | None, seed: int,
) -> Prompt:  # fmt: skip
    """The prompt that asks so, by the head and the weights of a start, or by a fresh head.

    Args:
        prompt: where there is no start, its weights are where training begins.
        lm: the model.
        asked: how.
        start: what learned a relation of texts; None: nothing did.
        labels: the task's, which a relation of more than two labels is told by itself.
        label: see `tells`.
        pool: the state a fresh head reads; None: what suits the kind of model.
        seed: of a fresh head.
    """
    begun = prompt if start is None else start
    view, wanted = asked.view, labels
    if isinstance(view, Descriptions):
        wanted = RELATION if start is None else start.words.labels
        view = replace(view, right=RELATION[0] if start is None else tells(start, label) or "")
    if start is not None and set(start.words.labels) == set(wanted):
        words, made = start.words, start.parts["head"]
    else:
        words, made = Classifier(labels=wanted, pool=pool or POOLS[lm.kind]), head(lm, len(wanted), seed=seed)
        if start is not None:
            warn("the start's head tells other labels than the task has: a fresh one is used", stacklevel=3)
    parts = {"weights": onto(full(lm), begun.parts.get("weights")), "head": made}
    past = prompt.history if begun is prompt else (*prompt.history, *begun.history)
    return Prompt(template=asked.template, words=words, parts=parts, view=view, between=prompt.between, history=past)


def loss(prompt: Prompt, negatives: int) -> Loss:
    """What a posed prompt is trained by; `negatives` beyond the labels there are are left out with a warning.

    Raises:
        SettingError: there is none to tell an example's own label from.
    """
    if not isinstance(prompt.view, Descriptions):
        return nll
    if negatives < 1:
        raise SettingError(f"`negatives` is {negatives}", hint="it is 1 or more")
    most = len(prompt.labels) - 1
    if negatives > most:
        warn(f"`negatives` is {negatives}, and an example has {most} other labels: all are taken", stacklevel=3)
    return Entailed(min(negatives, most))


def entailment(odds: Float[Tensor, " pairs"], follows: Bool[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """Binary cross-entropy of each pair, of the log-odds that it follows.

    >>> losses = entailment(torch.tensor([2.0, 0.5]), torch.tensor([True, False]))
    >>> [round(one, 6) for one in losses.tolist()], round(float(losses.mean()), 6)
    ([0.126928, 0.974077], 0.550502)
    """
    return torch.nn.functional.softplus(torch.where(follows, -odds, odds))


@dataclass(frozen=True)
class Entailed:
    """EFL's loss: an example's own description follows from it, and others that are drawn anew each time don't.

    Wang, Fang, Khabsa, Mao & Ma 2021, arXiv:2104.14690.

    Attributes:
        negatives: descriptions of other labels an example; no more than there are.
    """

    negatives: int = 1

    def key(self) -> str:
        """The same for equal settings."""
        return f"entailed {self.negatives}"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """The mean over an example's pairs.

        Raises:
            SettingError: the prompt's labels have no descriptions.
            DataError: an example whose target is no label.
        """
        view = prompt.view
        if not isinstance(view, Descriptions):
            raise SettingError("this prompt's labels have no descriptions", hint="view=Descriptions(labels, texts)")
        places = right(prompt, batch.examples)
        pairs = [
            (row, label == view.labels[place])
            for at, (one, place) in enumerate(zip(batch.examples, places, strict=True))
            for label, row in self._rows(view, one, view.labels[place], batch.own(at))
        ]
        lines = [Line(prompt.template, row) for row, _ in pairs]
        scores = prompt.reader(lm).fold(lines, mass=False)  # [pairs, labels of the head]
        odds = view.odds(scores, prompt.words.labels)
        follows = torch.tensor([so for _, so in pairs], device=odds.device)
        return entailment(odds, follows).reshape(len(batch.examples), -1).mean(1)

    def _rows(self, view: Descriptions, example: Example, own: str, draw: torch.Generator) -> list[tuple[str, Example]]:
        """The rows that are read of an example, with their labels: its own and some others, or the one there is."""
        rows = dict(zip(view.described, view.rows(example), strict=True))
        if len(rows) < len(view.labels):
            return list(rows.items())
        others = [label for label in rows if label != own]
        order = torch.randperm(len(others), generator=draw)[: self.negatives].tolist()
        return [(label, rows[label]) for label in (own, *(others[at] for at in order))]

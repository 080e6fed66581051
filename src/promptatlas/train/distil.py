"""Teachers that label text together, and a student that learns from them: what PET and its generations have in common.

Schick & Schütze 2021, arXiv:2001.07676; words of several tokens: Schick & Schütze 2021, arXiv:2009.07118.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from promptatlas.artifact.folder import write
from promptatlas.data.draw import few_shot
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import ArtifactError, NeedsError, SettingError, TemplateError
from promptatlas.lm.ask import Order
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import answering, plain
from promptatlas.prompting.make import check_fit
from promptatlas.score.soft import POOLS, Classifier
from promptatlas.score.words import Words
from promptatlas.text.template import Template
from promptatlas.train.em import accuracy
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import margin, masked_lm, nll, soft
from promptatlas.train.optim import Optim, each
from promptatlas.train.run import Run

ALPHA = 1e-4  # the released code gives its complement, 0.9999
SCORES = "scores.safetensors"

LabelWords = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, eq=False)
class Teacher:
    """Who will label text.

    Attributes:
        prompt: pattern and words, untrained.
        weight: how much it counts among the others.
    """

    prompt: Prompt
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """How all teachers of a fit are trained.

    Attributes:
        lm: the model, from which each starts anew.
        texts: without labels; for the auxiliary loss, and to be labelled.
        alpha: weight of the masked-LM loss on the texts in the teacher's pattern; that of the labels' is 1 - alpha.
        steps: of training.
        batch: labelled examples a step.
        unlabeled_batch: texts a step.
        optim: what moves the weights.
        run: keeps what is done.
    """

    lm: LM
    texts: Sequence[Example]
    alpha: float
    steps: int
    batch: int
    unlabeled_batch: int
    optim: Optim
    run: Run

    def taught(self, teacher: Prompt, labelled: Sequence[Example], seed: int) -> Prompt:
        """A teacher trained on these examples; weights the prompt has already are where it starts.

        Words of several tokens are learned in a masked model by a margin over the other labels, in one pass over as
        many masks as the longest has.
        """
        given, loss = (teacher.words, nll)
        if isinstance(given, Words) and self.lm.kind == "masked" and _long(given, self.lm, teacher.template):
            teacher, loss = replace(teacher, words=replace(given, several="widest")), margin
        terms = [Term(labelled, loss, weight=1 - self.alpha, batch=self.batch)]
        if self.alpha:
            terms.append(Term(self.texts, masked_lm, weight=self.alpha, batch=self.unlabeled_batch))
        start = teacher if "weights" in teacher.parts else teacher.plus(weights=full(self.lm))
        tuned = tune(
            start, self.lm, terms, optim={"weights": self.optim}, steps=self.steps, seed=seed, flat=None, run=self.run
        )
        return replace(tuned, words=given)

    def opinion(
        self, key: str, teacher: Prompt, labelled: Sequence[Example], seed: int
    ) -> Float[Tensor, "texts labels"]:
        """What a teacher says of every text, as log-probabilities: a stage, of which nothing but this is kept."""

        def make() -> Tensor:
            return scored(self.taught(teacher, labelled, seed), self.lm, self.texts)

        return self.run.stage(key, make, save=_save, load=_load)


def teachers(
    prompt: Prompt, lm: LM, task: Task, patterns: Sequence[str], words: Sequence[LabelWords], *, several: Order,
    uniform: bool, repeats: int,
) -> list[Teacher]:  # fmt: skip
    """Every pattern, the prompt's own first, with every choice of words, `repeats` times each.

    Each counts by its accuracy on the labelled examples before training: after it, all few are right. Where there are
    none, or no pattern is ever right, all count alike. Demonstrations and calibrations are dropped.

    Raises:
        NeedsError: the prompt has no label words.
        SettingError: no repeats, or words for other labels.
        TemplateError: a pattern that can't be read, with another number of slots than one, or with an unknown field.
        WordError: words that can't be read, or two labels whose words are the same tokens.
    """
    if not isinstance(prompt.words, Words):
        raise NeedsError(
            "patterns are read through label words, and this prompt has none", hint="give each label a word"
        )
    if repeats < 1:
        raise SettingError(f"`repeats` is {repeats}", hint="it is 1 or more")
    own = prompt.words
    every = [own, *(replace(own, words=_ordered(one, own.labels), weights=None) for one in words)]
    bare = replace(prompt, demos=NoDemos(), calibration=())
    found = []
    for template in (prompt.template, *map(Template.parse, patterns)):
        if len(template.slots) != 1:
            hint = 'put one {mask} into it (on the command line, a pattern with commas goes into a list: ["…", "…"])'
            raise TemplateError(f"the pattern `{template}` has {len(template.slots)} slots, not one", hint=hint)
        for some in every:
            some = replace(some, several=several) if _long(some, lm, template) else some
            found.append(replace(bare, template=template, words=some))
            check_fit(found[-1], task)
    weights = [1.0 if uniform or not task.train else accuracy(one, lm, task.train) for one in found]
    weights = weights if any(weights) else [1.0] * len(found)
    return [Teacher(one, weight) for one, weight in zip(found, weights, strict=True) for _ in range(repeats)]


def pool(task: Task, most: int | None, seed: int) -> tuple[Example, ...]:
    """The task's texts without labels, at most so many, drawn at random."""
    if most is not None and most < 1:
        raise SettingError(f"`most_unlabeled` is {most}", hint="it is 1 or more, or none for all")
    texts = task.unlabeled
    return texts if most is None or len(texts) <= most else few_shot(texts, most, seed).drawn


def auxiliary(alpha: float | None, lm: LM, texts: Sequence[Example]) -> float:
    """The weight of the masked-LM loss: where it isn't told, PET's, and 0 where a model or the task has no way to it.

    Raises:
        SettingError: it isn't from 0 up to 1.
        NeedsError: it is told, and the model has no mask, or the task no texts.
    """
    possible = lm.kind == "masked" and bool(texts)
    if alpha is None:
        return ALPHA if possible else 0.0
    if not 0 <= alpha < 1:
        raise SettingError(f"`alpha` is {alpha}", hint="it is 0 or more, and below 1")
    if alpha and not possible:
        what = f"`{lm.name}` has no mask" if lm.kind != "masked" else "there are no unlabeled examples"
        raise NeedsError(f"the masked-LM loss can't be had: {what}", hint="set alpha=0")
    return alpha


def scored(prompt: Prompt, lm: LM, texts: Sequence[Example]) -> Float[Tensor, "texts labels"]:
    """A prompt's scores of texts, on the CPU, without gradients."""
    with torch.no_grad():
        return prompt.score(lm, texts).float().cpu()


def merged(
    opinions: Sequence[Float[Tensor, "texts labels"]], weights: Sequence[float]
) -> Float[Tensor, "texts labels"]:
    """The weighted mean of scores. What a teacher's are off by, for all labels alike, is nothing to their softmax.

    >>> merged([torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 0.0]])], [0.5, 0.75]).tolist()
    [[1.600000023841858, 1.2000000476837158]]
    """
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    return (torch.stack(list(opinions), -1).double() @ shares).float()


def told(staff: Sequence[Teacher], texts: Sequence[Example]) -> dict[str, float | int | str]:
    """What a history says of the teachers: how many, how much each counts, and of how many texts they were asked."""
    return {"teachers": len(staff), "texts": len(texts), "weights": " ".join(f"{one.weight:.4g}" for one in staff)}


def agreement(opinions: Sequence[Float[Tensor, "texts labels"]], target: Float[Tensor, "texts labels"]) -> float:
    """How often teachers find likeliest what they do together."""
    same = [(one.argmax(-1) == target.argmax(-1)).float().mean() for one in opinions]
    return float(torch.stack(same).mean())


def student(
    staff: Sequence[Teacher], lessons: Lessons, target: Float[Tensor, "texts labels"], *, temperature: float,
    steps: int, batch: int, head_lr: float, seed: int,
) -> Prompt:  # fmt: skip
    """A classifier that learns what the teachers say of the texts, from the model as it was at first; it sees no label.

    It reads the fields that any pattern shows, plain. Weights the prompt has already are where it starts, as they are
    for the teachers.
    """
    prompt, lm = staff[0].prompt, lessons.lm
    fields = dict.fromkeys(field for one in staff for field in one.prompt.template.fields)
    weights = prompt.parts["weights"] if "weights" in prompt.parts else full(lm)
    bare = replace(prompt, template=plain(tuple(fields)), parts={"weights": weights})
    optim = each({"weights": lessons.optim.lr, "head": head_lr}, weight_decay=lessons.optim.weight_decay,
                 schedule="linear", warmup=0.1)  # fmt: skip
    terms = [Term(lessons.texts, soft(target, temperature), batch=batch)]
    words = Classifier(labels=prompt.labels, pool=POOLS[lm.kind])  # in the order of the target's columns
    fresh = answering(bare.plus(head=head(lm, len(prompt.labels), seed=seed)), words)
    return tune(fresh, lm, terms, optim=optim, steps=steps, seed=seed, flat=None, run=lessons.run)


def _long(words: Words, lm: LM, template: Template) -> bool:
    """Whether some word is of several tokens, all of which count."""
    return any(len(ids) > 1 for some in words.tokens(lm, template).values() for ids in some)


def _ordered(words: LabelWords, labels: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Words in the labels' order."""
    if words.keys() != set(labels):
        odd = sorted(words.keys() ^ set(labels))[0]
        raise SettingError(f"`words` and the prompt don't have the same labels: `{odd}` is in one of them only",
                           hint="give every label its words: " + ", ".join(f"`{one}`" for one in labels))  # fmt: skip
    return Words.of({label: words[label] for label in labels}).words


def _save(scores: Tensor, folder: Path) -> None:
    write(folder / SCORES, to_bytes({"scores": scores.contiguous()}))


def _load(folder: Path) -> Tensor:
    try:
        return from_bytes((folder / SCORES).read_bytes())["scores"]
    except (OSError, KeyError, SafetensorError) as error:
        hint = "delete its folder; it will be made again"
        raise ArtifactError(f"`{folder / SCORES}` is not whole: {error}", hint=hint) from error

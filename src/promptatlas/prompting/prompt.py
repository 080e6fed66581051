"""The prompt itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.data.descriptions import Descriptions, added, labelled
from promptatlas.data.example import Example
from promptatlas.data.view import Answer, One, Tags, View
from promptatlas.demos.pick import Demos, NoDemos
from promptatlas.errors import ArtifactError, DataError, SettingError
from promptatlas.lm.ask import Decode, Text
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.prompting.draws import read
from promptatlas.prompting.history import Step, model, plain
from promptatlas.prompting.rows import Line, Reader, Verbalizer
from promptatlas.prompting.writing import matched, texts, written
from promptatlas.score.calibrate import Calibration
from promptatlas.score.chains import Chains
from promptatlas.score.own import Own
from promptatlas.score.phrases import Phrases
from promptatlas.score.words import Words
from promptatlas.text.runs import Runs
from promptatlas.text.template import Template

Given = Example | str | Mapping[str, object] | Iterable[Example | str | Mapping[str, object]]
BETWEEN = Template.parse("\n\n")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """All that was learned or chosen for a task. Holds names and values: no model, no closure.

    Attributes:
        template: the prompt's text.
        words: what stands for the labels.
        parts: what was learned or found, by the name the template calls it.
        demos: examples shown in the context.
        between: text, and parts, after each demonstration.
        calibration: applied to the labels' mass, one after the other.
        view: one example as one row or many.
        history: which methods made it, on which model and data.
    """

    template: Template
    words: Verbalizer
    parts: Mapping[str, Part] = field(default_factory=dict)
    demos: Demos = field(default_factory=NoDemos)
    between: Template = BETWEEN
    calibration: tuple[Calibration, ...] = ()
    view: View = field(default_factory=One)
    history: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mapping of parts; refuse a calibration of tags."""
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))
        if self.calibration and isinstance(self.view, Tags):
            raise SettingError("scores of tags can't be calibrated", hint="leave `calibration` out")

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores; empty where each example brings its own choices, or texts are written."""
        return () if self.writes else labelled(self.view, self.words.labels)

    @property
    def fields(self) -> tuple[str, ...]:
        """What an example must have: what the template shows and no view adds; the text that is scored at the slot."""
        scored = [self.words.field] if isinstance(self.words, Own) and isinstance(self.view, Descriptions) else []
        return tuple(name for name in dict.fromkeys([*self.template.fields, *scored]) if name not in added(self.view))

    @property
    def writes(self) -> bool:
        """Whether its answers are texts it writes: there are neither words for labels nor choices to compare."""
        return isinstance(self.words, Own) and isinstance(self.view, One | Chains)

    def trainable(self) -> dict[str, nn.Module]:
        """The parts with something to train, by name."""
        modules = {name: part for name, part in self.parts.items() if isinstance(part, nn.Module)}
        return {name: one for name, one in modules.items() if any(p.requires_grad for p in one.parameters())}

    def plus(self, **parts: Part) -> "Prompt":
        """With parts added or replaced."""
        return replace(self, parts={**self.parts, **parts})

    def lead(self, **part: Part) -> "Prompt":
        """With a part put first in the template, or where the template has it already."""
        template = self.template
        for name in part:
            template = template if name in template.parts else template.lead(name)
        return replace(self, template=template).plus(**part)

    def noted(self, lm: LM, method: Any, task: str, **figures: float | int | str) -> "Prompt":
        """With one more step in its history, of the method (a dataclass of settings) whose `fit` made it.

        Seconds are left out of the figures: the same seed gives the same bytes.
        """
        settings = {one.name: plain(getattr(method, one.name)) for one in fields(method)}
        kept = {name: figure for name, figure in figures.items() if name != "seconds"}
        step = Step(method=method.name, settings=settings, lm=model(lm), task=task, figures=kept)
        return replace(self, history=(*self.history, step))

    def mass(self, lm: LM, examples: Given) -> Float[Tensor, "examples labels"]:
        """Log-probability mass of each label under the model, before calibration; not normalised over labels.

        Of tags a row an item that was read, the examples' one behind the other.
        """
        return read(lm, [self], self.examples(examples), whole=True)[0].mass

    def score(self, lm: LM, examples: Given) -> Float[Tensor, "examples answers"]:
        """Log-probabilities of the labels, or of each example's own choices (all must have as many).

        Under a calibration that isn't `proper` (PMI, "identity") they are brought to sum to one, and only rank.

        Raises:
            ArtifactError: the prompt was learned on another model.
            SettingError: the answers are tags, which are scored item by item (`prompting.items`).
        """
        return scored(lm, [self], self.examples(examples))[0]

    def predict(self, lm: LM, examples: Given, *, abstain: float = 0.0, how: Decode | None = None) -> list[Answer]:
        """An answer an example; a plain text is the template's one field.

        Args:
            lm: the model.
            examples: examples, mappings of fields, or texts; a single one is a list of one.
            abstain: where all labels together have less probability than this, the answer's value is None.
            how: how texts are written, where those are the answers; where not told the likeliest token at a time, and
                chains of reasoning as the prompt says.
        """
        self.check(lm)
        wanted = self.examples(examples)
        if abstain > 0 and (self.writes or not isinstance(self.words, Words | Own | Phrases)):
            raise SettingError("only label words have a mass to abstain by, and this prompt has none", hint="abstain=0")
        if isinstance(self.words, Phrases) and self.words.by == "write" and not abstain:
            return matched(self, self.words, lm, wanted, how)
        if self.writes or how is not None:
            return written(self, lm, wanted, how)
        with torch.no_grad():
            (found,) = read(lm, [self], wanted, whole=abstain > 0)
            scores = found.settled()
            owners = self.reader(lm).items(found.lines) if isinstance(self.view, Tags) else found.owners
            total = found.mass.exp().sum(-1) if abstain > 0 else None
        answers = [
            self.view.fold(one, scores[start:end], self.words.labels)
            for one, (start, end) in zip(wanted, owners, strict=True)
        ]
        if not all(one.proper for one in self.calibration):
            answers = [
                replace(one, why="the calibration's scores only rank: these are no probabilities") for one in answers
            ]
        if total is None:
            return answers
        shares = [float(total[start:end].max()) for start, end in owners]
        return [one if share >= abstain else _abstained(one, share) for one, share in zip(answers, shares, strict=True)]

    def generate(self, lm: LM, examples: Given, how: Decode) -> list[list[Text]]:
        """Texts written on from the slot, `how.n` an example."""
        self.check(lm)
        return texts(self, lm, self.examples(examples), how)

    def examples(self, given: Given) -> list[Example]:
        """Examples of texts or of fields; a single one is a list of one.

        Raises:
            DataError: something else, a missing value say.
        """
        return [self._example(one) for one in ([given] if isinstance(given, str | Mapping | Example) else given)]

    def _example(self, one: object) -> Example:
        if isinstance(one, Example):
            return one
        if isinstance(one, Mapping):
            return Example(dict(one))
        if not isinstance(one, str):
            raise DataError(f"`{one!r}` is no example", hint="give texts, mappings of fields, or examples")
        return Example({self.template.only_field(added(self.view), self.fields): one})

    def check(self, lm: LM) -> None:
        """Refuse a model other than the one the prompt was learned on. Raises ArtifactError naming both."""
        if not self.history or not (self.parts or self.calibration or self.demos.tensors()):
            return
        made, here = self.history[-1].lm, lm.identity
        name = made.get("name")
        for what in ("weights", "tokenizer"):
            if made.get(what) != here[what]:
                raise ArtifactError(
                    f"this prompt was learned on `{name}`, and `{lm.name}` has other {what}: "
                    f"{here[what]}, not {made.get(what)}",
                    hint=f"load `{name}`, or fit the prompt again on `{lm.name}`",
                )

    def render(self, lm: LM, example: Example) -> Runs:
        """The example's (first) row as text runs, demonstrations included."""
        return self.reader(lm).runs(self.lines(lm, [example])[0][0])

    def reader(self, lm: LM) -> Reader:
        """What reads this prompt's rows."""
        return Reader(lm, self.words, self.parts, self.between, self.demos.drop)

    def lines(self, lm: LM, examples: Sequence[Example]) -> tuple[list[Line], list[tuple[int, int]]]:
        """All rows of examples with their demonstrations, and of each example where its rows begin and end."""
        rows: list[Example] = []
        owners = []
        for example in examples:
            mine = self.view.rows(example)
            owners.append((len(rows), len(rows) + len(mine)))
            rows += mine
        demos = self.demos.pick(lm, rows)
        return [Line(self.template, row, shown) for row, shown in zip(rows, demos, strict=True)], owners

    @property
    def key(self) -> str:
        """A hash of everything the answers depend on: history is left out."""
        digest = sha256(repr((str(self.template), str(self.between))).encode())
        named = {f"part {name}": part for name, part in self.parts.items()} | {
            f"calibration {i}": c for i, c in enumerate(self.calibration)
        }
        for name, one in {"words": self.words, "demos": self.demos, "view": self.view, **named}.items():
            digest.update(repr((name, one.kind, one.version, plain(one.config()))).encode())
            for tensor_name, tensor in sorted(one.tensors().items()):
                digest.update(tensor_name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        """Equal where everything the answers depend on is."""
        return isinstance(other, Prompt) and self.key == other.key

    def __hash__(self) -> int:
        """Of the key."""
        return hash(self.key)


def scored(lm: LM, prompts: Sequence[Prompt], examples: Sequence[Example]) -> list[Float[Tensor, "examples answers"]]:
    """`Prompt.score` of several prompts, the rows of all read in one call."""
    return [one.scores() for one in read(lm, prompts, examples)]


def _abstained(answer: Answer, share: float) -> Answer:
    return replace(answer, value=None, why=f"all labels together have a probability of {share:.2g}")

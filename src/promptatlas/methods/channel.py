"""Channel: labels are ranked by how likely they make the input, and not by how likely the input makes them.

Min, Lewis, Hajishirzi & Zettlemoyer 2022, "Noisy Channel Language Model Prompting for Few-Shot Text Classification",
arXiv:2108.04106.

Learns: nothing; turns the prompt's template, and the demonstrations it has ("concat" in the paper).
Needs: label words, and a model that writes; any prompt, so `in_context` may come before.
Relations: `pmi` divides by what the domain alone says, an estimate of the same from the other side;
`contextual_calibration` takes the labels' bias out of direct scores, which here has no place to enter.
Differs: a seq2seq model reads the label and writes the input. No ensemble over demonstrations; labels have the same
prior. Scores are sums over all tokens of a text, so that of long ones probabilities are near 0 or 1, and only rank.

Example:
    >>> import promptatlas
    >>> promptatlas.method("channel", template="It was {word!}. {mask}").shown
    'word'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.descriptions import Descriptions
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed, NoDemos
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.turn import turned
from promptatlas.score.own import Own
from promptatlas.text.template import Template
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Settings of channel scoring.

    Attributes:
        field: the one whose tokens are scored; "": the only one the prompt's template shows.
        template: how a label's word is shown before the text, `It was {word!}. {mask}`, where `{mask}` is the text;
            "": the prompt's own, its label in its place, with a full stop, and the text put last.
        shown: the field a label's word is called by.
    """

    field: str = ""
    template: str = ""
    shown: str = "word"

    name: ClassVar[str] = "channel"
    needs: ClassVar[Needs] = Needs(kinds=("causal", "seq2seq"), can=("logits",))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Turn the prompt; a calibration it had was of labels' words, and is dropped."""
        self.needs.check(self.name, lm, task, prompt)
        words = {label: _word(prompt, label) for label in task.labels}
        field = self._field(prompt, task)
        template = Template.parse(self.template) if self.template else turned(prompt.template, field, self.shown)
        if template.slots != ("",) or self.shown not in template.fields or field in template.fields:
            hint = f"as in `It was {{{self.shown}!}}. {{mask}}`"
            raise SettingError(f"`{template}` doesn't show a label before the text of `{field}`", hint=hint)
        made = Prompt(
            template=template, words=Own(field=field), parts=prompt.parts, between=prompt.between,
            demos=self._demos(lm, prompt, field), view=Descriptions(task.labels, words, self.shown),
            history=prompt.history,
        )  # fmt: skip
        return made.noted(lm, self, task.identity())

    def _field(self, prompt: Prompt, task: Task) -> str:
        """What is scored."""
        field = self.field or prompt.template.only_field()
        if field not in task.fields:
            raise SettingError(f"`{field}` is no field of `{task.name}`", hint=near(field, task.fields))
        return field

    def _demos(self, lm: LM, prompt: Prompt, field: str) -> NoDemos | Fixed:
        """The prompt's demonstrations, a label's word first, and then the text in the place of an answer."""
        if not prompt.demos.fixed:
            told = "the demonstrations are drawn for each input, and would have to be turned for each"
            raise SettingError(f"`{self.name}`: {told}", hint="show the same to all: in_context, each=False")
        (shown,) = prompt.demos.pick(lm, [Example({})])
        kept = [
            replace(
                one,
                fields={name: value for name, value in one.fields.items() if name != field}
                | {self.shown: _word(prompt, str(one.target))},
                target=str(one.fields[field]),
            )
            for one in shown
        ]
        return Fixed(tuple(kept)) if kept else NoDemos()


def _word(prompt: Prompt, label: str) -> str:
    word = prompt.words.word(label)
    if not isinstance(word, str):
        raise SettingError(f"`{label}` has a word at each of several slots", hint="give it one word")
    return word

"""PTR: a label is a rule, several words said at once: what the one is, how they stand to each other, what the other is.

Han, Zhao, Ding, Liu & Sun 2021, "PTR: Prompt Tuning with Rules for Text Classification", arXiv:2105.11259.

Learns: all weights (part `weights`).
Needs: a masked model, labelled examples, a template with several slots (or sub-prompts that are joined to one) and a
word a slot for every label, each one token.
Relations: `pattern_tuning` takes the same prompt and has the second half of the loss alone; `knowprompt` learns what a
relation is called.
Differs: words are scored by the model's whole head, not by its last states and the input vectors; what is too long is
cut at the end of the fields that may be cut. No vectors of its own. The model stays in evaluation mode; rate, steps and
batch suit small models.

Example:
    >>> import promptatlas
    >>> ptr = promptatlas.method(
    ...     "ptr",
    ...     prompts=("{text}", " The {mask:a} {head!}", " {mask:b}", " the {mask:c} {tail!}."),
    ...     rules={"holds": ("box", "around", "thing"), "held": {"reversed": "holds"}},
    ... )
    >>> ptr.slots
    1.0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import check_fit
from promptatlas.score.slots import SlotWords, slotted
from promptatlas.text.compose import Rules
from promptatlas.train.loop import Term, tune
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.slotwise import Slotwise


@dataclass(frozen=True, kw_only=True)
class PTR:
    """Settings of PTR.

    Attributes:
        prompts: sub-prompts, joined as they are written; none: the prompt's own template.
        rules: label -> its words, a phrase a sub-prompt with slots, or `{"reversed": label}`: another's in reverse;
            None: the prompt's own words.
        slots: weight of the loss at the slots, beside that of the label.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate, which falls linearly to zero.
        weight_decay: of the weights, biases and gains excepted.
        warmup: share of the steps in which the rate rises.
        seed: of the batches.
    """

    prompts: tuple[str, ...] = ()
    rules: Mapping[str, Any] | None = None
    slots: float = 1.0
    steps: int = 200
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "ptr"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient", "weights"),
        splits=("train",),
        parts={"weights": ("values",)},
        instead={"causal": ("pattern_tuning",), "seq2seq": ("pattern_tuning",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released command, on one of its eight processes
        "steps": 4000, "lr": 3e-5, "warmup": 0.125,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the weights; where the prompt has the part `weights` already, that is where training starts."""
        run = run or Run()
        prompt = self._ruled(replace(prompt, calibration=()))
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, words=slotted(prompt.words))
        check_fit(prompt, task)
        if "weights" not in prompt.parts:
            prompt = prompt.plus(weights=full(lm))
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, Slotwise(self.slots), batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim={"weights": optim}, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)

    def _ruled(self, prompt: Prompt) -> Prompt:
        """The prompt with the template and the words of the rules."""
        if self.rules is None and not self.prompts:
            return prompt
        rules = self.rules if self.rules is not None else slotted(prompt.words).words
        made = Rules.of(self.prompts or (str(prompt.template),), rules)
        return replace(prompt, template=made.template, words=SlotWords(words=made.words))

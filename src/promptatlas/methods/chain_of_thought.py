"""Chain of thought: the prompt reasons in writing before it answers, and the answer is read off what it wrote.

Wei et al. 2022, "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", arXiv:2201.11903; without
examples Kojima et al. 2022, "Large Language Models are Zero-Shot Reasoners", arXiv:2205.11916.

Learns: nothing; shows `k` training examples with their reasoning, or asks for it by a sentence and in a second call for
the answer.
Needs: a model that writes, a task of texts; for `k` above 0 a field with the reasoning in the training examples.
Relations: `in_context` shows answers alone; `self_consistency` draws many chains and lets them vote.
Differs: what is shown is drawn from the training examples, where the papers' authors wrote eight; no calculator.

Example:
    >>> import promptatlas
    >>> promptatlas.method("chain_of_thought", k=4, form="{steps} The answer is {label}.").answer
    'number'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.text.pattern import Pattern
from promptatlas.train.needs import Needs
from promptatlas.train.reasoned import EXTRACT, few_shot, zero_shot
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class ChainOfThought:
    r"""Settings of chain of thought.

    Attributes:
        k: chains shown, the oldest left out where the window is short; 0: none, a sentence asks for one.
        form: what is shown of an example: a template of its fields and `{label}`, the answer.
        trigger: of k=0: the sentence that asks for a chain, in front of the slot.
        extract: of k=0: what is said behind the chain to hear the answer; None: the paper's for this kind of answer,
            "": it is read off the chain.
        answer: what is read: the last "number", the letter of an "option", or a "text" up to its sentence's end.
        pattern: a regular expression that reads it in place of the kind's own: the first group that takes part in a
            match, without groups all of it.
        max_new: most tokens of a chain.
        seed: of the draw.
    """

    k: int = 8
    form: str = "{rationale} The answer is {label}."
    trigger: str = "Let's think step by step."
    extract: str | None = None
    answer: Literal["number", "option", "text"] = "number"
    pattern: str = ""
    max_new: int = 128
    seed: int = 0

    name: ClassVar[str] = "chain_of_thought"
    needs: ClassVar[Needs] = Needs(kinds=("causal", "seq2seq"), can=("generate",), tasks=("text",))
    published: ClassVar[Mapping[str, object]] = {}  # k=8 (sec. 3.1); greedy

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Let the prompt reason; demonstrations and a calibration it had are dropped."""
        needs = replace(self.needs, splits=("train",)) if self.k else self.needs
        needs.check(self.name, lm, task, prompt)
        then = EXTRACT[self.answer] if self.extract is None else self.extract
        said = Pattern.of(self.answer, self.pattern, alone=not self.k and bool(then))
        if self.k:
            made = few_shot(lm, task, prompt, k=self.k, form=self.form, said=said, max_new=self.max_new, seed=self.seed)
        else:
            made = zero_shot(lm, prompt, trigger=self.trigger, then=then, said=said, max_new=self.max_new)
        return made.noted(lm, self, task.identity())

"""Self-consistency: many chains of reasoning are drawn, and the answer most of them come to is taken.

Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning in Language Models", arXiv:2203.11171.

Learns: nothing; how chains are drawn and what each counts is kept in the prompt.
Needs: a model that writes, a task of texts; a prompt that reasons, or for `k` above 0 a field with the reasoning in the
training examples.
Relations: goes on from `chain_of_thought`, which writes one chain; a prompt that doesn't reason yet is first made to,
as that does by default.
Differs: 10 chains are drawn where the paper draws 40 (sec. 3.1); no average of the weights of an answer's chains, which
the paper finds worse than their sum (table 1).

Example:
    >>> import promptatlas
    >>> promptatlas.method("self_consistency", paper=True).chains
    40
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.chains import Chains
from promptatlas.text.pattern import Pattern
from promptatlas.train.needs import Needs
from promptatlas.train.reasoned import EXTRACT, TRIGGER, few_shot, zero_shot
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class SelfConsistency:
    """Settings of self-consistency.

    Attributes:
        chains: drawn for each input; 1 at temperature 0 is the greedy chain.
        temperature: they are drawn at (the paper: 0.5 or 0.7, by model).
        top_k: tokens they are drawn among, the likeliest; 0: all (the paper: 40, or all).
        vote: a chain counts 1 ("majority"), its probability ("weighted"), or that normalised for its length
            ("normalised").
        early: stop drawing where the answer that leads can't be reached any more.
        k: of a prompt that doesn't reason yet: chains shown, 0 for none (as `chain_of_thought`).
        form: of k above 0: what is shown of an example, a template of its fields and `{label}`.
        answer: of such a prompt: what is read, a "number", an "option" or a "text".
        max_new: of such a prompt: most tokens of a chain.
        seed: of the chains, and of the draw of what is shown.
    """

    chains: int = 10
    temperature: float = 0.7
    top_k: int = 0
    vote: Literal["majority", "weighted", "normalised"] = "majority"
    early: bool = False
    k: int = 8
    form: str = "{rationale} The answer is {label}."
    answer: Literal["number", "option", "text"] = "number"
    max_new: int = 128
    seed: int = 0

    name: ClassVar[str] = "self_consistency"
    needs: ClassVar[Needs] = Needs(kinds=("causal", "seq2seq"), can=("generate",), tasks=("text",))
    published: ClassVar[Mapping[str, object]] = {"chains": 40}  # sec. 3.1

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Let the prompt's chains vote."""
        asked = isinstance(prompt.view, Chains)
        needs = replace(self.needs, splits=("train",)) if self.k and not asked else self.needs
        needs.check(self.name, lm, task, prompt)
        made = prompt if asked else self._reasoning(lm, task, prompt)
        view = cast(Chains, made.view)
        how = replace(view.how, n=self.chains, temperature=self.temperature, top_k=self.top_k, beams=1, seed=self.seed)
        made = replace(made, view=replace(view, how=how, vote=self.vote, early=self.early))
        return made.noted(lm, self, task.identity())

    def _reasoning(self, lm: LM, task: Task, prompt: Prompt) -> Prompt:
        said = Pattern.of(self.answer, alone=not self.k)
        if self.k:
            return few_shot(lm, task, prompt, k=self.k, form=self.form, said=said, max_new=self.max_new, seed=self.seed)
        return zero_shot(lm, prompt, trigger=TRIGGER, then=EXTRACT[self.answer], said=said, max_new=self.max_new)

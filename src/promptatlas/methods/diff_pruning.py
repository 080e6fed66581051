"""Diff pruning: a difference from every weight is trained behind gates that close, and the few largest are kept.

Guo, Rush & Kim 2021, "Parameter-Efficient Transfer Learning with Diff Pruning", arXiv:2012.07463.

Learns: `share` of all weights (part `diff`), stored as numbers and values of those that differ; and a classifier (part
`head`), dense and at no price, where the words don't answer. Three stages: differences and gates together; the largest
are kept; these alone are trained on.
Needs: labelled examples; any kind of model whose weights can be had, and four times its memory.
Relations: `child_tuning` moves a part of the weights too, and stores all; `lora` and `bitfit` choose beforehand.
Differs: stage three goes on from z·w, where stage two left it (`restart="w"` is the official code's jump); the budget
is exact, by rank and not by bisection; the price of a group is the paper's product (`priced="sum"` is the code's); no
dropout. Rates, price and steps suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("diff_pruning", share=0.01).structured
    True
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.diff import gated, once, projected, sparse
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import generator, nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class DiffPruning:
    """Settings of diff pruning.

    Attributes:
        share: of the weights, the most that differ in the end: 0.005 (sec. 4).
        structured: whether each parameter has a gate as a whole too (sec. 3.3).
        price: of an expected difference; the paper's 1.25e-7 is for 335 million weights, and so 42 for all of them.
        priced: an entry is open where its gate and its group's are ("product"), or each counts by itself ("sum").
        alpha: where gates start: open in 97 of 100 draws.
        restart: where stage three starts: at the kept "delta", z·w, or at "w".
        answer: "words", the prompt's own label words, or "head", a linear classifier of plain fields as in the paper.
        steps: of stage one.
        fixed_steps: of stage three.
        batch: examples a step.
        lr: the highest rate of the differences, which falls linearly.
        gate_lr: of the gates, constant.
        fixed_lr: the highest of stage three.
        head_lr: of the head.
        seed: of gates and batches.
    """

    share: float = 0.005
    structured: bool = True
    price: float = 1e-6
    priced: Literal["product", "sum"] = "product"
    alpha: float = 5.0
    restart: Literal["delta", "w"] = "delta"
    answer: Literal["words", "head"] = "words"
    steps: int = 60
    fixed_steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    gate_lr: float = 0.1
    fixed_lr: float = 1e-3
    head_lr: float = 1e-2
    seed: int = 0

    name: ClassVar[str] = "diff_pruning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"), splits=("train",), tasks=("label", "choice"), parts={"diff": ("sparse",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {  # the official script, but for its 3 epochs each
        "answer": "head", "price": 1.25e-7, "lr": 1e-5, "fixed_lr": 5e-5, "head_lr": 1e-5,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train in three stages; a prompt that has differences already goes on with the third."""
        run = run or Run()
        self.needs.under(self.answer).check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if self.answer == "head":
            prompt = headed(prompt, lm, task, seed=self.seed)
        if "diff" not in prompt.parts:
            prompt = run.stage("chosen", lambda: self._chosen(lm, task, prompt, run))
        kept = {"diff": self._linear(self.fixed_lr)} if "diff" in prompt.trainable() else {}  # all may be pruned
        tuned = self._tuned(lm, task, prompt, kept, self.fixed_steps, run)
        return tuned.noted(lm, self, task.identity(), **run.figures)

    def _chosen(self, lm: LM, task: Task, prompt: Prompt, run: Run) -> Prompt:
        """Stages one and two: differences behind gates (sec. 3.1), and the largest of one draw (sec. 3.2)."""
        diff = gated(lm, alpha=self.alpha, structured=self.structured, price=self.price, priced=self.priced)
        gates, moved = Optim(lr=self.gate_lr), self._linear(self.lr)
        both = prompt.plus(gates=diff.gates, diff=diff)  # gates first: what both hold goes to the first optimiser
        tuned = self._tuned(lm, task, both, {"gates": gates, "diff": moved}, self.steps, run)
        delta, whole = once(tuned.parts["diff"], generator(self.seed, "project"))
        values = delta if self.restart == "delta" else whole
        parts = {name: part for name, part in tuned.parts.items() if name not in ("gates", "diff")}
        return replace(tuned, parts={**parts, "diff": sparse(projected(delta, self.share), values)})

    def _tuned(self, lm: LM, task: Task, prompt: Prompt, optim: Mapping[str, Optim], steps: int, run: Run) -> Prompt:
        head = {"head": self._linear(self.head_lr)} if self.answer == "head" else {}
        if not {**optim, **head}:
            return prompt
        terms = [Term(task.train, nll, batch=self.batch)]
        return tune(prompt, lm, terms, optim={**optim, **head}, steps=steps, seed=self.seed, flat=None, run=run)

    def _linear(self, lr: float) -> Optim:
        return Optim(lr=lr, schedule="linear")

"""Prefix-tuning: keys and values in front of every layer's own are trained for a frozen model that writes.

Li & Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv:2101.00190.

Learns: `length` positions at every place of attention (part `prefix`): of a causal model's, or untied ones of a seq2seq
model's encoder, decoder and cross-attention. They are trained through an MLP that is dropped afterwards.
Needs: examples with texts to write (a model that writes), or labels whose words are written; a way in for prefixes.
Relations: `p_tuning_v2` is the same part under a classifier, mostly without the MLP; `prompt_tuning` trains vectors at
the input alone, the paper's embedding-only ablation.
Differs: rate, batch and steps suit small models and few examples; gradients are clipped. A prefix that the prompt
already has is trained on as it is, without an MLP. A seq2seq model's text keeps its positions.

Example:
    >>> import promptatlas
    >>> promptatlas.method("prefix_tuning", length=5, start="summarize").start
    'summarize'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.prefix import Prefix, of_text
from promptatlas.parts.reparam import MLPPrefix, fitted, flat, origin, started
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.written import Written, pairs


@dataclass(frozen=True, kw_only=True)
class PrefixTuning:
    """Settings of prefix-tuning.

    Attributes:
        length: positions of the prefix; quality rises up to some 10 for tables, 200 for summaries (the paper).
        start: words whose keys and values it starts from, as many positions as they have tokens; "": random numbers.
        mid: width of the MLP's middle (released code: 512); 0 trains keys and values themselves, at a larger `lr`.
        prefit: steps in which the MLP is fitted to the words' keys and values (released code: 500).
        prefit_lr: rate of those (released code: 1e-4).
        dropout: share of keys and values left out in training (released code: 0).
        positions: "shifted", text stands `length` further on (released code), or "unshifted".
        over: a target's loss is the "sum" (released code) or the "mean" over its tokens.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate; it falls linearly.
        seed: of the start, the batches and the dropout.
    """

    length: int = 10
    start: str = ""
    mid: int = 512
    prefit: int = 500
    prefit_lr: float = 1e-4
    dropout: float = 0.0
    positions: Literal["shifted", "unshifted"] = "shifted"
    over: Literal["sum", "mean"] = "sum"
    steps: int = 200
    batch: int = 8
    lr: float = 1e-3
    seed: int = 0

    name: ClassVar[str] = "prefix_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "prefix"),
        splits=("train",),
        tasks=("label", "choice", "text"),
        parts={"prefix": ("prefix", "reparametrised")},
        instead={"prefix": ("prompt_tuning",)},
    )
    # the paper's settings where a task has none of its own, but for its 10 epochs: set `steps` to as many
    published: ClassVar[Mapping[str, object]] = {"lr": 5e-5, "batch": 5}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the part `prefix`; where the prompt has that part already, it is where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        text = task.kind == "text"
        prompt = replace(prompt, calibration=(), view=task.view if text else prompt.view)
        if "prefix" not in prompt.parts:
            prompt = prompt.plus(prefix=self.beginning(lm, prompt))
        terms = [Term(pairs(task.train) if text else task.train, Written(over=self.over, end=text), batch=self.batch)]
        optim = {"prefix": Optim(lr=self.lr, schedule="linear")}
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        kept = tuned.plus(prefix=flat(tuned.parts["prefix"]))
        return kept.noted(lm, self, task.identity(), **origin(prompt.parts["prefix"]), **run.figures)

    def beginning(self, lm: LM, prompt: Prompt) -> Prefix | MLPPrefix:
        """The prefix that training starts from, for a prompt without any; `show` makes it again."""
        words = of_text(lm, self.start, positions=self.positions) if self.start else None
        length, how = self.length if words is None else words.length, self.positions
        made = started(lm, length, mid=self.mid, seed=self.seed, positions=how, dropout=self.dropout)
        if words is None:
            return made
        if isinstance(made, MLPPrefix):
            return fitted(made, words, steps=self.prefit, lr=self.prefit_lr)
        return Prefix(words.tensors(), positions=how, dropout=self.dropout)

"""AutoPrompt: real tokens in the prompt, found by trying those that the gradient points at.

Shin, Razeghi, Logan IV, Wallace & Singh 2020, "AutoPrompt: Eliciting Knowledge from Language Models with Automatically
Generated Prompts", arXiv:2010.15980.

Learns: the tokens of the part `trigger`, at `{@trigger}` or else before the slot; with `labels`, label words too.
Needs: labelled examples, a template with one slot, gradients; a masked model, or a causal one (its slot comes last).
Relations: `prompt_tuning` trains vectors for such a place, which are no tokens; tokens can be said, and sent elsewhere.
Differs: swaps go by the right label's share among the labels, not by accuracy, which suits few examples; where two
draws take more than there are, swaps are tried on examples the gradient saw. A causal search starts from "the" (Wallace
et al. 2019, arXiv:1908.07125). Without dev examples the training examples choose the trigger that is kept.

Example:
    >>> import promptatlas
    >>> promptatlas.method("autoprompt", length=5, candidates=20).candidates
    20
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from promptatlas.data.draw import batch_at
from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.tokens import Tokens
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.gradient import asked, flips, label_words, pull, unfit
from promptatlas.search.measure import measured, nll
from promptatlas.search.place import beginning, placed, standing
from promptatlas.train.needs import Needs
from promptatlas.train.run import Event, Run


@dataclass(frozen=True, kw_only=True)
class AutoPrompt:
    """Settings of AutoPrompt.

    Attributes:
        length: tokens of the trigger; 3 to 6 were tried.
        start: a text of as many tokens to start from; "" is mask tokens.
        candidates: tokens tried at each step; 10 and 100 were tried.
        iterations: the most steps, a place and its swaps each.
        batch: examples a draw.
        draws: batches whose gradient is averaged, and as many that candidates are tried on.
        metric: what a swap must raise: "accuracy", or the "likelihood" of the right label, which has no ties.
        among: what a label's probability is a share of: "labels", or "vocabulary" (sec. 2.1).
        labels: label words to find a label, 0: the prompt's own words; 1 to 5 were tried.
        spare_labels: whether no label word may be in the trigger (fact retrieval).
        spare_capitals: whether no token with a capital may be, which keeps names out (fact retrieval).
        patience: stops after this many steps without a better trigger; None never.
        seed: of the places and the draws.
    """

    length: int = 5
    start: str = ""
    candidates: int = 10
    iterations: int = 30
    batch: int = 16
    draws: int = 2
    metric: Literal["accuracy", "likelihood"] = "likelihood"
    among: Literal["labels", "vocabulary"] = "labels"
    labels: int = 0
    spare_labels: bool = False
    spare_capitals: bool = False
    patience: int | None = 15
    seed: int = 0

    name: ClassVar[str] = "autoprompt"
    needs: ClassVar[Needs] = Needs(kinds=("masked", "causal"), can=("gradient",), splits=("train",))
    published: ClassVar[Mapping[str, object]] = {  # the released command for sentiment
        "length": 3, "candidates": 100, "iterations": 180, "batch": 24, "draws": 30, "metric": "accuracy",
        "among": "vocabulary", "patience": None,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Search the tokens of the part `trigger`; where the prompt has that part already, the search starts there."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, template=placed(prompt.template, "trigger"), calibration=())
        if "trigger" not in prompt.parts:
            prompt = prompt.plus(trigger=beginning(lm, prompt.template, self.length, self.start))
        if self.labels:
            words = label_words(lm, prompt, task.train, self.labels)
            prompt = replace(prompt, words=Words.of(words, over_words="sum_prob"))
        spared = asked(lm, prompt, task.train[0]) if self.spare_labels else frozenset()
        barred = unfit(lm, capitals=self.spare_capitals) | spared
        split, judges = ("dev", task.dev) if task.dev else ("train", task.train)
        kept, (best,) = prompt, measured(prompt, lm, "trigger", [standing(prompt, "trigger")], judges, self.among)
        step = swaps = idle = calls = 0
        while step < self.iterations and idle != self.patience:
            with run.counted():
                ids, rows = run.stage(f"step-{step}", partial(self._step, lm, task, prompt, barred, step))
            trigger, step, calls, idle = Tokens(tuple(ids)), step + 1, calls + rows, idle + 1
            if trigger != standing(prompt, "trigger"):
                prompt, swaps, idle = prompt.plus(trigger=trigger), swaps + 1, 0
                (measure,) = measured(prompt, lm, "trigger", [trigger], judges, self.among)
                kept, best = (prompt, measure) if measure > best else (kept, best)
            run.tell(Event("search", step, self.iterations, {"swaps": float(swaps), f"{split}_accuracy": best[0]}))
        found = {f"{split}_accuracy": best.accuracy, f"{split}_likelihood": best.likelihood}
        text = " ".join(lm.pieces(standing(kept, "trigger").ids))
        return kept.noted(lm, self, task.identity(), steps=step, swaps=swaps, calls=calls, trigger=text, **found)

    def _step(self, lm: LM, task: Task, prompt: Prompt, barred: Collection[int], step: int) -> tuple[list[int], int]:
        """The trigger with its best swap at one place, if that is better (sec. 2.2); and how many rows were read."""
        count, ids = len(task.train), standing(prompt, "trigger").ids
        draws = min(self.draws, -(-count // self.batch))  # an epoch has no more
        at = [batch_at(count, self.batch, 2 * draws * step + draw, self.seed) for draw in range(2 * draws)]
        batches = [[task.train[one] for one in some] for some in at]
        fresh = [one for some in batches[draws:] for one in some]
        place = random.Random(f"{self.seed} {step}").randrange(len(ids))
        gradient = pull(prompt, lm, "trigger", batches[:draws], partial(nll, among=self.among))
        tokens = flips(gradient[place], lm.vectors, self.candidates, without={*barred, ids[place]})
        tried = [Tokens((*ids[:place], token, *ids[place + 1 :])) for token in (ids[place], *tokens)]
        values = [one.by(self.metric) for one in measured(prompt, lm, "trigger", tried, fresh, self.among)]
        best = max(range(len(tried)), key=values.__getitem__)  # the first of equals: a tie keeps what stands there
        return list(tried[best].ids), sum(map(len, batches[:draws])) + len(tried) * len(fresh)

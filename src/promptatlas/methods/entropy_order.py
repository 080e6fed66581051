"""GlobalE and LocalE: the order of demonstrations under which a model doesn't say the same of everything.

Lu, Bartolo, Moore, Riedel & Stenetorp 2022, "Fantastically Ordered Prompts and Where to Find Them: Overcoming Few-Shot
Prompt Order Sensitivity", arXiv:2104.08786.

Learns: nothing; puts the demonstrations of a prompt into one order, kept as fixed ones.
Needs: demonstrations, or labelled examples to draw `k` from; no further label: what predictions are looked at is
written by the model, or unlabeled text.
Relations: comes after `in_context`; `contextual_calibration` comes after it. `kate` shows each input others, so that
there is no one order to find.
Differs: writing isn't held to the template's words, and no n-gram is barred, so it is cooler; of each text one example
is read; labels may have several words or tokens; models that can't write, as masked ones, take texts of the task.
Labels are taken to be about as common as each other, as in the paper: elsewhere evenness is no virtue.

Example:
    >>> import promptatlas
    >>> promptatlas.method("entropy_order", by="local").most
    24
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.orders import global_entropy, local_entropy, orders
from promptatlas.demos.pick import Fixed, Random
from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.probe import Source, ordered, probes
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run

ENTROPY = {"global": global_entropy, "local": local_entropy}


@dataclass(frozen=True, kw_only=True)
class EntropyOrder:
    """Settings of GlobalE and LocalE.

    Attributes:
        by: "global": how evenly the likeliest labels of all probes spread (GlobalE); "local": how even the labels'
            probabilities are for one probe, on average (LocalE).
        k: demonstrations drawn, as many of each label as can be, where the prompt shows none yet.
        most: orders that are compared: all, or so many drawn; the given one is among them.
        source: of probes: "written" by the model, "given" by the task (unlabeled, or else training examples that aren't
            shown), or "auto": written where the model and the template permit.
        probes: texts at most that predictions are looked at for.
        draws: texts written after each order.
        length: tokens of one.
        temperature: of writing.
        top_k: so many likeliest tokens are written with; 0: all.
        shortest: words a text has at least; each Chinese or Japanese character is one.
        seed: of all draws.
    """

    by: Literal["global", "local"] = "global"
    k: int = 4
    most: int = 24
    source: Source = "auto"
    probes: int = 100
    draws: int = 2
    length: int = 64
    temperature: float = 1.0
    top_k: int = 20
    shortest: int = 5
    seed: int = 0

    name: ClassVar[str] = "entropy_order"
    needs: ClassVar[Needs] = Needs(can=("logits",))
    published: ClassVar[Mapping[str, object]] = {"source": "written", "length": 128, "temperature": 2.0}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Show the demonstrations in the order whose predictions have the most entropy, of equals the first.

        A calibration the prompt had was another order's, and is dropped.
        """
        self.needs.check(self.name, lm, task, prompt)
        if self.by not in ENTROPY:
            raise SettingError(f"`by` can't be `{self.by}`", hint=near(self.by, ENTROPY))
        prompt = replace(prompt, calibration=())
        shown = self._shown(lm, task, prompt)
        places = orders(shown, self.most, self.seed)
        found = [tuple(shown[at] for at in order) for order in places]
        figures: dict[str, float | int | str] = {"orders": len(found)}
        best = 0
        if len(found) > 1:
            how = Decode(
                max_new=self.length, temperature=self.temperature, top_k=self.top_k, n=self.draws, seed=self.seed
            )
            asked, told = probes(prompt, lm, task, found, source=self.source, most=self.probes, how=how,
                                 shortest=self.shortest)  # fmt: skip
            shares = ordered(prompt, lm, found, asked)
            entropy = ENTROPY[self.by](shares)
            best = int((entropy > entropy.max() - 1e-9).nonzero()[0])
            figures |= {**told, "entropy": round(float(entropy[best]), 4), "mean": round(float(entropy.mean()), 4),
                        "least": round(float(entropy.min()), 4), "spread": round(float(entropy.std()), 4)}  # fmt: skip
            said = Counter(shares[best].argmax(-1).tolist())
            figures |= {f"said {label}": said[at] for at, label in enumerate(prompt.labels)}
        figures["order"] = " ".join(str(at + 1) for at in places[best])
        return replace(prompt, demos=Fixed(found[best])).noted(lm, self, task.identity(), **figures)

    def _shown(self, lm: LM, task: Task, prompt: Prompt) -> tuple[Example, ...]:
        """The demonstrations all inputs are shown, in the order so far."""
        hint = "chain it after `in_context`, or give training examples to draw them from"
        if not prompt.demos.fixed:
            raise NeedsError(f"`{self.name}` orders demonstrations, and this prompt's depend on the input", hint=hint)
        shown = prompt.demos.pick(lm, [Example()])[0]
        if not shown and not task.train:
            raise NeedsError(f"`{self.name}` needs demonstrations, and there is nothing to draw them from", hint=hint)
        return tuple(shown or Random(pool=task.train, k=self.k, seed=self.seed).pick(lm, [Example()])[0])

"""Training steps of a soft prompt or a prefix: ours, PEFT's and OpenPrompt's, on the same logical batches of 16."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from benchmarks.speed import away, floor, models, ours, with_peft
from benchmarks.speed.cells import Skipped
from benchmarks.speed.compare import operations, times
from benchmarks.speed.count import Here, Side, peak, touch
from benchmarks.speed.setup import Setup, versions
from benchmarks.speed.texts import examples, texts

import promptatlas
from promptatlas.data.example import Example
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt

CLOSE = 1e-3  # log-probabilities of both parties may differ by this at most
PADDED = 128  # positions of every row under OpenPrompt, its own vectors not counted
OPENPROMPT_TEXT = '{"placeholder":"text_a"} it was {"mask"} .'  # ours.TEMPLATES["masked"], in its language


@dataclass(frozen=True)
class Training:
    """One case.

    Attributes:
        model: its name.
        method: "soft" or "prefix".
        length: vectors, or positions of the prefix.
        peer: "peft" or "openprompt".
    """

    model: str
    method: str
    length: int
    peer: str

    settings: ClassVar[tuple[str, ...]] = ("batches", "pairs", "tiny")


@dataclass(frozen=True)
class Bench:
    """A case with everything loaded that both parties need."""

    case: Training
    setup: Setup

    @cached_property
    def place(self) -> Path:
        """The model's folder."""
        return models.folder(self.shape, self.setup.root)

    @property
    def shape(self) -> models.Shape:
        """The model's sizes."""
        return self.setup.shape(self.case.model)

    @cached_property
    def lm(self) -> LocalLM:
        """The model as ours."""
        return promptatlas.load(self.place, "cpu")

    @cached_property
    def batches(self) -> list[list[Example]]:
        """The logical batches."""
        some = texts(self.setup.lengths(), self.setup.batches * ours.BATCH, self.shape.words, 0)
        return ours.batches(examples(some, list(models.TRAINED), 0), self.setup.batches, 0)

    @cached_property
    def start(self) -> Prompt:
        """The prompt with what is trained."""
        return ours.begun(self.lm, models.TRAINED, self.case.method, self.case.length)

    @cached_property
    def samples(self) -> list[list[with_peft.Sample]]:
        """The batches' rows as a peer gets them."""
        return [ours.samples(self.lm, self.start, batch) for batch in self.batches]

    def mine(self) -> Here:
        """Our side."""
        return Here(lambda at: ours.step(self.lm, self.start, self.batches[at]))

    def theirs(self) -> Side:
        """The peer's side. Raises Skipped where it isn't there or can't do this."""
        if self.case.peer == "openprompt":
            return openprompt(self)
        return Here(peft(self.told()).step_of)

    def told(self) -> dict[str, Any]:
        """What a PEFT side is made from, in this process or a fresh one."""
        return {
            "place": str(self.place), "kind": self.shape.kind, "method": self.case.method, "length": self.case.length,
            "words": ours.words(self.lm, self.start), "pad": self.lm.tokenizer.pad, "model": self.case.model,
            "batches": [[asdict(one) for one in batch] for batch in self.samples], "setup": self.setup.to_json(),
        }  # fmt: skip

    def floor(self) -> int:
        """Operations of all batches at the least."""
        count = floor.soft if self.case.method == "soft" else floor.prefix
        rows = [[len(one.ids) for one in batch] for batch in self.samples]
        return sum(count(self.shape, batch, self.case.length, len(models.TRAINED)) for batch in rows)

    def longest(self) -> int:
        """The batch with the longest row."""
        sizes = [max(len(one.ids) for one in batch) for batch in self.samples]
        return sizes.index(max(sizes))

    def shortest(self) -> int:
        """The batch whose longest row is the shortest."""
        sizes = [max(len(one.ids) for one in batch) for batch in self.samples]
        return sizes.index(min(sizes))


class Peft:
    """A PEFT side with its batches."""

    def __init__(self, one: with_peft.Trained, batches: Sequence[with_peft.Batch]) -> None:
        self.one, self.batches = one, batches

    def step_of(self, at: int) -> torch.Tensor:
        """A step on the batch of this number."""
        return self.one.step(self.batches[at])


def peft(told: dict[str, Any]) -> Peft:
    """A PEFT side. Raises Skipped where there is no PEFT, or it can't do this."""
    setup = Setup(**told["setup"])
    setup.find_peers()
    try:
        model = models.plain(setup.shape(told["model"]), Path(told["place"]))
        torch.manual_seed(0)
        one = with_peft.trained(model, told["kind"], told["method"], told["length"], told["words"], ours.RATE)
    except ImportError as error:
        raise Skipped(f"PEFT can't be imported: {error}", hint="make it: `peers`") from error
    rows = [[with_peft.Sample(**row) for row in batch] for batch in told["batches"]]
    return Peft(one, [with_peft.collated(batch, told["kind"], told["pad"]) for batch in rows])


def openprompt(bench: Bench) -> away.There:
    """OpenPrompt's side. Raises Skipped where its environment isn't there, or its rows are others than ours."""
    if not bench.setup.openprompt().is_file():
        raise Skipped("OpenPrompt's environment isn't there", hint="make it: `peers`")
    labels = list(models.TRAINED)
    told = {
        "model": str(bench.place), "vocabulary": str(bench.place / "words" / "vocab.txt"), "text": OPENPROMPT_TEXT,
        "words": list(models.TRAINED.values()), "length": bench.case.length, "most": PADDED, "rate": ours.RATE,
        "batches": [[[one.fields["text"], labels.index(str(one.target))] for one in some] for some in bench.batches],
        "longest": bench.longest(), "shortest": bench.shortest(),
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        file = Path(folder) / "told.json"
        file.write_text(json.dumps(told), "utf-8")
        words = [str(bench.setup.openprompt()), "-m", "benchmarks.speed.with_openprompt", str(file)]
        side = away.There(words)
    if side.hello["lengths"] != [[len(one.ids) for one in batch] for batch in bench.samples]:
        raise Skipped("OpenPrompt's rows have other lengths than ours")
    return side


def measure(case: Training, setup: Setup, figure: str) -> tuple[dict[str, Any], str]:
    """Values of a figure, and the versions beside it. Raises Skipped where the peer isn't there."""
    bench = Bench(case, setup)
    if figure == "memory":
        return memory(bench)
    side = bench.theirs()
    try:
        if figure == "time":
            found = times(bench.mine(), side, [at % setup.batches for at in range(setup.pairs)])
        else:
            mine = bench.mine()
            mine.run(bench.shortest())  # what is found out once about a model is no part of a step
            found = {**agreed(bench, side), **operations(mine, side, range(setup.batches))}
            found["floor"] = bench.floor()
        return found, beside(side)
    finally:
        side.close()


def agreed(bench: Bench, side: Side) -> dict[str, float]:
    """How far both parties' log-probabilities are apart, where they compute the same.

    Not for a prefix: PEFT's shifts the positions of the text, ours doesn't.

    Raises:
        Skipped: too far.
    """
    whole = getattr(getattr(side, "run", None), "__self__", None)
    if not isinstance(whole, Peft) or bench.case.method != "soft":
        return {}
    with_peft.put(whole.one, bench.start.parts["soft"].tensors()["weight"])
    whole.one.model.eval()
    with torch.no_grad():
        theirs = whole.one.logits(whole.batches[0]).log_softmax(-1)
    apart = float((theirs - ours.scores(bench.lm, bench.start, bench.batches[0])).abs().max())
    if apart > CLOSE:
        raise Skipped(f"both sides compute different things: log-probabilities differ by {apart:.3g}")
    return {"apart": apart}


def memory(bench: Bench) -> tuple[dict[str, Any], str]:
    """Peaks of a step on the batch with the longest row, each in a fresh process, less the loaded model."""
    told = {"case": asdict(bench.case), "setup": bench.setup.to_json()}
    mine = away.fresh({**told, "side": "ours"})
    if bench.case.peer == "openprompt":
        side = openprompt(bench)
        theirs, named = side.peak(), beside(side)
        side.close()
    else:
        at = {"longest": bench.longest(), "shortest": bench.shortest()}
        theirs, named = away.fresh({**told, "side": "peft", "told": bench.told(), **at}), beside(None)
    return {"ours": mine, "peer": theirs, "ratio": mine / theirs}, named


def alone(told: dict[str, Any]) -> int:
    """One side's peak memory in this process, which does nothing else."""
    if told["side"] == "peft":
        side = peft(told["told"])
        touch(side.one.model)
        side.step_of(told["shortest"])  # what a library keeps after its first use is not the step's
        return peak(lambda: side.step_of(told["longest"]))
    bench = Bench(Training(**told["case"]), Setup(**told["setup"]))
    touch(bench.lm.model)
    run, short, long = bench.mine().run, bench.shortest(), bench.longest()
    run(short)
    return peak(lambda: run(long))


def beside(side: Side | None) -> str:
    """Versions of what was measured beside us."""
    if isinstance(side, away.There):
        return str(side.hello["versions"])
    return versions("peft", "transformers", "torch")

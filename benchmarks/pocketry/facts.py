"""Facts of a list of our own: whether the answer is the likeliest word at the slot, or among the ten likeliest."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pocketry.cells import Figures
from pocketry.labels import share
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row, Slot
from promptatlas.text.runs import Before, Runs, SlotRun, TextRun

TOP = 10


@dataclass(frozen=True)
class Relation:
    """A relation's sentence, with `{subject}` and `{answer}`, and its pairs that are in no training text."""

    name: str
    template: str
    held: tuple[tuple[str, str], ...]

    def sides(self, subject: str) -> tuple[str, str]:
        """What stands before the answer, and after it."""
        before, _, after = self.template.partition("{answer}")
        return before.replace("{subject}", subject), after.replace("{subject}", subject)


@dataclass(frozen=True)
class Asked:
    """How far down the answer stood: the worst place of its pieces, 0 the likeliest; None where it can't be asked."""

    relation: str
    answer: str
    place: int | None


def relations(path: Path) -> list[Relation]:
    """Those of the file that have held-out pairs."""
    found = tomllib.loads(path.read_text("utf-8"))
    tables = {name: one for name, one in found.items() if isinstance(one, dict) and one.get("held")}
    return [
        Relation(name, one["template"], tuple((str(a), str(b)) for a, b in one["held"])) for name, one in tables.items()
    ]


def figures(lm: LM, some: Sequence[Relation]) -> Figures:
    """P@1 and P@10 on the held-out pairs, and what always giving each relation's commonest answer would reach."""
    done = [one for relation in some for one in ask(lm, relation)]
    known = [one for one in done if one.place is not None]
    if not known:
        return {"value": 0.0, "value se": 0.0, "n": 0, "skipped, of several pieces": len(done)}
    first, ten = ([one.place is not None and one.place < k for one in known] for k in (1, TOP))
    return {
        **share("value", first),
        **share("P@10", ten),
        "P@1 of the majority answer": _majority(known),
        "n": len(known),
        "skipped, of several pieces": len(done) - len(known),
    }


def _majority(known: Sequence[Asked]) -> float:
    """How often each relation's commonest answer is right."""
    counts: dict[str, Counter[str]] = {}
    for one in known:
        counts.setdefault(one.relation, Counter())[one.answer] += 1
    return sum(max(one.values()) for one in counts.values()) / len(known)


def ask(lm: LM, relation: Relation) -> list[Asked]:
    """Each held-out pair, in order. A masked model is asked for answers of one piece; the others piece after piece."""
    rows, words = [], []
    for subject, answer in relation.held:
        before, after = relation.sides(subject)
        runs: Runs = (TextRun(before), SlotRun(), TextRun("" if lm.kind == "causal" else after))
        rows += lm.encode([runs], {})
        words.append(lm.word(answer, Before(before, start=not before.strip())))
    usable = [bool(ids) and (lm.kind != "masked" or len(ids) == 1) for ids in words]
    given = zip(rows, words, usable, strict=True)
    jobs = [Job(written(lm, row, ids), (Vocabulary(),)) for row, ids, use in given if use]
    with torch.no_grad():
        read = iter([reading[0].values for reading in lm.stream(jobs)])
    return [
        Asked(relation.name, answer, _place(next(read), ids) if use else None)
        for (_, answer), ids, use in zip(relation.held, words, usable, strict=True)
    ]


def written(lm: LM, row: Row, ids: tuple[int, ...]) -> Row:
    """A row with an answer written at its slot but for the last piece, and read where each piece is predicted."""
    if lm.kind == "masked":
        return row
    at = row.slots[0].positions[-1]
    slots = (Slot("", tuple(at + i for i in range(len(ids)))),)
    if lm.kind == "causal":
        more = row.ids + ids[:-1]
        return Row(more, (0,) * len(more), slots, row.spans, row.first, len(more) - 1)
    return Row(row.ids, row.types, slots, row.spans, row.first, row.last, row.feed + ids[:-1])


def _place(logp: torch.Tensor, ids: Sequence[int]) -> int:
    """The worst place of these pieces, each among the whole vocabulary."""
    own = logp.gather(1, torch.tensor(list(ids))[:, None])
    return int((logp > own).sum(-1).max())

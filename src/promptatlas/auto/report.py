"""What was chosen, why, and what to expect of it: a page of Markdown, and the same as JSON."""

import math
from collections import Counter
from typing import Any

from promptatlas.auto.find import Found
from promptatlas.data.task import Task
from promptatlas.train.choice import Score

TEMPERED = (
    "Everything was compared, and the chosen one is kept, at a temperature that suits examples held back: what learned "
    "from few labels is too sure of itself. "
)
SHOWN = 8  # rows of the table at most, beside the single candidates


def to_json(found: Found, task: Task) -> dict[str, Any]:
    """All of it."""
    expected = found.choice.expected
    return {
        "task": task.name,
        "chosen": list(found.members),
        "examples": len(task.train),
        "majority": _majority(task),
        "expected": None
        if expected is None
        else {"accuracy": expected.accuracy, "standard_error": _error(expected.accuracy, task), "loss": expected.loss},
        "operations": dict(found.operations),
        "budget": found.budget,
        "dropped": dict(found.dropped),
        "left_out": dict(found.portfolio.left_out),
        "choice": found.choice.to_json(),
    }


def to_markdown(found: Found, task: Task) -> str:
    """A page for people."""
    lines = [f"# The best found for {task.name}", "", *_chosen(found), "", *_expected(found, task)]
    if found.choice.scores:
        lines += ["", "## What was tried", "", *_table(found)]
    missing = {**found.portfolio.left_out, **found.dropped}
    if missing:
        lines += ["", "## What was not", "", *(f"- **{name}**: {reason}" for name, reason in missing.items())]
    return "\n".join([*lines, "", "## How it was chosen", "", *_how(found, task), ""])


def _chosen(found: Found) -> list[str]:
    members = " and ".join(f"**{name}** ({found.portfolio.what[name]})" for name in found.members)
    if not found.choice.scores:
        return [f"{members}: nothing else could be tried, so nothing was compared."]
    best = found.choice.scores[found.choice.at]
    alone = min(found.choice.scores[: len(found.portfolio.candidates)], key=lambda one: one.value)
    joint = len(found.members) > 1
    said = f"Chosen: {members}{', answering together' if joint else ''}. "
    said += f"It loses least on examples held back: {best.loss:.3f} nats each, {best.accuracy:.0%} right"
    if joint:
        return [f"{said}; the best alone, {alone.name}, loses {alone.loss:.3f}."]
    others = [one for one in found.choice.scores if one is not best and not one.failed]
    following = min(others, key=lambda one: one.value, default=None)
    return [f"{said}." if following is None else f"{said}; next comes {following.name} with {following.loss:.3f}."]


def _expected(found: Found, task: Task) -> list[str]:
    expected, majority = found.choice.expected, _majority(task)
    if expected is None:
        return ["What to expect of it was not measured; nested folds would tell."]
    error = _error(expected.accuracy, task)
    names = Counter(expected.chosen).most_common()
    stable = ", ".join(f"{name} ({count} of {len(expected.chosen)})" for name, count in names)
    said = [
        f"**Expect {expected.accuracy:.0%} right, ± {error:.0%}** (a standard error over {len(task.train)} examples), "
        f"{expected.loss:.3f} nats an example. So much was right where the whole choice was made anew without the "
        f"examples asked. Without each fold, chosen was: {stable}.",
    ]
    if expected.accuracy - 2 * error <= majority:
        said.append("")
        said.append(
            f"**This is hardly better than always giving one label** ({majority:.0%} right): more labels, another "
            "template or a larger model would do more than another method."
        )
    return said


def _table(found: Found) -> list[str]:
    single = len(found.portfolio.candidates)
    joint = sorted((one for one in found.choice.scores[single:] if not one.failed), key=lambda one: one.value)[:SHOWN]
    shown = [one for one in found.choice.scores[:single] if not one.failed] + joint
    rows = ["| tried | criterion | nats an example | right | operations |", "| --- | --- | --- | --- | --- |"]
    return rows + [_row(one, found) for one in sorted(shown, key=lambda one: one.value)]


def _row(score: Score, found: Found) -> str:
    name = f"**{score.name}**" if score.name == found.choice.chosen else score.name
    took = found.operations.get(score.name)
    operations = f"{took:.1e}" if took else ""
    return f"| {name} | {score.value:.3f} | {score.loss:.3f} | {score.accuracy:.0%} | {operations} |"


def _how(found: Found, task: Task) -> list[str]:
    how = found.choice.how
    ways = {"cv": "each fold left out of training once", "mdl": "each block coded after learning from those before it"}
    took = sum(found.operations.values())
    return [
        f"By {how.kind}, {how.folds or len(task.train)} folds of {len(task.train)} labelled examples "
        f"({ways[how.kind]}), seed {how.seed}; no other label was looked at. {TEMPERED if how.tempered else ''}"
        "So few examples tell good from bad, hardly good from better. "
        f"Learning and answering took {took:.1e} of {found.budget:.1e} operations.",
    ]


def _majority(task: Task) -> float:
    """Share of the commonest label among the training examples."""
    return Counter(str(one.target) for one in task.train).most_common(1)[0][1] / len(task.train)


def _error(accuracy: float, task: Task) -> float:
    """Standard error of a share among the training examples, at least that of one right more than none (or all)."""
    count = len(task.train)
    share = min(max(accuracy, 1 / (count + 2)), 1 - 1 / (count + 2))
    return math.sqrt(share * (1 - share) / count)

"""Choosing among candidates by what they lose on held-out examples: cross-validation and code length.

Perez, Kiela & Cho 2021, "True Few-Shot Learning with Language Models", arXiv:2105.11447. They find that both choose
little better than chance, and far worse than many dev examples do: look at all scores, not at the winner alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from promptatlas.data.example import Target
from promptatlas.errors import DataError, PromptAtlasError, SettingError
from promptatlas.train import warmed
from promptatlas.train.choice import Choice, Expected, Held, Score
from promptatlas.train.folds import Fold, Selection

Evaluate = Callable[[int, Sequence[Fold]], Sequence[Held]]  # of a candidate, by its place: what it did, fold by fold
Ask = Callable[[int, Sequence[Fold]], list[Held]]  # the same; what was asked before is known


def choose(
    names: Sequence[str], evaluate: Evaluate, how: Selection, targets: Sequence[Target], *, dev: int = 0
) -> Choice:
    """Choose the candidate with the least criterion, the first of equals. All are asked the same.

    Args:
        names: of the candidates, each once.
        evaluate: asks one of them.
        how: the way of choosing.
        targets: of the training examples.
        dev: how many dev examples there are; they have the places after the training examples.

    Raises:
        SettingError: no candidates, a name twice, or a setting that can't be.
        DataError: a loss that is not a number.
        PromptAtlasError: all candidates failed.
    """
    if not names:
        raise SettingError("there is nothing to choose from", hint="give two candidates or more")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SettingError(f"two candidates have the name `{twice[0]}`", hint="give each its own")
    if len(names) == 1:
        return Choice(how, tuple(names), 0)
    folds = how.plan(targets, dev)
    known: dict[tuple[int, Fold], Held] = {}

    def ask(at: int, some: Sequence[Fold]) -> list[Held]:
        new = [fold for fold in some if (at, fold) not in known]
        known.update(zip([(at, fold) for fold in new], evaluate(at, new) if new else (), strict=True))
        return [known[at, fold] for fold in some]

    scores = _scores(names, ask, how, folds)
    at = _least(scores)
    if scores[at].failed:
        raise PromptAtlasError(f"every candidate failed; `{scores[at].name}`: {scores[at].failed}")
    expected = _expected(names, ask, how, targets) if how.nested else None
    return Choice(how, tuple(names), at, scores, folds, expected, how.note(len(targets), dev))


def scored(name: str, held: Sequence[Held], folds: Sequence[Fold], how: Selection) -> Score:
    """The criterion of one candidate, from what it did on every fold. Raises DataError: a loss is not a number."""
    failed = next((one.failed for one in held if one.failed), "")
    if failed:
        return Score(name, math.inf, math.inf, math.nan, (), tuple(held), failed)
    temperature = warmed.fitted(held) if how.tempered else 1.0
    held = warmed.each(held, folds, how.kind) if how.tempered else held
    losses = [loss for one in held for loss in one.loss]
    if not all(map(math.isfinite, losses)):
        raise DataError(f"the candidate `{name}` has a loss that is not a number")
    mean = fmean(losses)
    if how.kind == "mdl":
        estimates = [_code([one.loss for one in some], how.beta) for some in _by_order(held, folds)]
        value = fmean(estimates)
    else:
        estimates = [fmean(one.loss) for one in held] if how.kind == "cv" else losses
        value = mean
    right = fmean([right for one in held for right in one.right])
    score = Score(name, value, mean, right, tuple(estimates), tuple(held), temperature=temperature)
    return replace(score, value=value + how.alpha * (score.deviation or 0.0))


def _by_order(held: Sequence[Held], folds: Sequence[Fold]) -> list[list[Held]]:
    found: dict[int, list[Held]] = {}
    for one, fold in zip(held, folds, strict=True):
        found.setdefault(fold.order, []).append(one)
    return list(found.values())


def _code(blocks: Sequence[Sequence[float]], beta: float | None) -> float:
    """The nats all blocks take together; or with beta their means, the later counting the more."""
    if beta is None:
        return math.fsum(loss for block in blocks for loss in block)
    weights = [math.exp(beta * (at + 1 - len(blocks))) for at in range(len(blocks))]
    return math.fsum(w * fmean(block) for w, block in zip(weights, blocks, strict=True)) / math.fsum(weights)


def _scores(names: Sequence[str], ask: Ask, how: Selection, folds: Sequence[Fold]) -> tuple[Score, ...]:
    return tuple(scored(name, ask(at, folds), folds, how) for at, name in enumerate(names))


def _least(scores: Sequence[Score]) -> int:
    values = [one.value for one in scores]
    return values.index(min(values))


def _expected(names: Sequence[str], ask: Ask, how: Selection, targets: Sequence[Target]) -> Expected:
    """Choose without each fold, and ask the chosen one about it."""
    outer = replace(how, kind="cv", orders=1, first=0, beta=None).plan(targets)
    chosen, held = [], []
    for place, fold in enumerate(outer):
        scores = _without(place, outer, names, ask, how, targets)
        at = _least(scores)
        chosen.append(names[at])
        held += [warmed.at(one, scores[at].temperature) for one in ask(at, [fold])]
    whole = scored("the chosen", held, outer, Selection(kind="cv"))
    return Expected(whole.loss, whole.accuracy, whole.standard_error or 0.0, tuple(chosen))


def _without(
    place: int, outer: Sequence[Fold], names: Sequence[str], ask: Ask, how: Selection, targets: Sequence[Target]
) -> tuple[Score, ...]:
    """What the candidates are worth where one fold isn't known.

    Cross-validation takes the other folds, one left out after the other: what was learned without two folds serves the
    choice without either of them, so that nested folds cost half.
    """
    fold = outer[place]
    if how.kind != "cv" or len(outer) < 3 or how.orders > 1:
        inner = how.within(len(fold.train))
        folds = [
            Fold(tuple(fold.train[i] for i in one.train), tuple(fold.train[i] for i in one.held), one.order)
            for one in inner.plan([targets[i] for i in fold.train])
        ]
        return _scores(names, ask, inner, folds)
    others = [other for other in range(len(outer)) if other != place]
    return tuple(
        scored(name, [_pair(at, ask, outer, place, other) for other in others], [outer[at] for at in others], how)
        for at, name in enumerate(names)
    )


def _pair(at: int, ask: Ask, outer: Sequence[Fold], place: int, other: int) -> Held:
    """What a candidate that knows neither of two folds does on the second."""
    first, second = sorted((place, other))
    left_out = {*outer[place].held, *outer[other].held}
    train = tuple(one for one in outer[first].train if one not in left_out)
    (held,) = ask(at, [Fold(train, outer[first].held + outer[second].held)])
    cut = len(outer[first].held)
    return held.part(cut, len(left_out)) if other == second else held.part(0, cut)

"""Counts: what each example adds to a metric, as columns to sum, and the metrics as formulas of the sums."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from seqeval.metrics.sequence_labeling import get_entities

from promptatlas.data.example import Target
from promptatlas.data.task import SPAN_TAG, Kind
from promptatlas.data.view import OUTSIDE
from promptatlas.errors import DataError, SettingError
from promptatlas.text.pattern import numeral

Array = NDArray[numpy.float64]
Formulas = Mapping[str, Callable[[Array], Array]]  # name -> from sums [samples, columns] to values [samples]


def columns_of(
    kind: Kind, targets: Sequence[Target], answers: Sequence[Target], labels: Sequence[str], none: str = ""
) -> tuple[Array, Formulas]:
    """What to sum over examples, [examples, columns], and the metrics as functions of the sums; `none`: see `measure`.

    Raises:
        DataError: a target outside the labels, or tags that aren't as many as the target's.
    """
    match kind:
        case "label":
            return _label_columns(targets, answers, labels, none)
        case "labels":
            return _labels_columns(targets, answers, labels)
        case "tags":
            return _tags_columns(targets, answers, labels)
        case "choice":
            right = [target == answer for target, answer in zip(targets, answers, strict=True)]
            missing = [answer is None for answer in answers]
            return stack(right, missing), {"accuracy": _mean(0, len(targets)), "invalid": _mean(1, len(targets))}
        case "text":
            return _text_columns(targets, answers)
        case _:
            raise SettingError(f"no metrics for tasks of kind `{kind}`")


# Labels: a block of columns says which label is the target, one which is the answer, one which is both.


def _label_columns(
    targets: Sequence[Target], answers: Sequence[Target], labels: Sequence[str], none: str
) -> tuple[Array, Formulas]:
    names = _names([{target} for target in targets], labels)
    some = [at for at, name in enumerate(names) if name != none]
    true, said = _marks([{target} for target in targets], names), _marks([{answer} for answer in answers], names)
    width, count = len(names), len(targets)
    outside = said.sum(1) == 0

    def mcc(sums: Array) -> Array:
        support, predicted, hits = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width : 3 * width]
        rest = sums[:, -1]  # answers outside the labels are a class that is never right
        covariance = hits.sum(1) * count - (support * predicted).sum(1)
        spread = (count**2 - (support**2).sum(1)) * (count**2 - (predicted**2).sum(1) - rest**2)
        return _ratio(covariance, numpy.sqrt(spread))

    def micro_f1(sums: Array) -> Array:
        support, predicted, hits = (sums[:, block * width : (block + 1) * width][:, some].sum(1) for block in range(3))
        rest = sums[:, -1]  # an answer outside the labels says something, and is wrong
        return _ratio(2 * hits, support + predicted + rest)

    return numpy.hstack([true, said, true * said, outside[:, None]]), {
        "accuracy": lambda sums: sums[:, 2 * width : 3 * width].sum(1) / count,
        "macro_f1": lambda sums: _macro_f1(sums, width),
        "mcc": mcc,
        "micro_f1": micro_f1,
        "invalid": _mean(3 * width, count),
    }


def _labels_columns(
    targets: Sequence[Target], answers: Sequence[Target], labels: Sequence[str]
) -> tuple[Array, Formulas]:
    wanted, given = [_set(target) for target in targets], [_set(answer) for answer in answers]
    names = _names(wanted, labels)
    true, said = _marks(wanted, names), _marks(given, names)
    width, count = len(names), len(targets)
    outside = [len(one - set(names)) for one in given]
    invalid = [bool(more) or answer is None for more, answer in zip(outside, answers, strict=True)]
    exact = [target == answer for target, answer in zip(wanted, answers, strict=True)]

    def micro_f1(sums: Array) -> Array:
        marked = sums[:, : 2 * width].sum(1) + sums[:, 3 * width]
        return _ratio(2 * sums[:, 2 * width : 3 * width].sum(1), marked)

    return numpy.hstack([true, said, true * said, stack(outside, exact, invalid)]), {
        "micro_f1": micro_f1,
        "macro_f1": lambda sums: _macro_f1(sums, width),
        "exact_match": _mean(3 * width + 1, count),
        "invalid": _mean(3 * width + 2, count),
    }


def _macro_f1(sums: Array, width: int) -> Array:
    """The mean F1 of the labels that occur, as target or answer; the others say nothing."""
    marked = sums[:, :width] + sums[:, width : 2 * width]
    scores = _ratio(2 * sums[:, 2 * width : 3 * width], marked)
    return _ratio(scores.sum(1), (marked > 0).sum(1).astype(float))


def _names(targets: Sequence[frozenset[str] | set[Target]], labels: Sequence[str]) -> list[str]:
    occurring = sorted({str(label) for target in targets for label in target})
    strange = [label for label in occurring if labels and label not in set(labels)]
    if strange:
        raise DataError(f"target `{strange[0]}` is not one of the labels")
    return list(labels) or occurring


def _marks(sets: Sequence[frozenset[str] | set[Target]], names: Sequence[str]) -> Array:
    """[examples, labels], 1 where the label is in the set."""
    places = {name: place for place, name in enumerate(names)}
    marks = numpy.zeros((len(sets), len(names)))
    for row, labels in enumerate(sets):
        for label in labels:
            if label in places:
                marks[row, places[label]] = 1
    return marks


def _set(value: Target) -> frozenset[str]:
    return value if isinstance(value, frozenset) else frozenset()


# Tags: spans counted by example.


def _tags_columns(
    targets: Sequence[Target], answers: Sequence[Target], labels: Sequence[str]
) -> tuple[Array, Formulas]:
    spans = all(SPAN_TAG.fullmatch(tag) for target in targets for tag in _tags(target))
    known = set(labels) or {tag for target in targets for tag in _tags(target)}
    rows = []
    for index, (target, answer) in enumerate(zip(map(_tags, targets), answers, strict=True)):
        given = _tags(answer) if answer is not None else ("",) * len(target)
        if len(given) != len(target):
            raise DataError(f"answer {index} has {len(given)} tags, its target {len(target)}")
        valid = [tag in known or bool(spans and not labels and SPAN_TAG.fullmatch(tag)) for tag in given]
        kept = [tag if fine else OUTSIDE for tag, fine in zip(given, valid, strict=True)]
        true, said = (set(get_entities(list(tags))) if spans else set() for tags in (target, kept))
        right = sum(tag == one for tag, one in zip(given, target, strict=True))
        rows.append([len(true), len(said), len(true & said), right, len(target), len(target) - sum(valid)])
    formulas: dict[str, Callable[[Array], Array]] = {
        "span_f1": lambda sums: _ratio(2 * sums[:, 2], sums[:, 0] + sums[:, 1]),
        "span_precision": lambda sums: _ratio(sums[:, 2], sums[:, 1]),
        "span_recall": lambda sums: _ratio(sums[:, 2], sums[:, 0]),
    }
    if not spans:  # parts of speech, for one
        formulas = {}
    formulas["accuracy"] = lambda sums: _ratio(sums[:, 3], sums[:, 4])
    formulas["invalid"] = lambda sums: _ratio(sums[:, 5], sums[:, 4])
    return numpy.array(rows, dtype=float), formulas


def _tags(value: Target) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


# Texts: sacrebleu's statistics of each sentence add up.


def _text_columns(targets: Sequence[Target], answers: Sequence[Target]) -> tuple[Array, Formulas]:
    references = [(target,) if isinstance(target, str) else _tags(target) for target in targets]
    given = [answer if isinstance(answer, str) else "" for answer in answers]
    most = max(map(len, references))
    streams = [[one[place] if place < len(one) else None for one in references] for place in range(most)]
    bleu: Any = BLEU(force=True)  # force: no advice on standard error
    chrf: Any = CHRF()
    exact = [text.strip() in {one.strip() for one in wanted} for text, wanted in zip(given, references, strict=True)]
    missing = [not isinstance(answer, str) for answer in answers]
    tables = [numpy.array(metric._extract_corpus_statistics(given, streams), dtype=float) for metric in (bleu, chrf)]
    first, last = tables[0].shape[1], tables[0].shape[1] + tables[1].shape[1]
    numbers = _same_numbers(references, given)
    return numpy.hstack([*tables, stack(exact, missing, *(() if numbers is None else (numbers,)))]), {
        "bleu": lambda sums: _sacrebleu(bleu, sums[:, :first]),
        "chrf": lambda sums: _sacrebleu(chrf, sums[:, first:last]),
        "exact_match": _mean(last, len(targets)),
        **({} if numbers is None else {"number_match": _mean(last + 2, len(targets))}),
        "invalid": _mean(last + 1, len(targets)),
    }


def _same_numbers(references: Sequence[Sequence[str]], given: Sequence[str]) -> list[bool] | None:
    """Of each answer whether it is one of its references as a number; None where not every reference is a number."""
    wanted = [{numeral(one) for one in some} for some in references]
    if any(None in some for some in wanted):
        return None
    return [(found := numeral(text)) is not None and found in some for text, some in zip(given, wanted, strict=True)]


def _sacrebleu(metric: Any, sums: Array) -> Array:
    return numpy.array([metric._compute_score_from_stats(row.astype(int).tolist()).score for row in sums])


# What they share.


def stack(*columns: Sequence[int | float]) -> Array:
    """Columns side by side: [examples, columns]."""
    return numpy.array(columns, dtype=float).T


def _mean(column: int, count: int) -> Callable[[Array], Array]:
    return lambda sums: sums[:, column] / count


def _ratio(above: Array, below: Array) -> Array:
    """The quotient, 0 where it would divide by zero."""
    return numpy.divide(above, below, out=numpy.zeros_like(above), where=below > 0)

"""Teachers that teach each other: what each learns from next, labelled by others than itself.

Schick & Schütze 2021, arXiv:2001.07676: iPET.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.train.distil import Lessons, Teacher, merged, scored
from promptatlas.train.loss import generator
from promptatlas.train.run import Event

ZERO = 10  # examples that the first generation without labels has in all
LIKELIEST = 100  # texts a label that it draws from


def raised(
    staff: Sequence[Teacher], lessons: Lessons, examples: Sequence[Example], *, generations: int, growth: float,
    share: float, seed: int,
) -> list[Float[Tensor, "texts labels"]]:  # fmt: skip
    """What each teacher of the last generation says of the texts; each generation learns from the model as it was.

    The first learns from the examples alone; without any it is the patterns as they are.

    Raises:
        SettingError: a single teacher, or a setting out of its range.
    """
    _check(len(staff), generations, growth, share)
    opinions = [_first(at, one, lessons, examples, seed) for at, one in enumerate(staff)]
    for generation in range(1, generations + 1):
        counts = wanted(examples, staff[0].prompt.labels, growth, generation)
        likeliest = None if examples or generation > 1 else LIKELIEST
        lessons.run.tell(Event("generation", generation, generations, {"wanted": float(sum(counts.values()))}))
        before, opinions = opinions, []
        for at, one in enumerate(staff):
            draw = generator("generation", seed, generation, at)
            some = others(len(staff), at, share, draw)
            target = merged([before[other] for other in some], [staff[other].weight for other in some])
            drawn = labelled(lessons.texts, target, counts, draw, likeliest=likeliest)
            number = generation * len(staff) + at
            key = f"generation-{generation}-teacher-{at}"
            opinions.append(lessons.opinion(key, one.prompt, (*examples, *drawn), seed + number))
    return opinions


def _first(at: int, one: Teacher, lessons: Lessons, examples: Sequence[Example], seed: int) -> Tensor:
    if not examples:
        return scored(one.prompt, lessons.lm, lessons.texts)
    return lessons.opinion(f"generation-0-teacher-{at}", one.prompt, examples, seed + at)


def _check(count: int, generations: int, growth: float, share: float) -> None:
    if count < 2:
        raise SettingError(
            "a single model has none to learn from", hint="give `patterns`, or set `repeats` to 2 or more"
        )
    if generations < 1:
        raise SettingError(f"`generations` is {generations}", hint="it is 1 or more; `pet` has none")
    if growth <= 1:
        raise SettingError(f"`growth` is {growth}", hint="it is above 1")
    if not 0 < share <= 1:
        raise SettingError(f"`share` is {share}", hint="it is above 0, and 1 at most")


def others(count: int, at: int, share: float, draw: torch.Generator) -> tuple[int, ...]:
    """Which of `count` teachers label for the one at `at`: a share of all others, at least one, drawn at random."""
    rest = [one for one in range(count) if one != at]
    order = torch.randperm(len(rest), generator=draw).tolist()
    return tuple(sorted(rest[one] for one in order[: max(1, round(share * len(rest)))]))


def wanted(examples: Sequence[Example], labels: Sequence[str], growth: float, generation: int) -> dict[str, int]:
    """How many texts of each label are added to the labelled examples for a generation, from 1.

    With them there are `growth` times as many of each label as in the generation before. Without labelled examples, the
    first generation has 10 in all, as many of each label.

    >>> wanted([Example({}, "a")] * 6 + [Example({}, "b")] * 4, ("a", "b"), 5.0, 2)
    {'a': 144, 'b': 96}
    """
    if not examples:
        return dict.fromkeys(labels, max(1, round(ZERO * growth ** (generation - 1) / len(labels))))
    counts = Counter(one.target for one in examples)
    return {label: round(counts[label] * growth**generation) - counts[label] for label in labels}


def labelled(
    texts: Sequence[Example],
    scores: Float[Tensor, "texts labels"],
    counts: Mapping[str, int],
    draw: torch.Generator,
    *,
    likeliest: int | None = None,
) -> tuple[Example, ...]:
    """Texts that others have labelled, drawn without replacement, the surer the likelier; fewer where there are fewer.

    Args:
        texts: to draw from.
        scores: what the others say of each together; labels in the order of `counts`.
        counts: how many of each label.
        draw: what is drawn with.
        likeliest: draw a label's from so many texts of which it is the likeliest, whether or not another is likelier
            still; None: from those of which no other is.

    A label that none of the texts is found to have gets none, with a warning.
    """
    probabilities = scores.softmax(-1)
    found: list[Example] = []
    for at, (label, count) in enumerate(counts.items()):
        chances = probabilities[:, at]
        if likeliest is None:
            places = (probabilities.argmax(-1) == at).nonzero()[:, 0]
        else:
            places = chances.topk(min(likeliest, len(texts))).indices
        if count and not len(places):
            warn(f"no text is found to be `{label}`: nothing is added to its examples", stacklevel=2)
        elif count:
            drawn = torch.multinomial(chances[places], min(count, len(places)), generator=draw)
            found += [replace(texts[one], target=label) for one in places[drawn].tolist()]
    return tuple(found)

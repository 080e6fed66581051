"""As many demonstrations as the context holds."""

from collections.abc import Callable
from typing import Literal

from promptatlas.data.example import Example

Drop = Literal["first", "last"]


def shrink(demos: list[Example], fits: Callable[[list[Example]], bool], drop: Drop) -> list[Example]:
    """The longest run of demonstrations that fits: all of them but some at one end; none where not even one fits.

    Args:
        demos: in the order shown.
        fits: whether a prompt that shows these fits; one that shows fewer takes less room.
        drop: the end they are dropped from: "first" drops the oldest, "last" those next to the query.

    >>> shrink([Example(key="a"), Example(key="b")], lambda shown: len(shown) < 2, "first")
    [Example(fields={}, target=None, key='b')]
    """
    if fits(demos):
        return demos
    kept, over = 0, len(demos)  # none always fit, all don't
    while over - kept > 1:
        count = (kept + over) // 2
        if fits(_end(demos, count, drop)):
            kept = count
        else:
            over = count
    return _end(demos, kept, drop)


def _end(demos: list[Example], count: int, drop: Drop) -> list[Example]:
    return demos[:count] if drop == "last" else demos[len(demos) - count :]

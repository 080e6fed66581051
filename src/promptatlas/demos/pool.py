"""Examples to choose demonstrations from: which of them is the query itself, and how they are kept as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

from promptatlas.data.example import Example, Target
from promptatlas.errors import SettingError

Text = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pool:
    """Examples, found again by key or by what they say."""

    examples: tuple[Example, ...]

    def own(self, query: Example) -> frozenset[int]:
        """Where in the pool the query itself is: by its key; by equal fields where one of the two has no key."""
        by_fields = (i for i in self._by_text.get(texts(query), ()) if not (query.key and self.examples[i].key))
        same = {i for i in by_fields if _same(self.examples[i].fields, query.fields)}
        return frozenset(same.union(self._by_key.get(query.key, ()) if query.key else ()))

    @cached_property
    def most_alike(self) -> int:
        """Most examples that one query can be."""
        return max((len(some) for some in (*self._by_key.values(), *self._by_text.values())), default=0)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices by target, in the order targets come."""
        found: dict[Target, list[int]] = {}
        for i, example in enumerate(self.examples):
            found.setdefault(example.target, []).append(i)
        return tuple(map(tuple, found.values()))

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        for i, example in enumerate(self.examples):
            if example.key:
                found.setdefault(example.key, []).append(i)
        return found

    @cached_property
    def _by_text(self) -> Mapping[Text, Sequence[int]]:
        found: dict[Text, list[int]] = {}
        for i, example in enumerate(self.examples):
            found.setdefault(texts(example), []).append(i)
        return found


def texts(example: Example) -> Text:
    """Its fields of text, by name."""
    return tuple(sorted((name, value) for name, value in example.fields.items() if isinstance(value, str)))


def to_json(example: Example) -> dict[str, Any]:
    """An example as JSON; a set of labels and a tuple of tags say which they are."""
    target: Any = example.target
    if isinstance(target, frozenset):
        target = {"labels": sorted(target)}
    elif isinstance(target, tuple):
        target = {"tags": list(target)}
    return {"fields": dict(example.fields), "target": target, "key": example.key}


def from_json(saved: Mapping[str, Any]) -> Example:
    """The example again."""
    target = saved["target"]
    if isinstance(target, Mapping):
        target = frozenset(target["labels"]) if "labels" in target else tuple(target["tags"])
    return Example(dict(saved["fields"]), target, saved["key"])


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())


def _equal(one: object, other: object) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):  # JSON makes lists of tuples
        return list(one) == list(other)
    return one is other or (isinstance(one, str | int | float | Mapping) and one == other)  # arrays don't say yes or no


def in_turns(groups: Sequence[Sequence[int]]) -> list[int]:
    """The first of each group, then the second of each, and so on.

    >>> in_turns([[1, 2, 3], [4]])
    [1, 4, 2, 3]
    """
    return [one for turn in zip_longest(*groups) for one in turn if one is not None]


def check_count(k: int, size: int) -> None:
    """Refuse a number of demonstrations that a pool of this size doesn't hold. Raises SettingError."""
    if k < 0:
        raise SettingError(f"k={k} demonstrations", hint="0 shows none")
    if k > size:
        held = f"the pool holds {size}" if size else "the pool is empty"
        raise SettingError(f"k={k} demonstrations are wanted, and {held}", hint="ask for fewer, or give more examples")

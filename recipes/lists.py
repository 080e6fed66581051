"""Read lists.toml and facts.toml."""

import random
import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from grammar import Grammar, alternatives

HERE = Path(__file__).parent
WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Item(NamedTuple):
    """One showing of a pattern: a text and its label, which may be empty."""

    text: str
    label: str = ""


class Task(NamedTuple):
    """A way to sort sentences: the rules that make them, and sets of natural words for these rules."""

    rules: list[str]
    names: list[list[str]]


class Relation(NamedTuple):
    """A relation of facts: its sentence, and the pairs that may be shown."""

    template: str
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Lists:
    """What documents are made from."""

    banned: frozenset[str]
    labels: list[str]
    words: dict[str, list[str]]
    grammar: Grammar
    subjects: list[str]
    topics: list[str]
    tasks: list[Task]
    layouts: dict[str, list[str]]
    relations: list[Relation]
    held: dict[str, set[str]]

    @classmethod
    def read(cls, folder: Path = HERE) -> Self:
        """Read both files, and check every label against the banned ones."""
        raw = tomllib.loads((folder / "lists.toml").read_text(encoding="utf-8"))
        facts = tomllib.loads((folder / "facts.toml").read_text(encoding="utf-8"))
        read = cls(
            banned=frozenset(alternatives(raw["BANNED"])),
            labels=alternatives(raw["LABELS"]),
            words=categories(raw),
            grammar=Grammar(rules(raw)),
            subjects=list(raw["subjects"]),
            topics=list(raw["topics"]),
            tasks=[Task(names, [row.split() for row in alternatives(text)]) for names, text in raw["tasks"].values()],
            layouts={key: text if key == "joints" else alternatives(text) for key, text in raw["layouts"].items()},
            relations=[Relation(r["template"], [(a, b) for a, b in r["pairs"]]) for r in facts.values()],
            held=both_ways([(a, b) for r in facts.values() for a, b in r["held"]]),
        )
        read.check_labels()
        return read

    def check_labels(self) -> None:
        """Refuse lists in which a label is banned."""
        natural = [name for task in self.tasks for row in task.names for name in row]
        wrong = self.banned.intersection([*self.labels, *natural, *self.words, *self.topics])
        if wrong:
            raise ValueError(f"lists.toml: labels that BANNED forbids: {', '.join(sorted(wrong))}; take other words")

    def tells_held(self, item: Item) -> bool:
        """Whether both sides of a held pair stand in the item, or its label is banned."""
        seen = set(WORD.findall(f"{item.text} {item.label}"))
        return item.label in self.banned or any(self.held[word] & seen for word in seen & self.held.keys())

    def vocabulary(self) -> list[str]:
        """All single words of the lists, for what means nothing."""
        return [*self.labels, *(word for words in self.words.values() for word in words)]

    def draw_labels(self, count: int, rng: random.Random) -> list[str]:
        """Draw different labels that mean nothing."""
        return rng.sample(self.labels, count)


def categories(raw: dict[str, Any]) -> dict[str, list[str]]:
    """Words by category; those that praise are cheerful, and those that blame gloomy."""
    found = {name.split("_")[0]: alternatives(text) for name, text in raw["words"].items()}
    for name, rule in (("cheerful", "nice"), ("gloomy", "nasty")):
        found[name] = list(dict.fromkeys(found[name] + alternatives(raw["rules"][rule])))
    return found


def rules(raw: dict[str, Any]) -> dict[str, str]:
    """All rules of the grammar: those written out, those of subjects and topics by scope, and the verbs' columns."""
    forms = [row.split() for row in alternatives(raw["verbs"]["forms"])]
    found: dict[str, str] = dict(raw["rules"])
    found |= {
        f"verb_{name}": " | ".join(c) for name, c in zip(("base", "past", "ing"), zip(*forms, strict=True), strict=True)
    }
    for table, names in (("subjects", ("thing", "part")), ("topics", ("who", "does", "what"))):
        for scope, texts in raw[table].items():
            found |= {f"{scope}:{name}": text for name, text in zip(names, texts, strict=True)}
    return found


def both_ways(pairs: list[tuple[str, str]]) -> dict[str, set[str]]:
    """For each word of a pair, the words it is paired with."""
    found = defaultdict(set)
    for one, two in pairs:
        found[one].add(two)
        found[two].add(one)
    return dict(found)

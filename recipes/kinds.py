"""The kinds of pattern: each draws the items of one document, and says how they may be laid out."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lists import Item, Lists

ARBITRARY = 0.75  # how often labels mean nothing until the document shows it
MOST = 28  # items in a document


@dataclass(frozen=True)
class Drawn:
    """Items, and their layout: a key of the layouts in lists.toml, or a layout itself."""

    items: list[Item]
    layout: str


def turns(kinds: int, count: int, rng: random.Random) -> list[int]:
    """Which label each item has: every one early, in random order, about but not quite as often."""
    weights = [rng.uniform(0.7, 1.3) for _ in range(kinds)]
    start = rng.sample(range(kinds), kinds)
    order = start + rng.choices(range(kinds), weights, k=max(0, count - kinds))
    if rng.random() < 0.5:
        early = order[: 2 * kinds]
        rng.shuffle(early)
        order[: 2 * kinds] = early
    return order


def size(rng: random.Random) -> int:
    """How many words a document has, about."""
    return rng.randint(60, 220) if rng.random() < 0.75 else rng.randint(200, 650)


def count(rng: random.Random, least: int = 7) -> int:
    """How many short items a document has."""
    return rng.randint(least, MOST)


# Facts


def facts(lists: Lists, rng: random.Random) -> Drawn:
    """One relation, or small sums; now and then read backward, or as the relation's sentence."""
    if rng.random() < 0.08:
        return sums(rng)
    relation = rng.choice(lists.relations)
    pairs = rng.sample(relation.pairs, min(len(relation.pairs), count(rng)))
    if rng.random() < 0.35:
        return Drawn([Item(*pair) for pair in pairs], relation.template.format(subject="{x}", answer="{y}"))
    if rng.random() < 0.2:
        return Drawn([Item(two, one) for one, two in pairs], "short")
    return Drawn([Item(*pair) for pair in pairs], "short")


def sums(rng: random.Random) -> Drawn:
    """Small sums and differences, or one step up or down."""
    sign, step = rng.choice(["+", "-", "plus", "minus"]), rng.choice([0, 0, 1, 2, 10])
    items = []
    for _ in range(count(rng)):
        two = step or rng.randint(1, 9)
        one = rng.randint(two, 20)
        answer = one + two if sign in ("+", "plus") else one - two
        items.append(Item(f"{one}" if step else f"{one} {sign} {two}", str(answer)))
    return Drawn(items, "short")


# Words


def words(lists: Lists, rng: random.Random) -> Drawn:
    """Words of two to five categories with a label each: the category's name, or a word that means nothing."""
    kinds = rng.choice([2, 2, 2, 3, 3, 4, 5])
    names = ["cheerful", "gloomy"] if kinds == 2 and rng.random() < 0.25 else rng.sample(list(lists.words), kinds)
    labels = lists.draw_labels(kinds, rng) if rng.random() < ARBITRARY else names
    left = {name: rng.sample(lists.words[name], len(lists.words[name])) for name in names}
    together = 1 if rng.random() < 0.75 else 2
    items = []
    for turn in turns(kinds, count(rng, 2 * kinds + 2), rng):
        if len(left[names[turn]]) >= together:
            text = " ".join(left[names[turn]].pop() for _ in range(together))
            items.append(Item(text, labels[turn]))
    return Drawn(items, "short")


# Sentences


def sentences(lists: Lists, rng: random.Random) -> Drawn:
    """Sentences of two to five sorts: topics, opinions, or other ways to sort; one layout for all."""
    if rng.random() < 0.42:
        scopes = rng.sample(lists.topics, rng.choice([2, 2, 3, 4, 4, 5]))
        return sorted_sentences(["topic"] * len(scopes), scopes, scopes, lists, rng)
    task = lists.tasks[0] if rng.random() < 0.4 else rng.choice(lists.tasks)
    subject = rng.choice(lists.subjects) if rng.random() < 0.5 else ""
    if "story" in task.rules:
        subject = rng.choice(["film", "film", "book"])
    return sorted_sentences(task.rules, [subject] * len(task.rules), rng.choice(task.names), lists, rng)


def sorted_sentences(
    rules: Sequence[str], scopes: Sequence[str], natural: Sequence[str], lists: Lists, rng: random.Random
) -> Drawn:
    """Sentences by several rules, a label for each rule."""
    labels = lists.draw_labels(len(rules), rng) if rng.random() < ARBITRARY else natural
    least, most, items, drawn = max(4, len(rules) + 2), size(rng), list[Item](), 0
    longer = rng.random() < 0.2
    for turn in turns(len(rules), MOST, rng):
        times = rng.choice([1, 2, 3]) if longer else 1
        text = " ".join(one_sentence(rules[turn], scopes[turn], lists, rng) for _ in range(times))
        items.append(Item(text, labels[turn]))
        drawn += len(text.split()) + 1
        if drawn >= most and len(items) >= least:
            break
    return Drawn(items, "long")


def one_sentence(rule: str, scope: str, lists: Lists, rng: random.Random) -> str:
    """One sentence; an empty scope stands for any subject."""
    return lists.grammar.sentence(rule, rng, scope or rng.choice(lists.subjects))


# Copies

CHANGES: list[Callable[[list[str], str], list[str]]] = [
    lambda given, extra: given,
    lambda given, extra: given * 2,
    lambda given, extra: given[::-1],
    lambda given, extra: given[:1],
    lambda given, extra: given[-1:],
    lambda given, extra: given[1:] + given[:1],
    lambda given, extra: [extra, *given],
    lambda given, extra: [*given, extra],
    lambda given, extra: [word for one in given for word in (one, extra)],
    lambda given, extra: [given[-1], *given[1:-1], given[0]],
    lambda given, extra: given[1:],
]


def changes(lists: Lists, rng: random.Random) -> Drawn:
    """A few words, and the same words changed in one way."""
    change, length, extra = rng.choice(CHANGES), rng.randint(2, 5), rng.choice(lists.labels)
    vary = rng.random() < 0.3
    items = []
    for _ in range(count(rng, 4) if length < 4 else rng.randint(4, 14)):
        given = rng.sample(lists.vocabulary(), rng.randint(2, length) if vary else length)
        items.append(Item(" ".join(given), " ".join(change(given, extra))))
    return Drawn(items, "short")


def recall(lists: Lists, rng: random.Random) -> Drawn:
    """Who has what, told once and then asked again in another order."""
    owners = rng.sample(lists.words["person"], rng.randint(3, 9))
    verb = rng.choice(["has", "bought", "wants", "sees", "carries", "found", "lost", "likes", "holds", "keeps"])
    grammar, both = lists.grammar, rng.random() < 0.6
    things = [f"the {grammar.expand('colour', rng)} {grammar.expand('item', rng)}" for _ in owners]
    if not both:
        things = [f"the {grammar.expand('item', rng)}" for _ in owners]
    told = [Item(f"{owner} {verb}", thing) for owner, thing in zip(owners, things, strict=True)]
    return Drawn(again(told, rng), rng.choice(["{x} {y}.", "{x} {y} .", "{x} {y}", "{x}: {y}"]))


def meanings(lists: Lists, rng: random.Random) -> Drawn:
    """Made-up words, or plain ones, that stand for others: a key and its value, again and again."""
    number = rng.randint(3, 9)
    keys = [nonsense(rng) for _ in range(number)] if rng.random() < 0.5 else rng.sample(lists.vocabulary(), number)
    told = [Item(key, value) for key, value in zip(keys, lists.draw_labels(number, rng), strict=True)]
    return Drawn(again(told, rng), rng.choice(["short", "{x} means {y}.", "{x} stands for {y} .", "short"]))


def runs(lists: Lists, rng: random.Random) -> Drawn:
    """Short runs of words, each seen several times, in random order."""
    told = [Item(" ".join(rng.sample(lists.vocabulary(), rng.randint(2, 6)))) for _ in range(rng.randint(2, 6))]
    return Drawn(again(told, rng), "{x}")


def tables(lists: Lists, rng: random.Random) -> Drawn:
    """Rows of a table, some of them seen again."""
    columns = rng.sample(list(lists.words), rng.randint(2, 4))
    rows = [[rng.choice(lists.words[column]) for column in columns] for _ in range(rng.randint(3, 8))]
    bar = rng.choice([" | ", ", ", " ; ", " - ", " / "])
    told = [Item(row[0] + bar + bar.join(row[1:-1]) if row[1:-1] else row[0], row[-1]) for row in rows]
    return Drawn(again(told, rng), "{x}" + bar + "{y}")


def again(told: list[Item], rng: random.Random) -> list[Item]:
    """All items once, then some of them again in random order."""
    more = rng.randint(len(told), max(len(told) + 1, MOST - len(told)))
    return told + rng.choices(told, k=more)


def nonsense(rng: random.Random) -> str:
    """A word that there is not: two or three syllables."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 3)))


def copies(lists: Lists, rng: random.Random) -> Drawn:
    """One of the kinds that copy."""
    return rng.choice([changes, recall, meanings, meanings, runs, tables])(lists, rng)


KINDS: dict[str, Callable[[Lists, random.Random], Drawn]] = {
    "facts": facts,
    "words": words,
    "sentences": sentences,
    "copies": copies,
}

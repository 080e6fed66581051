"""Lay the items of a document out as text."""

import random
from collections.abc import Sequence

from lists import Item, Lists

ORDERED = 0.25  # how often a line goes before the items that says what to do


def lay_out(layout: str, items: Sequence[Item], lists: Lists, rng: random.Random) -> str:
    """Write every item in one way; a layout that is a key is drawn from the lists."""
    form = rng.choice(lists.layouts[layout]) if layout in lists.layouts else layout
    word, other = rng.sample(lists.layouts["words"], 2)
    body = rng.choice(lists.layouts["joints"]).join(
        form.format(x=item.text, y=item.label, w=word, v=other) for item in items
    )
    if rng.random() >= ORDERED or layout not in lists.layouts:
        return body
    return f"{order_line(items, lists, rng)}{rng.choice([':', '.', ' :', ''])}\n{body}"


def order_line(items: Sequence[Item], lists: Lists, rng: random.Random) -> str:
    """A line that says what to do; one that counts or names the labels only where they are few."""
    labels = sorted({item.label for item in items})
    rng.shuffle(labels)
    forms = [form for form in lists.layouts["order"] if len(labels) <= 5 or "{" not in form]
    return rng.choice(forms).format(k=len(labels), labels=" , ".join(labels))

"""Sentences by rewriting: a rule is alternatives split by `|`; `{name}` in one stands for one of that rule."""

import random
import re
from collections.abc import Mapping

SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"\ba (?=[aeio]|u(?!ni|se))(?!one\b)")
WERE = re.compile(r"\b(?!james|charles|carlos|thomas)(\w+[a-rt-z]s) was\b")
ENDS = (".", ".", ".", " .", " .", "")


def alternatives(text: str) -> list[str]:
    """Split the text of a rule into its alternatives."""
    return [part.strip() for part in text.split("|")]


class Grammar:
    """Rules by name; each alternative is kept as literal, name, literal, name, ..., literal."""

    def __init__(self, rules: Mapping[str, str]):
        self.rules = {name: [SLOT.split(part) for part in alternatives(text)] for name, text in rules.items()}

    def expand(self, name: str, rng: random.Random, scope: str = "") -> str:
        """Rewrite a rule until no name is left; the rule `scope:name` goes before `name`."""
        parts = rng.choice(self.rules.get(f"{scope}:{name}") or self.rules[name])
        return "".join(part if at % 2 == 0 else self.expand(part, rng, scope) for at, part in enumerate(parts))

    def sentence(self, name: str, rng: random.Random, scope: str = "") -> str:
        """Rewrite a rule and put right what rewriting leaves: spaces, articles, the end."""
        text = WERE.sub(r"\1 were", ARTICLE.sub("an ", " ".join(self.expand(name, rng, scope).split())))
        return text if text.endswith("?") else text + rng.choice(ENDS)

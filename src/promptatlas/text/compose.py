"""Sub-prompts joined to one template, and rules: what stands at its slots where a label is right.

Han, Zhao, Ding, Liu & Sun 2021, "PTR: Prompt Tuning with Rules for Text Classification", arXiv:2105.11259, sec. 3: a
label is a conjunction of simple things to say, each with a sub-prompt of its own.

    >>> rules = Rules.of(
    ...     ("{text}", " The {mask:a} {head!}", " {mask:b} {mask:c}", " the {mask:d} {tail!}."),
    ...     {"born": ("person", "born in", "city"), "founded": ("person", "founder of", "company")},
    ... )
    >>> str(rules.template)
    '{text} The {mask:a} {head!} {mask:b} {mask:c} the {mask:d} {tail!}.'
    >>> rules.words["founded"]
    ('person', 'founder', 'of', 'company')
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from promptatlas.errors import SettingError, WordError, near
from promptatlas.text.pieces import Piece, SlotPiece
from promptatlas.text.template import Template

REVERSED = "reversed"

Phrases = tuple[str, ...]
Rule = str | Sequence[str] | Mapping[str, str]  # a phrase, several, or {"reversed": label}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A template of several slots, and the word each label has at each.

    Attributes:
        template: the sub-prompts, joined.
        words: label -> a word a slot.
    """

    template: Template
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, prompts: Sequence[str], rules: Mapping[str, Rule]) -> "Rules":
        """Sub-prompts, and for each label a phrase a sub-prompt that has slots, or its words in any other division.

        Args:
            prompts: what to say, one after the other; they are joined as they are written, blanks included.
            rules: label -> phrases, whose words, parted by blanks, stand at the slots in order; or
                `{"reversed": label}`, the words of another label in reverse.

        Raises:
            TemplateError: a sub-prompt that can't be read.
            WordError: a rule with more words or fewer than the sub-prompts have slots.
            SettingError: a rule that reverses what isn't there.
        """
        told = phrases(rules)
        slots = [(one, len(Template.parse(one).slots)) for one in prompts]
        for label, some in told.items():
            _fits(label, some, [(one, count) for one, count in slots if count])
        return cls(template=compose(prompts), words={label: spelled(some) for label, some in told.items()})


def compose(prompts: Sequence[str]) -> Template:
    """Sub-prompts as one template. A slot whose name is taken gets a number behind it.

    >>> compose(("{text} {mask}", " and {mask}", " or {mask:x}")).slots
    ('', 'slot_2', 'x')
    """
    pieces: list[Piece] = []
    names: set[str] = set()
    for prompt in prompts:
        for piece in Template.parse(prompt).pieces:
            fresh = _fresh(piece, names) if isinstance(piece, SlotPiece) else piece
            names |= {fresh.name} if isinstance(fresh, SlotPiece) else set()
            pieces.append(fresh)
    return Template(tuple(pieces))


def phrases(rules: Mapping[str, Rule]) -> dict[str, Phrases]:
    """Label -> its phrases; those of a reversed one are the other's, from the last word to the first.

    Raises:
        SettingError: a rule that reverses what isn't there, or what is reversed itself.

    >>> phrases({"part": ("wheel", "part of", "car"), "whole": {"reversed": "part"}})["whole"]
    ('car', 'of part', 'wheel')
    """
    told = {label: _phrases(rule) for label, rule in rules.items() if not isinstance(rule, Mapping)}
    return {
        label: told[label] if label in told else _reversed(label, rule, told)
        for label, rule in rules.items()
    }  # fmt: skip


def spelled(some: Sequence[str]) -> tuple[str, ...]:
    """The words of phrases, in order. Phrases without blanks are a word each, as in Chinese."""
    return tuple(word for phrase in some for word in phrase.split())


def _phrases(rule: Rule) -> Phrases:
    return (rule,) if isinstance(rule, str) else tuple(rule)


def _reversed(label: str, rule: object, told: Mapping[str, Phrases]) -> Phrases:
    if not isinstance(rule, Mapping) or rule.keys() != {REVERSED}:
        raise SettingError(f"the rule of `{label}` is {rule!r}", hint='give its words, or {"reversed": another label}')
    other = str(rule[REVERSED])
    if other not in told:
        raise SettingError(
            f"the rule of `{label}` reverses `{other}`, which has no words of its own", hint=near(other, told)
        )
    return tuple(" ".join(reversed(phrase.split())) for phrase in reversed(told[other]))


def _fits(label: str, some: Phrases, slots: Sequence[tuple[str, int]]) -> None:
    """Raise WordError unless these phrases fill the slots of these sub-prompts."""
    words, wanted = len(spelled(some)), sum(count for _, count in slots)
    odd = [(phrase, *one) for phrase, one in zip(some, slots, strict=False) if len(phrase.split()) != one[1]]
    if words != wanted and len(some) == len(slots) and odd:
        phrase, prompt, count = odd[0]
        what = f"the rule of `{label}` has the words `{phrase}` for the slots of `{prompt}`, which are {count}"
        raise WordError(what, hint="give a word a slot")
    if words != wanted:
        said = " ".join(some)
        what = f"the rule of `{label}` has {words} words, `{said}`, and the sub-prompts have {wanted} slots"
        raise WordError(what, hint="give a word a slot")


def _fresh(slot: SlotPiece, names: set[str]) -> SlotPiece:
    """The slot under a name that isn't taken."""
    if slot.name not in names:
        return slot
    number = 2
    while f"{slot.name or 'slot'}_{number}" in names:
        number += 1
    return replace(slot, name=f"{slot.name or 'slot'}_{number}")

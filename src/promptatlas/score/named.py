"""Label vectors that start from what labels are called, where no word of the vocabulary could stand for one."""

import re
from collections.abc import Mapping
from warnings import warn

import torch

from promptatlas.errors import SettingError, WordError
from promptatlas.lm.lm import LM
from promptatlas.parts.head import LabelVectors
from promptatlas.score.words import ONE_SLOT
from promptatlas.text.template import Template

SHORT = {"per": "person", "org": "organization", "na": "no relation"}


def called(label: str) -> str:
    """What a relation's label says, in words: without what stands in brackets, marks between words, and capitals.

    Raises:
        SettingError: nothing is left of it.

    >>> called("per:city_of_birth"), called("Cause-Effect(e1,e2)"), called("NA")
    ('person city of birth', 'cause effect', 'no relation')
    """
    words = [SHORT.get(word, word) for word in re.split(r"[\s:/_-]+", label.partition("(")[0].lower()) if word]
    if not words:
        raise SettingError(f"no words are left of the label `{label}`", hint="say in `names` what it is called")
    return " ".join(words)


def named_rows(names: Mapping[str, str], lm: LM, template: Template) -> LabelVectors:
    """A row a label: the mean of the output projection's rows over the tokens of its name; biases are zero.

    A label of one token scores as this token does, but for the token's bias (Chen et al. 2022, arXiv:2104.07650, sec.
    4.1, with every word of a name as likely as another). Labels of one name start alike, and a warning says so.

    Args:
        names: label -> what it is called; a word that is said twice counts twice.
        lm: the model.
        template: with one slot.

    Raises:
        WordError: a template with several slots, or a name the vocabulary has nothing of.
    """
    if len(template.slots) != 1:
        slots = len(template.slots)
        raise WordError(f"labels are read at one slot, and `{template}` has {slots}", hint=ONE_SLOT)
    before = template.before(template.slots[0])
    rows, owner = [], dict[tuple[int, ...], str]()
    for label, name in names.items():
        ids = tuple(one for one in lm.word(name, before) if one not in lm.special)
        if not ids:
            what = f"nothing of `{name}`, what `{label}` is called, is in the vocabulary of {lm.name}"
            raise WordError(what, hint="say in `names` what it is called")
        if owner.setdefault(ids, label) != label:
            warn(f"labels `{owner[ids]}` and `{label}` are both called `{name}` and start alike", stacklevel=2)
        rows.append(lm.outputs[list(ids)].float().mean(0).cpu())
    return LabelVectors(torch.stack(rows), torch.zeros(len(rows)))

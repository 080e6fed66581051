"""What a prompt's answers are said with: the tokens of each word where it stands."""

from collections.abc import Sequence

from promptatlas.data.example import Example
from promptatlas.data.view import One
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.own import Own
from promptatlas.score.words import Words

Ids = tuple[int, ...]
Spoken = tuple[tuple[Ids, ...], ...]  # of each answer, the tokens of its words


def spoken(prompt: Prompt, lm: LM, example: Example, longest: int) -> Spoken:
    """Of each answer of an example, the tokens of its words where they stand: label words, or its own choices.

    Raises:
        SettingError: there is one answer only, or none that is words.
        WordError: a word that can't be read, or is longer than `longest` tokens; two labels that begin alike.
    """
    if isinstance(prompt.words, Own):
        rows = prompt.view.rows(example)
        found: Spoken = tuple((prompt.words.queries(lm, prompt.template, row)[0].answer,) for row in rows)
    elif isinstance(prompt.words, Words) and isinstance(prompt.view, One):
        tokens = prompt.words.tokens(lm, prompt.template)
        found = tuple(tuple(dict.fromkeys(tokens[label])) for label in prompt.labels)
    else:
        raise SettingError("only words are read under the vocabulary, and this prompt has none for its labels",
                           hint="give each label a word")  # fmt: skip
    if len(found) < 2:
        raise SettingError("there is one answer only", hint="a loss needs another one to tell it from")
    for ids in (ids for some in found for ids in some):
        if len(ids) > longest:
            raise WordError(
                f"the answer `{lm.text(ids)}` is {len(ids)} tokens in {lm.name}, and {longest} are the most",
                hint="set `longest` higher, or use a shorter word",
            )
    if isinstance(prompt.words, Words):  # choices are as they are
        _begin_apart(found, prompt.labels, lm)
    return found


def shared(words: Spoken) -> frozenset[int]:
    """Places at which all words have the same token, so that it tells nothing."""
    every = [ids for some in words for ids in some]
    return frozenset(at for at in range(min(map(len, every))) if len({ids[at] for ids in every}) == 1)


def _begin_apart(words: Spoken, labels: Sequence[str], lm: LM) -> None:
    """Refuse two labels whose first token is one, where not all have it: it would be right and wrong at once."""
    same = shared(words)
    owner: dict[tuple[int, int], str] = {}
    for label, some in zip(labels, words, strict=True):
        for ids in some:
            at = next((at for at in range(len(ids)) if at not in same), None)
            if at is None:
                raise WordError(
                    f"all words begin as `{lm.text(ids)}` of label `{label}` does", hint="choose another word for it"
                )
            other = owner.setdefault((at, ids[at]), label)
            if other != label:
                raise WordError(
                    f"words of the labels `{other}` and `{label}` begin with the same token in {lm.name}: "
                    f"`{lm.pieces(ids[at : at + 1])[0]}`",
                    hint="it can't be right and wrong at once: choose another word for one of them",
                )

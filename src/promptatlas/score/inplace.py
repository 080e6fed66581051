"""Label words as tokens: which tokens each word is where it stands, and which words can't be read there."""

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from warnings import warn

from promptatlas.errors import SettingError, WordError
from promptatlas.lm.lm import LM
from promptatlas.text.runs import Before

Ids = tuple[int, ...]


def check_words(words: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse words that are wrong in every model.

    Raises:
        WordError: no labels, a label without words, an empty word, a word of two labels.
    """
    if not words:
        raise WordError("there are no labels", hint='give each label its words: Words.of({"positive": "great", ...})')
    owner: dict[str, str] = {}
    for label, some in words.items():
        if not some:
            raise WordError(f"label `{label}` has no words", hint="give it at least one")
        for word in some:
            if not word.strip():
                raise WordError(f"a word of label `{label}` is empty", hint="give it at least one letter")
            if owner.setdefault(word, label) != label:
                raise WordError(
                    f"labels `{owner[word]}` and `{label}` share the word `{word}`", hint="a word stands for one label"
                )


def check_weights(words: Mapping[str, tuple[str, ...]], weights: Mapping[str, tuple[float, ...]]) -> None:
    """Refuse weights that don't fit the words.

    Raises:
        SettingError: other labels, not one a word, a negative one, or none above zero.
    """
    if weights.keys() != words.keys():
        odd = sorted(weights.keys() ^ words.keys())[0]
        raise SettingError(f"label `{odd}` is in only one of words and weights", hint="give every word its weight")
    for label, some in weights.items():
        if len(some) != len(words[label]):
            counts = f"{len(words[label])} words and {len(some)} weights"
            raise SettingError(f"label `{label}` has {counts}", hint="give one a word")
        if not all(isfinite(one) and one >= 0 for one in some) or not sum(some):
            shown = ", ".join(map(str, some))
            raise SettingError(f"the weights of label `{label}` are {shown}", hint="none below 0, one above it")


def tokens_in_place(
    words: Mapping[str, tuple[str, ...]], lm: LM, before: Before, *, single: bool, first: bool
) -> dict[str, tuple[Ids, ...]]:
    """Label -> the tokens of each of its words where they stand after `before`.

    Args:
        words: label -> its words.
        lm: whose tokens.
        before: what stands before the slot.
        single: refuse words of several tokens.
        first: keep only the first token of each.

    Raises:
        WordError: a word that can't be read, or two labels whose words are the same tokens.
    """
    found: dict[str, tuple[Ids, ...]] = {}
    owner: dict[Ids, tuple[str, str]] = {}
    for label, some in words.items():
        whole = tuple(_tokens(label, word, lm, before, single=single) for word in some)
        found[label] = tuple(ids[:1] for ids in whole) if first else whole
        for word, ids in zip(some, found[label], strict=True):
            other_label, other = owner.setdefault(ids, (label, word))
            if other_label != label:
                who = f"word `{other}` of label `{other_label}` and word `{word}` of label `{label}`"
                same = "begin with the same token" if first else "are the same tokens"
                raise WordError(
                    f"{who} {same} in {lm.name}: {_pieces(lm, ids)}",
                    hint="a token stands for one label: choose another word for one of them",
                )
    if lm.kind != "masked":
        _warn_of_beginnings(owner)
    return found


def token_in_place(word: str, label: str, lm: LM, before: Before) -> int:
    """The one token a label's word is where it stands. Raises WordError where it is none, several, or unknown."""
    (one,) = _tokens(label, word, lm, before, single=True, otherwise="")
    return one


def _tokens(
    label: str, word: str, lm: LM, before: Before, *, single: bool, otherwise: str = ", or Words(..., single=False)"
) -> Ids:
    ids = lm.word(word, before)
    what = f"label word `{word}` of label `{label}`"
    if not ids:
        raise WordError(f"{what} has no tokens in {lm.name}", hint="choose another word")
    if any(one in lm.special for one in ids):
        raise WordError(f"{what} is not in the vocabulary of {lm.name}: {_pieces(lm, ids)}", hint="choose another word")
    if single and len(ids) > 1:
        close = ", ".join(f"`{one}`" for one in _near_words(word, lm, before))
        raise WordError(
            f"{what} is {len(ids)} tokens in {lm.name}: {_pieces(lm, ids)}",
            hint="use a word that is one token" + (f" ({close})" if close else "") + otherwise,
        )
    return ids


def _pieces(lm: LM, ids: Ids) -> str:
    return " ".join(f"`{piece}`" for piece in lm.pieces(ids))


def _near_words(word: str, lm: LM, before: Before) -> list[str]:
    """Up to three words spelled nearly so, each one token here. Only tokens that begin alike are looked at closely."""
    start = word.strip()[:2].lower()
    pieces = lm.pieces(range(len(lm.vectors)))
    alike = (i for i, piece in enumerate(pieces) if start in piece[:3].lower())  # a mark of one character may lead
    texts = {lm.text([i]).strip() for i in alike}
    close = get_close_matches(word, sorted(text for text in texts if text.isalpha()), n=12, cutoff=0.5)
    return [one for one in close if len(lm.word(one, before)) == 1][:3]


def _warn_of_beginnings(owner: Mapping[Ids, tuple[str, str]]) -> None:
    """Say where one label's word goes on from another's: a model that reads left to right can't tell them apart."""
    for ids, (label, word) in owner.items():
        for length in range(1, len(ids)):
            other_label, other = owner.get(ids[:length], (label, word))
            if other_label != label:
                said = f"word `{word}` of label `{label}` goes on from word `{other}` of label `{other_label}`"
                warn(f"{said}: the shorter one's probability holds the longer one's", stacklevel=2)

"""What is given as `name=value`: label words and settings; words also as a file of JSON or a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptatlas.data.about import read_about
from promptatlas.data.lines import read_file, read_object, read_text
from promptatlas.errors import DataError, SettingError

HINT = "positive=great,good; or a JSON or TSV file of words by label"

Words = Mapping[str, tuple[str, ...]]


def words_of(given: Sequence[str] | None) -> Words | None:
    """Label words out of `label=word,word`, or of the JSON or TSV file that is given instead; None where nothing is.

    Raises:
        SettingError: neither of these, or a label without words.
        DataError: a file that can't be read.
    """
    if not given:
        return None
    if len(given) == 1 and (given[0].endswith((".json", ".tsv")) or "=" not in given[0]):
        return _file(Path(given[0]))
    words: dict[str, tuple[str, ...]] = {}
    for one in given:
        label, sign, listed = one.partition("=")
        some = tuple(word.strip() for word in listed.split(","))
        if not sign or not label.strip() or not all(some):
            raise SettingError(f"`--words {one}` gives no label its words", hint=HINT)
        words[label.strip()] = words.get(label.strip(), ()) + some
    return words


def pairs_of(given: Sequence[str] | None) -> dict[str, str]:
    """Settings out of `key=value`; the last of a key counts.

    Raises:
        SettingError: one without a key or `=`.
    """
    return dict(_pair(one, "--set", "--set length=20") for one in given or ())


def tries_of(given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """What is to be tried out of `key=values`, as it was given: a text each time a key was.

    Raises:
        SettingError: one without a key or `=`.
    """
    tries: dict[str, tuple[str, ...]] = {}
    for one in given or ():
        key, values = _pair(one, "--try", "--try lr=1e-4,3e-4")
        tries[key] = (*tries.get(key, ()), values)
    return tries


def _pair(given: str, option: str, hint: str) -> tuple[str, str]:
    key, sign, value = given.partition("=")
    if not sign or not key.strip():
        raise SettingError(f"`{option} {given}` is no setting", hint=hint)
    return key.strip(), value


def _file(path: Path) -> Words:
    if not path.exists():
        raise SettingError(f"`--words {path}` is neither label=word,word nor a file", hint=HINT)
    if path.suffix == ".tsv":
        return _table(path)
    words = read_about({"words": read_object(read_text(path), str(path))}, str(path)).words
    return words or {}


def _table(path: Path) -> Words:
    """Rules as a table with a header: a label, then a phrase a column; cells may be empty."""
    words: dict[str, tuple[str, ...]] = {}
    for line in read_file(path).lines:
        label, *some = map(str, line.values.values())
        if label in words:
            raise DataError(f"{line.where}: the label `{label}` is there already", hint="a row a label")
        words[label] = tuple(one for one in some if one)
    return words

from pathlib import Path

import pytest

from promptatlas.cli.given import pairs_of, words_of
from promptatlas.errors import DataError, SettingError


def test_words() -> None:
    assert words_of(None) is None
    assert words_of([]) is None
    given = ["good=great, fine", " bad =awful", "bad=so so", "formula=a=b"]
    assert words_of(given) == {"good": ("great", "fine"), "bad": ("awful", "so so"), "formula": ("a=b",)}


@pytest.mark.parametrize("name", ["words.json", "words"])
def test_words_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"good": ["great, really", "fine"], "bad": "awful"}', "utf-8")
    assert words_of([str(tmp_path / name)]) == {"good": ("great, really", "fine"), "bad": ("awful",)}


def test_words_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "rules.tsv"
    table.write_text("label\tone\trelation\tother\nborn\tperson\tborn in\tcity\n无\t物\t和\t物\n", "utf-8")
    assert words_of([str(table)]) == {"born": ("person", "born in", "city"), "无": ("物", "和", "物")}
    table.write_text("label\tword\nup\tgood\nup\tfine\n", "utf-8")
    with pytest.raises(DataError, match=r"rules\.tsv:3: the label `up` is there already"):
        words_of([str(table)])


def test_words_of_a_file_in_reverse(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"up": ["one", "over the", "other"], "down": {"reversed": "up"}}', "utf-8")
    assert words_of([str(rules)]) == {"up": ("one", "over the", "other"), "down": ("other", "the over", "one")}


@pytest.mark.parametrize("given", ["good=", "=great", "good=great,,fine", "good=great,"])
def test_words_that_are_none(given: str) -> None:
    with pytest.raises(SettingError) as caught:
        words_of(["bad=awful", given])
    assert caught.value.message == f"`--words {given}` gives no label its words"


def test_a_file_that_isnt_there_or_holds_other_things(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="is neither label=word,word nor a file"):
        words_of(["great"])
    with pytest.raises(SettingError, match="gives no label its words"):
        words_of(["good=great", "awful"])
    (tmp_path / "a.json").write_text('{"good": 3}', "utf-8")
    with pytest.raises(DataError, match="`words` of `good` is a number, not a list of strings"):
        words_of([str(tmp_path / "a.json")])
    (tmp_path / "a.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match="an array, not an object"):
        words_of([str(tmp_path / "a.json")])


def test_pairs() -> None:
    assert pairs_of(None) == {}
    assert pairs_of(["a=1", " b =x=y", "a=2", "c="]) == {"a": "2", "b": "x=y", "c": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(SettingError) as caught:
            pairs_of([wrong])
        assert str(caught.value) == f"`--set {wrong}` is no setting\n\nhint: --set length=20"

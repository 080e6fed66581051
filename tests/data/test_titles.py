"""Questions of titles: the rates of the sheet's 4.1, and what is kept of every draw."""

from collections import Counter
from math import sqrt
from pathlib import Path

import pytest

from promptatlas.data.corpus import Known
from promptatlas.data.questions import CHINESE, ENGLISH, NONE, asked, named, question, unquoted
from promptatlas.data.titles import Titled, Titles, parted, titled
from promptatlas.errors import DataError, SettingError

DOCUMENTS = tuple(Titled(f"title {at}", f"text {at}", str(at)) for at in range(400))
MANY = list(Titles(DOCUMENTS, seed=3, passes=10))


def texts(*documents: str) -> list[Titled]:
    return list(titled(documents, characters=12))


def test_a_document_s_first_line_is_its_title() -> None:
    assert texts("A  great\n\nday", 'He said "no"\nand went away for good', "小说\n一个故事") == [
        Titled("A great", "day", "0"), Titled("He said 'no'", "and went awa", "1"), Titled("小说", "一个故事", "2"),
    ]  # fmt: skip


def test_what_has_no_title_is_left_out() -> None:
    assert texts("one line", f"{'long ' * 30}\ntext", "\n", "Same\nfirst", "same\nsecond") == [
        Titled("Same", "first", "3")
    ]


def test_what_is_measured_on_is_kept_out(tmp_path: Path) -> None:
    words = " ".join(f"word{at}" for at in range(20))
    (tmp_path / "measured.txt").write_text(words, encoding="utf8")
    known = Known([tmp_path / "measured.txt"])
    found = titled([f"One\n{words}", "Two\nsomething else"], characters=400, without=known)
    assert [one.title for one in found] == ["Two"]


def test_the_right_title_decides_what_is_held_out() -> None:
    taught, held = parted(DOCUMENTS, 0.25)
    assert {*taught} | {*held} == {*DOCUMENTS}
    assert len(held) == pytest.approx(100, abs=3 * sqrt(75))
    assert parted(reversed(DOCUMENTS), 0.25)[1] == tuple(reversed(held))


def test_an_answer_is_always_an_option_and_there_are_2_to_15() -> None:
    assert all(one.target in one.fields["options"] for one in MANY)  # type: ignore[operator]
    counts = Counter(len(one.fields["options"]) for one in MANY)  # type: ignore[arg-type]
    assert sorted(counts) == list(range(2, 16))
    expected = len(MANY) / 14
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 34.5  # chi2, 13 degrees, p = .001
    assert all(len({*one.fields["options"]}) == len(one.fields["options"]) for one in MANY)  # type: ignore


def test_half_the_questions_have_none_of_the_above_and_one_in_n_of_those_is_answered_so() -> None:
    none = NONE["en"]
    there = [none in one.fields["options"] for one in MANY]  # type: ignore[operator]
    assert sum(there) == pytest.approx(len(MANY) / 2, abs=3 * sqrt(len(MANY) / 4))
    chances = [0.5 / len(one.fields["options"]) for one in MANY]  # type: ignore[arg-type]
    answered = sum(one.target == none for one in MANY)
    assert answered == pytest.approx(sum(chances), abs=3 * sqrt(sum(p * (1 - p) for p in chances)))
    for one, has in zip(MANY, there, strict=True):
        assert one.fields["none"] == ("answer" if one.target == none else "option" if has else "")


@pytest.mark.parametrize("of", ["answer", "none"])
def test_the_order_is_uniform(of: str) -> None:
    some = [one for one in MANY if of == "answer" or one.fields["none"]]
    places = [
        one.fields["options"].index(one.target if of == "answer" else NONE["en"])  # type: ignore[attr-defined]
        * 60 // len(one.fields["options"])  # type: ignore[arg-type]
        for one in some
    ]  # fmt: skip
    means = [(place + 0.5 * 60 / len(one.fields["options"])) / 60 for place, one in zip(places, some, strict=True)]  # type: ignore[arg-type]
    assert sum(means) / len(means) == pytest.approx(0.5, abs=3 * sqrt(1 / 12 / len(means)) + 0.01)
    pairs = Counter(
        one.fields["options"].index(one.target if of == "answer" else NONE["en"])  # type: ignore[attr-defined]
        for one in some
        if len(one.fields["options"]) == 5  # type: ignore[arg-type]
    )
    expected = sum(pairs.values()) / 5
    assert sum((pairs[at] - expected) ** 2 / expected for at in range(5)) < 18.5  # chi2, 4 degrees, p = .001


def test_every_wording_is_drawn() -> None:
    counts = Counter(one.fields["asked"] for one in MANY)
    expected = len(MANY) / len(ENGLISH)
    assert sum((counts[at] - expected) ** 2 / expected for at in range(26)) < 52.7  # chi2, 25 degrees, p = .001
    for one in MANY[:40]:
        wording = question("en", one.fields["asked"])  # type: ignore[arg-type]
        assert one.fields["question"] == asked(wording, one.fields["options"])  # type: ignore[arg-type]


def test_every_pass_draws_anew_and_the_seed_alone_decides() -> None:
    again = Titles(DOCUMENTS, seed=3, passes=10)
    assert [again[at] for at in (0, 400, 3999)] == [MANY[at] for at in (0, 400, 3999)]
    assert MANY[0].fields["text"] == MANY[400].fields["text"]
    assert MANY[0].fields != MANY[400].fields
    assert (MANY[0].key, MANY[400].key) == ("0/0", "0/1")
    other = Titles(DOCUMENTS, seed=4, passes=10)
    assert [other[at].fields for at in range(20)] != [one.fields for one in MANY[:20]]
    assert other.key() != again.key() == Titles(DOCUMENTS, seed=3, passes=10).key()
    assert again.key() != Titles(DOCUMENTS[:-1], seed=3, passes=10).key()


def test_few_documents_give_few_options_and_one_none() -> None:
    assert {len(one.fields["options"]) for one in Titles(DOCUMENTS[:3], seed=0, passes=20)} == {2, 3}  # type: ignore
    with pytest.raises(DataError, match="there are 1 documents with a title"):
        Titles(DOCUMENTS[:1], seed=0)
    with pytest.raises(SettingError, match="`most` is 1"):
        Titles(DOCUMENTS, seed=0, most=1)


def test_chinese_has_wordings_of_its_own() -> None:
    some = list(Titles(DOCUMENTS, seed=0, language="zh"))
    assert any(one.target == "以上都不是" for one in some)
    assert {one.fields["asked"] for one in some} == {*range(len(CHINESE))}


def test_wordings_are_26_and_none_is_twice() -> None:
    assert len({*ENGLISH}) == 26
    assert len({*CHINESE}) == len(CHINESE)
    with pytest.raises(SettingError, match="there is no question 26") as caught:
        question("en", 26)
    assert caught.value.hint == "they count from 0 to 25"


def test_quotes_within_an_option_are_told_from_those_around_it() -> None:
    assert asked("Which?", ["a, b", unquoted('say "c"')]) == 'Which? : " a, b " , " say \'c\' "'
    with pytest.raises(DataError, match='the option `"c"` has a quote in it'):
        asked("Which?", ['"c"'])
    with pytest.raises(SettingError, match="a description of `upp`") as caught:
        named(("up", "down"), {"upp": "Good"})
    assert caught.value.hint == "did you mean `up`?"

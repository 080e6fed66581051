import gzip
import json
import lzma
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from promptatlas.data import corpus
from promptatlas.data.corpus import GRAM, Corpus, Known, below, chance, documents
from promptatlas.errors import DataError, SettingError

TEXT = "The first line.\nIts second.\n\n\n  \t \nAnother document, 电影 é.\n\nThe last"
WANTED = ["The first line.\nIts second.", "Another document, 电影 é.", "The last"]
OPENERS = {"txt": lambda data: data, "gz": gzip.compress, "xz": lzma.compress}
WORDS = [f"word{at}" for at in range(60)]


def put(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n \n"])
def test_documents_are_the_same_however_a_file_is_packed(kind: str, end: str, last: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(OPENERS[kind]((TEXT + last).replace("\n", end).encode()))
    assert list(documents(path)) == WANTED


@pytest.mark.parametrize("text", ["", "\n\n", "  \n\t\n"])
def test_a_file_without_text_has_no_documents(text: str, tmp_path: Path) -> None:
    assert list(documents(put(tmp_path / "a.txt", text))) == []


def test_a_long_document_is_cut_at_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "LONGEST", 20)
    path = put(tmp_path / "a.txt", "\n".join(f"line {at} abc" for at in range(6)) + "\n\nshort\n")
    assert list(documents(path)) == [f"line {at} abc\nline {at + 1} abc" for at in (0, 2, 4)] + ["short"]


def test_blank_lines_do_not_count_for_the_length_of_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "LONGEST", 20)
    assert list(documents(put(tmp_path / "a.txt", "\n" * 50 + "one\ntwo\n"))) == ["one\ntwo"]


def test_the_first_document_is_given_before_the_second_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xz"
    data = lzma.compress(b"first\n\n" + b"".join(b"%d\n\n" % at for at in range(60_000)))
    path.write_bytes(data[: len(data) // 2])  # what comes behind isn't even there
    found = documents(path)
    assert list(islice(found, 2)) == ["first", "0"]
    with pytest.raises(DataError):
        list(found)


def _truncated(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"a.{kind}"
        path.write_bytes(OPENERS[kind]("\n\n".join(WORDS).encode() * 50)[:-20])
        return path

    return make


def _broken(folder: Path) -> Path:
    path = folder / "a.gz"
    path.write_bytes(gzip.compress(b"text")[:10] + b"\xff" * 40)  # a block of a type that isn't
    return path


def _other(folder: Path) -> Path:
    return put(folder / "a.xz", "plain text")


@pytest.mark.parametrize(
    "make",
    [_truncated("xz"), _truncated("gz"), _broken, _other, lambda folder: folder / "a.txt", lambda folder: folder],
    ids=["cut xz", "cut gz", "broken gz", "no xz", "missing", "folder"],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(DataError) as caught:
        list(documents(path))
    assert caught.value.message.startswith(f"`{path}` can't be read: ")
    assert caught.value.hint == "plain text, .xz or .gz, in UTF-8"


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory"):
        list(documents(tmp_path / "a.txt"))


@pytest.mark.parametrize("lines", [2, 5000])  # in the first block that is read, and in a later one
def test_what_is_not_utf8_is_an_error_that_says_on_which_line(lines: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good line\n" * lines + b"caf\xe9\n" + b"more\n")
    with pytest.raises(DataError) as caught:
        list(documents(path))
    assert f"`{path}` is not UTF-8" in caught.value.message
    assert f"line {lines + 1}" in caught.value.message or f"after line {lines}:" in caught.value.message
    assert caught.value.hint == "convert it: `iconv -t utf-8`"


def many(tmp_path: Path) -> Path:
    return put(tmp_path / "many.txt", "\n\n".join(f"document {at}" for at in range(400)))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_whole_weight_repeats_every_document(times: int, tmp_path: Path) -> None:
    one = Corpus.parse(f"{many(tmp_path)}={times}")
    assert list(one.documents()) == [text for text in documents(one.path) for _ in range(times)]


def test_half_the_weight_takes_half_of_them_the_same_every_time(tmp_path: Path) -> None:
    path = many(tmp_path)
    half, more = (list(Corpus.parse(f"{path}={weight}").documents()) for weight in ("0.5", "1.5"))
    assert half == list(Corpus.parse(f"{path}=0.5").documents())
    assert 150 < len(half) < 250
    assert sorted(half) == sorted(set(half))
    assert {text for text in more if more.count(text) == 2} == set(half)
    assert len(set(more)) == 400
    assert set(Corpus.parse(f"{path}=0.2").documents()) < set(half)


@pytest.mark.parametrize("weight", ["0", "-1", "x", "", "nan", "inf"])
def test_a_weight_that_is_no_number_above_0_is_refused(weight: str, tmp_path: Path) -> None:
    text = f"{many(tmp_path)}={weight}"
    with pytest.raises(SettingError) as caught:
        Corpus.parse(text)
    assert str(caught.value) == f"`{text}` gives the weight `{weight}`\n\nhint: FILE=2 takes every document twice"


def test_a_name_may_have_an_equals_sign(tmp_path: Path) -> None:
    path = put(tmp_path / "a=2", "text")
    assert Corpus.parse(str(path)) == Corpus(path)
    assert Corpus.parse(f"{path}=3") == Corpus(path, 3.0)
    assert Corpus.parse("plain.txt") == Corpus(Path("plain.txt"), 1.0)


def test_a_chance_is_a_number_that_text_and_purpose_fix() -> None:
    assert chance("a", "held") == chance("a", "held")
    assert len({chance("a", "held"), chance("a", "weight"), chance("b", "held"), chance("\ud800", "held")}) == 4
    found = [chance(str(at), "x") for at in range(1000)]
    assert all(0 <= one < 1 for one in found)
    assert 0.45 < sum(found) / 1000 < 0.55


def test_a_folder_is_its_texts_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [put(tmp_path / name, "x") for name in ("a.jsonl", "b/c.txt", "z.txt")]
    put(tmp_path / "other.csv", "x")
    assert below(tmp_path) == paths
    assert below(paths[2]) == [paths[2]]


@pytest.mark.parametrize("at", [0, 1, 7, GRAM, 20, 60 - GRAM])
def test_a_document_that_shares_thirteen_words_in_a_row_is_known(at: int, tmp_path: Path) -> None:
    known = Known([put(tmp_path / "a.txt", "a first document\n\n" + " ".join(WORDS))])
    assert " ".join(["other", *WORDS[at : at + GRAM], "words"]) in known
    assert " ".join(["other", *WORDS[at : at + GRAM - 1], "words"]) not in known
    assert " ".join([*WORDS[at : at + 6], "between", *WORDS[at + 6 : at + GRAM]]) not in known


def test_case_and_punctuation_do_not_hide_a_known_text(tmp_path: Path) -> None:
    known = Known([put(tmp_path / "a.txt", " ".join(WORDS))])
    assert "\n".join(f'"{word.upper()}",' for word in WORDS[:GRAM]) in known


def test_chinese_text_without_blanks_is_known_too(tmp_path: Path) -> None:
    text = "这部电影的故事非常精彩演员的表演也令人难忘我会推荐给所有的朋友去看"
    known = Known([put(tmp_path / "a.txt", text)])
    assert f"昨天有人说{text}真的吗" in known
    assert text[:6] + "其他" + text[20:26] not in known


def test_strings_of_json_lines_are_known_wherever_they_are(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": " ".join(WORDS[:GRAM]), "n": 3, "none": None}),
        "",
        json.dumps({"deep": [{"er": " ".join(WORDS[13:26])}]}),
        json.dumps({"tokens": WORDS[26:39]}),
        '{"text": "' + " ".join(WORDS[39:52]) + '", "cut',
        json.dumps(" ".join(WORDS[52:] + WORDS[:5])),
    ]
    known = Known([put(tmp_path / "a.jsonl", "\n".join(lines))])
    for at in (0, 13, 26, 39):
        assert " ".join(WORDS[at : at + GRAM]) in known, at
    assert " ".join(WORDS[52:] + WORDS[:5]) in known
    assert " ".join(WORDS[7:20]) not in known  # of two strings


def test_short_texts_are_looked_for_nowhere(tmp_path: Path) -> None:
    assert "good film" not in Known([put(tmp_path / "a.txt", "good film")])
    assert "anything at all" not in Known([])

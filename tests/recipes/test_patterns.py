import itertools
import lzma
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))  # the recipes are programs, not a package: they import what lies beside them

import patterns  # noqa: E402
from lists import WORD, Lists  # noqa: E402

WORDS = 40_000


@pytest.fixture(scope="module")
def lists() -> Lists:
    return Lists.read()


@pytest.fixture(scope="module")
def facts() -> dict[str, dict]:
    return tomllib.loads((RECIPES / "facts.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def documents() -> list[patterns.Document]:
    return list(patterns.documents(WORDS, seed=0))


def test_the_same_seed_gives_the_same_text_and_another_seed_another(tmp_path):
    texts = []
    for name, seed in [("one.txt", 1), ("two.txt.xz", 1), ("three.txt", 2)]:
        path = tmp_path / name
        patterns.main(["--out", str(path), "--words", "2000", "--seed", str(seed)])
        data = path.read_bytes()
        texts.append((lzma.decompress(data) if path.suffix == ".xz" else data).decode())
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0].split()) >= 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.txt", "three.txt", "two.txt.xz"]


def test_as_many_words_as_asked_in_the_shares_asked(documents):
    counts = Counter()
    for document in documents:
        counts[document.kind] += len(document.text.split())
    assert WORDS <= counts.total() < WORDS + 1000
    for kind, share in patterns.SHARES.items():
        assert counts[kind] / counts.total() == pytest.approx(share, abs=0.02)


def test_no_held_pair_stands_in_an_item(documents, facts):
    held = {pair for relation in facts.values() for one, two in relation["held"] for pair in [(one, two), (two, one)]}
    for item in itertools.chain.from_iterable(document.items for document in documents):
        found = set(WORD.findall(f"{item.text} {item.label}"))
        assert not held.intersection(itertools.permutations(found, 2)), item


def test_no_label_is_banned(documents, lists):
    assert {"great", "terrible", "world", "sports", "yes", "subjective"} <= lists.banned
    labels = {item.label for document in documents for item in document.items}
    assert len(labels) > 500
    assert not labels & lists.banned


def test_a_banned_label_in_the_lists_is_refused(tmp_path):
    for name in ("lists.toml", "facts.toml"):
        text = (RECIPES / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("anchor | angle", "anchor | sports"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^lists\.toml: labels that BANNED forbids: sports; take other words$"):
        Lists.read(tmp_path)


def test_every_document_shows_its_pattern_three_times_without_a_blank_line(documents):
    for document in documents:
        assert len(document.items) >= 3
        assert all(line.strip() for line in document.text.split("\n")), document.text
        assert all(document.text.count(item.text) >= 1 and item.label in document.text for item in document.items)


def test_no_template_of_a_benchmark(documents):
    for document in documents:
        for template in ("it was ", "all in all", "topic:", "sentiment:", "category:", " news:", "review:", "article:"):
            assert template not in document.text


def test_facts_are_enough_and_what_is_held_is_one_word(facts):
    assert len(facts) >= 14
    for name, relation in facts.items():
        assert "{subject}" in relation["template"], name
        assert relation["template"].count("{answer}") == 1, name
        assert len(relation["pairs"]) >= 20, name
        assert len(relation["held"]) >= 15, name
        assert all(len(WORD.findall(word)) == 1 for pair in relation["held"] for word in pair), name
        subjects = [pair[0] for pair in relation["pairs"] + relation["held"]]
        assert len(subjects) == len(set(subjects)), name


@pytest.mark.parametrize("words", ["0", "-5"])
def test_fewer_words_than_one_is_refused(words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        patterns.main(["--out", str(tmp_path / "out.txt"), "--words", words])
    assert f"argument --words: must be 1 or more, not {words}" in capsys.readouterr().err

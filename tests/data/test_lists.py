from pathlib import Path

import pytest

from promptatlas.data.lists import read_lists
from promptatlas.errors import DataError

LABELS = ("up", "down")


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "good, great,good\nbad\n"),  # in the labels' order
        ("a.txt", "down: bad\n\nup: good, great\n"),
        ("a.txt", "up：good，great、good\ndown：bad\n"),
        ("a.json", '{"up": ["good", "great"], "down": "bad"}'),
        ("a.json", '{"down": ["bad"], "up": ["good", {"kinds": ["great"]}]}'),
    ],
)
def test_words_by_label_in_any_way_people_write_them(tmp_path: Path, name: str, text: str) -> None:
    assert read_lists(written(tmp_path, name, text), LABELS) == {"up": ("good", "great"), "down": ("bad",)}


def test_a_folder_has_a_file_a_label(tmp_path: Path) -> None:
    written(tmp_path, "up.txt", "good\n\ngreat fun\n")
    written(tmp_path, "down.txt", "bad\n")
    assert read_lists(tmp_path, LABELS) == {"up": ("good", "great fun"), "down": ("bad",)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "good\n", "1 lines for 2 labels, `up`, `down`"),
        ("a.txt", "good\n,\n", "no words for the label `down`"),
        ("a.json", '{"up": "good"}', "no words for the label `down`"),
        ("a.json", '{"up": "good", "don": "bad"}', "words for `don`, which is no label\n\nhint: did you mean `down`?"),
        ("a.json", '[{"up": "good"}]', "an array, not an object of words by label"),
        ("a.json", '{"up": [1], "down": "bad"}', "`up` is a number, not words"),
        ("a.txt", "up: good\nup: bad\n", "no words for the label `down`"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_lists(written(tmp_path, name, text), LABELS)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)

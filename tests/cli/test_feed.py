from pathlib import Path

import pytest
from tests.cli import small

from promptatlas.cli.feed import Item, feed
from promptatlas.errors import DataError


def items(path: Path, content: bytes) -> list[Item]:
    path.write_bytes(content)
    return list(feed(str(path)))


def values(path: Path, content: bytes) -> list[object]:
    return [item.value for item in items(path, content)]


def test_a_text_a_line_blank_ones_too(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert items(path, b"one\r\n\ntwo {x}") == [
        Item(f"{path}:1", "one"),
        Item(f"{path}:2", ""),
        Item(f"{path}:3", "two {x}"),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a"])
def test_an_object_a_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = '﻿{"text": "茶"}\n\n{"text": "b", "n": 1}\n'.encode()
    assert items(path, content) == [Item(f"{path}:1", {"text": "茶"}), Item(f"{path}:3", {"text": "b", "n": 1})]


def test_tables_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert items(path, b'text, n\n"a\nb",1\n\n"c ""d""",2\n') == [
        Item(f"{path}:2", {"text": "a\nb", "n": "1"}),
        Item(f"{path}:5", {"text": 'c "d"', "n": "2"}),
    ]
    assert values(tmp_path / "a.TSV", b"text\tn\na, b\t1\n") == [{"text": "a, b", "n": "1"}]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_nothing_is_nothing(tmp_path: Path, name: str) -> None:
    assert items(tmp_path / name, b"") == []


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    small.feed(monkeypatch, b"one\ntwo\n")
    assert list(feed("-")) == [Item("stdin:1", "one"), Item("stdin:2", "two")]


def test_a_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\xff\n")
    read = feed(str(path))
    assert next(read).value == "one"
    with pytest.raises(DataError):
        next(read)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"one\ntwo \xe9\n", "{path}:2: byte 0xe9 is not UTF-8\n\nhint: save the file as UTF-8"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "{path}:2: an array, not an object"),
        ("a.txt", b'{"a": 1}\n{"a"\n', "{path}:2: not JSON at column 5: "),
        ("a.csv", b"a,b\n1,2\n1\n", "{path}:3: 1 cells, the header has 2"),
        ("a.csv", b'a,b\n"1"x,2\n', "{path}:2: "),
        ("a.csv", b"a,b\n1,\xff\n", "{path}:2: byte 0xff is not UTF-8"),
    ],
)
def test_what_cant_be_read_is_told_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    with pytest.raises(DataError) as caught:
        items(path, content)
    assert str(caught.value).startswith(message.format(path=path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(feed(str(tmp_path / "no")))
    assert caught.value.message == f"{tmp_path / 'no'}: can't be opened: No such file or directory"
    with pytest.raises(DataError, match="can't be opened"):
        list(feed(str(tmp_path)))

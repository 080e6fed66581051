from pathlib import Path

import pytest

from promptatlas.data.lines import from_rows, read_file
from promptatlas.errors import DataError


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a file into the folder tests run in, so that messages name it by its name alone."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str | bytes) -> Path:
        path = Path(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def values(path: Path) -> list[dict[str, object]]:
    return [dict(line.values) for line in read_file(path).lines]


def test_json_lines_skip_blank_ones_and_count_them(file):
    lines = read_file(file("a.jsonl", '{"x": 1}\n\n  \n{"x": "é"}\r\n')).lines
    assert [(line.where, dict(line.values)) for line in lines] == [("a.jsonl:1", {"x": 1}), ("a.jsonl:4", {"x": "é"})]


def test_a_line_separator_in_a_string_does_not_end_the_line(file):
    assert values(file("a.jsonl", '{"x": "a\u2028b\x85c"}')) == [{"x": "a\u2028b\x85c"}]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b'{"x": "1"}'), ("a.csv", b"x\n1\n"), ("a.tsv", b"x\n1"), ("A.CSV", b"x\r\n1\r\n")],
)
def test_a_byte_order_mark_is_not_part_of_the_first_column(file, mark, name, content):
    assert values(file(name, mark + content)) == [{"x": "1"}]


def test_csv_cells_may_hold_commas_quotes_and_line_breaks(file):
    lines = read_file(file("a.csv", 'text, label\n"a, ""b""\nc",x\n\nd,y\n')).lines
    assert [dict(line.values) for line in lines] == [
        {"text": 'a, "b"\nc', "label": "x"},
        {"text": "d", "label": "y"},
    ]
    assert [line.where for line in lines] == ["a.csv:2", "a.csv:5"]


def test_tsv_cells_may_hold_commas(file):
    assert values(file("a.tsv", "text\tlabel\na, b\tx\n")) == [{"text": "a, b", "label": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "a.jsonl: no rows"),
        ("a.csv", "", "a.csv: no rows"),
        ("a.csv", "text,label\n", "a.csv: no rows"),
        (
            "a.jsonl",
            '{"x": 1}\n{"x": }\n',
            "a.jsonl:2: not JSON at column 7: Expecting value\n\nhint: a row is one JSON object on one line",
        ),
        ("a.jsonl", "\n[1]\n", "a.jsonl:2: an array, not an object"),
        ("a.jsonl", '{"x": 1}\n{"y": 1}', "a.jsonl:2: no `x`, which the first row has"),
        ("a.jsonl", '{"x": 1}\n{"x": 1, "y": 1}', "a.jsonl:2: `y`, which the first row doesn't have"),
        (
            "a.jsonl",
            b'{"x": "a"}\n\n{"x": "\xe9"}',
            "a.jsonl:3: byte 0xe9 is not UTF-8\n\nhint: save the file as UTF-8",
        ),
        ("a.csv", b"\xff\xfet\x00", "a.csv:1: byte 0xff is not UTF-8\n\nhint: save the file as UTF-8"),
        (
            "a.csv",
            "text,label\n\na,b,c\n",
            "a.csv:3: 3 cells, the header has 2\n\n"
            'hint: put quotes around a cell that holds a delimiter, a quote or a line break: "a, b"',
        ),
        ("a.csv", "text,text\na,b\n", "a.csv:1: two columns `text`"),
        ("a.csv", "text,\na,b\n", "a.csv:1: a column without a name"),
        (
            "a.csv",
            'text,label\na,b\n"c,d\n',
            'a.csv:3: unexpected end of data\n\nhint: a quote within a quoted cell is doubled: "a ""b"" c"',
        ),
        (
            "a.json",
            "{}",
            "a.json: files `.json` can't be read\n\n"
            "hint: a data file is .jsonl (an object a line), .csv or .tsv (with a header)",
        ),
        (
            "a",
            "{}",
            "a: a file without an ending can't be read\n\n"
            "hint: a data file is .jsonl (an object a line), .csv or .tsv (with a header)",
        ),
    ],
)
def test_a_file_that_can_not_be_read_says_where(file, name, content, message):
    with pytest.raises(DataError) as error:
        read_file(file(name, content))
    assert str(error.value) == message


def test_a_number_too_long_for_python_is_an_error_of_the_file(file):
    with pytest.raises(DataError, match=r"^a\.jsonl:1: JSON that can't be read: Exceeds the limit"):
        read_file(file("a.jsonl", '{"x": ' + "9" * 5000 + "}"))


def test_a_file_that_can_not_be_opened(tmp_path):
    folder = tmp_path / "a.csv"
    folder.mkdir()
    with pytest.raises(DataError) as error:
        read_file(folder)
    assert str(error.value) == f"{folder}: can't be opened: Is a directory"


def test_rows_in_memory_have_places():
    with pytest.raises(DataError) as error:
        from_rows("rows", [{"x": 1}, {"x": 2, "y": 3}])
    assert str(error.value) == "rows[1]: `y`, which the first row doesn't have"
    with pytest.raises(DataError) as error:
        from_rows("rows", iter([{"x": 1}, ("x", 2)]))  # an iterator: its types are not checked before
    assert str(error.value) == "rows[1]: a tuple, not a mapping"

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy
import pytest

from promptatlas.errors import SettingError
from promptatlas.registry.values import checked, described, read


class Kettle(Protocol):
    def boil(self) -> None: ...


@pytest.mark.parametrize(
    ("hint", "value", "kept"),
    [
        (int, 3, 3),
        (int, numpy.int64(3), 3),
        (float, 3, 3.0),
        (float, numpy.float32(0.5), 0.5),
        (float | None, None, None),
        (bool, True, True),
        (str, "a", "a"),
        (Literal["a", "b"], "b", "b"),
        (Literal["a"] | int, 4, 4),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, ...], (), ()),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[float, ...] | None, [1, 2], (1.0, 2.0)),
        (Sequence[str], ["a"], ("a",)),
        (tuple[tuple[int, ...], ...], [[1], [2, 3]], ((1,), (2, 3))),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (Any, 3, 3),
    ],
)
def test_a_value_of_the_type_is_kept(hint: Any, value: object, kept: object) -> None:
    got = checked("x", hint, value)
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3.0),
        (int, True),
        (int, "3"),
        (float, "0.1"),
        (float, True),
        (float, float("nan")),
        (float, float("inf")),
        (bool, 1),
        (str, None),
        (str, 3),
        (Literal["a", "b"], "c"),
        (Literal[1], True),
        (tuple[int, ...], "12"),
        (tuple[int, ...], [1, "a"]),
        (tuple[int, str], [1]),
        (int | None, "none"),
        (Mapping[str, int], [1]),
    ],
)
def test_a_value_of_another_type_is_refused(hint: Any, value: object) -> None:
    with pytest.raises(SettingError, match="`x` can't be "):
        checked("x", hint, value)


def test_what_a_protocol_asks_is_left_to_the_method() -> None:
    assert checked("x", Kettle, 3) == 3


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "3", 3),
        (int, "-3", -3),
        (float, "1e-3", 1e-3),
        (float, "3", 3.0),
        (float | None, "none", None),
        (float | None, "0.5", 0.5),
        (bool, "true", True),
        (bool, "No", False),
        (bool, "1", True),
        (str, "3", "3"),
        (str, "", ""),
        (str | None, "None", None),
        (int | str, "3", 3),
        (str | int, "3", 3),
        (int | str, "three", "three"),
        (Literal["a", 2], "2", 2),
        (Literal["", "first"], "", ""),
        (tuple[int, ...], "1,2", (1, 2)),
        (tuple[int, ...], "1, 2", (1, 2)),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[int, ...], "", ()),
        (tuple[str, ...], "N/A,[MASK]", ("N/A", "[MASK]")),
        (tuple[str, ...], '["a, b", ""]', ("a, b", "")),
        (tuple[int, str], "1,a", (1, "a")),
        (Mapping[str, int], '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_is_read_as_the_type_says(hint: Any, text: str, value: object) -> None:
    got = read("x", hint, text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "message"),
    [
        (int, "3.5", "`x` can't be `3.5`\n\nhint: it takes an integer"),
        (float | None, "much", "`x` can't be `much`\n\nhint: it takes a number or none"),
        (float, "nan", "`x` can't be `nan`\n\nhint: it takes a number"),
        (bool, "maybe", "`x` can't be `maybe`\n\nhint: it takes true or false"),
        (Literal["a", "b"], "c", "`x` can't be `c`\n\nhint: it takes `a` or `b`"),
        (tuple[int, ...], "1,b", "`x` can't be `1,b`\n\nhint: it takes a list: each an integer"),
        (tuple[int, str], "1", "`x` can't be `1`\n\nhint: it takes a list: an integer, then a text"),
        (Kettle, "hot", "`x` can't be `hot`\n\nhint: it takes a Kettle"),
    ],
)
def test_a_text_that_is_no_value(hint: Any, text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read("x", hint, text)
    assert str(caught.value) == message


def test_annotations_in_words() -> None:
    assert described(int | None) == "an integer or none"
    assert described(tuple[str, ...]) == "a list: each a text"

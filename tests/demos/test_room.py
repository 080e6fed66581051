import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.data.example import Example
from promptatlas.demos.room import shrink
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Shown, Template


def examples(*sizes: int) -> list[Example]:
    return [Example({"text": "x " * size}, "y", str(i)) for i, size in enumerate(sizes)]


def size(demos: list[Example]) -> int:
    return sum(len(str(one.fields["text"]).split()) for one in demos)


@pytest.mark.parametrize(
    ("room", "first", "last"),
    [(10, "0123", "0123"), (9, "123", "012"), (5, "3", "01"), (4, "3", "01"), (3, "", "0"), (0, "", "")],
)
def test_they_go_from_one_end(room: int, first: str, last: str) -> None:
    demos = examples(3, 1, 2, 4)
    for drop, expected in (("first", first), ("last", last)):
        kept = shrink(demos, lambda some: size(some) <= room, drop)  # type: ignore[arg-type]
        assert "".join(one.key for one in kept) == expected


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(0, 120), st.sampled_from(["first", "last"]))
def test_as_many_as_fit_and_no_more(sizes: list[int], room: int, drop: str) -> None:
    demos, calls = examples(*sizes), []

    def fits(some: list[Example]) -> bool:
        calls.append(len(some))
        return size(some) <= room

    kept = shrink(demos, fits, drop)  # type: ignore[arg-type]
    count = len(kept)
    assert kept == (demos[:count] if drop == "last" else demos[len(demos) - count :])
    assert size(kept) <= room
    if count < len(demos):
        assert size(demos[: count + 1] if drop == "last" else demos[len(demos) - count - 1 :]) > room
    assert len(calls) <= 7  # not one look a demonstration


def test_one_look_where_all_fit() -> None:
    calls = []
    demos = examples(1, 1, 1)
    assert shrink(demos, lambda some: bool(calls.append(1)) or True, "first") == demos
    assert len(calls) == 1


def test_the_latest_stay_in_the_prompt_and_the_query_is_last() -> None:
    template = Template.parse("Q: {text} A:{mask}")
    shown = [Shown({"text": name}, word) for name, word in (("one", " yes"), ("two", " no"))]

    def text(demos: list[Shown]) -> str:
        runs = template.render({"text": "three"}, demos=demos, between=Template.parse("\n"))
        return "".join(run.text for run in runs if isinstance(run, TextRun))

    assert text(shown) == "Q: one A: yes\nQ: two A: no\nQ: three A:"
    by_key = {str(i): one for i, one in enumerate(shown)}
    demos = [Example(one.fields, key=key) for key, one in by_key.items()]
    kept = shrink(demos, lambda some: len(text([by_key[one.key] for one in some])) < 30, "first")
    assert text([by_key[one.key] for one in kept]) == "Q: two A: no\nQ: three A:"

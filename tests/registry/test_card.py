from pathlib import Path

import pytest

from promptatlas import registry
from promptatlas.errors import SettingError
from promptatlas.registry.card import HEADINGS, Setting, read_card

GIVEN = {"efl": {"start": "none"}}  # what has no default
FILE = '''"""Tea: a cup in front
of the text.

Potter & Cup 1901, arXiv:0101.00001.

Learns: nothing.
Needs: a kettle: any.
Relations: `coffee` is
the same, later.
Example:
    >>> if True:
    ...     1
    1
"""
import there_is_no_such_module

class Helper:
    """Not it."""

@dataclass(frozen=True, kw_only=True)
class Tea:
    """Settings.

    Attributes:
        cups: how many
            there are.
        hot: whether.

    More words: none.
    """

    cups: int
    hot: bool = True
    kind: tuple[str, ...] = field(default=("green",))

    name: ClassVar[str] = "tea"
    needs: ClassVar[Needs] = Needs(kinds=("causal",), slot=False, tasks=ANY)
    published: ClassVar[Mapping[str, object]] = {"hot": False}

    def fit(self):
        raise RuntimeError
'''


def test_a_card_is_read_and_nothing_is_run(tmp_path: Path) -> None:
    file = tmp_path / "tea.py"
    file.write_text(FILE, "utf-8")
    card = read_card("tea", "some.tea", file)
    assert card.target == "some.tea:Tea"
    assert card.sentence == "Tea: a cup in front of the text."
    assert card.paper == "Potter & Cup 1901, arXiv:0101.00001."
    assert card.sections == {
        "Learns": "nothing.",
        "Needs": "a kettle: any.",
        "Relations": "`coffee` is the same, later.",
        "Example": ">>> if True:\n...     1\n1",
    }
    assert card.settings == (
        Setting("cups", "int", "", "how many there are.", ""),
        Setting("hot", "bool", "True", "whether.", "False"),
        Setting("kind", "tuple[str, ...]", "field(default=('green',))", "", ""),
    )
    assert card.needs == {"kinds": ("causal",), "slot": False, "tasks": "ANY"}
    assert card.to_json()["settings"][1]["name"] == "hot"


def test_a_class_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "tea.py"
    file.write_text(FILE, "utf-8")
    assert read_card("tea", "some.tea", file, "Helper").target == "some.tea:Helper"
    with pytest.raises(SettingError, match="has no class `Coffee`"):
        read_card("tea", "some.tea", file, "Coffee")


@pytest.mark.parametrize("text", ["x = 1\n", "class A:\n    pass\n", "def fit():\n    pass\n"])
def test_a_file_without_a_method(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text, "utf-8")
    with pytest.raises(SettingError, match="has no class with a `fit`"):
        read_card("a", "a", tmp_path / "a.py")


@pytest.mark.parametrize("content", [b"def (:\n", b"\xff\n", None])
def test_a_file_that_cant_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.py").write_bytes(content)
    with pytest.raises(SettingError, match="the method `a` can't be read from"):
        read_card("a", "a", tmp_path / "a.py")


@pytest.mark.parametrize("name", registry.names())
def test_our_cards_are_whole(name: str) -> None:
    card = registry.card(name)
    assert card.sentence.endswith(".")
    assert "arXiv:" in card.paper
    assert list(card.sections) == [one for one in HEADINGS if one in card.sections]
    assert {"Learns", "Needs", "Relations", "Example"} <= card.sections.keys()
    assert [one.name for one in card.settings if not one.doc] == []


@pytest.mark.parametrize("name", registry.names())
def test_a_card_says_what_the_class_is(name: str) -> None:
    given = GIVEN.get(name, {})
    card, made = registry.card(name), registry.method(name, **given)
    assert made.name == name
    for one in card.settings:
        assert repr(getattr(made, one.name)) == one.default or "(" in one.default or one.name in given
    paper = registry.method(name, paper=True, **given)
    theirs = {one.name for one in card.settings if one.published}
    assert {one.name for one in card.settings if getattr(paper, one.name) != getattr(made, one.name)} == theirs

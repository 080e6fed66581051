import sys
from pathlib import Path

import pytest

from promptatlas import registry
from promptatlas.errors import SettingError
from promptatlas.registry import find

OURS = (
    "autoprompt",
    "contextual_calibration",
    "fine_tuning",
    "in_context",
    "kate",
    "p_tuning",
    "p_tuning_v2",
    "pattern_tuning",
    "prefix_tuning",
    "prompt_tuning",
)
OTHER = '''"""Steeping: it waits.

Pot 1902, arXiv:0201.00001.
"""
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True, kw_only=True)
class Steeping:
    """Settings.

    Attributes:
        minutes: to wait.
        leaf: the sort.
    """

    minutes: int
    leaf: str = "black"
    name: ClassVar[str] = "steeping"
    published: ClassVar[dict[str, object]] = {"leaf": "green"}

    def fit(self, lm, task, prompt, *, run=None):
        return prompt
'''


@pytest.fixture
def kettle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of someone else's with an entry point; importing the package itself fails loudly."""
    package, facts = tmp_path / "kettle", tmp_path / "kettle-1.0.dist-info"
    package.mkdir()
    facts.mkdir()
    (package / "__init__.py").write_text("import os\nif 'KETTLE' not in os.environ: raise RuntimeError('imported')\n")
    (package / "steeping.py").write_text(OTHER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: kettle\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[promptatlas.methods]\nsteeping = kettle.steeping:Steeping\n"
        "gone = kettle.nowhere:Gone\nkate = kettle.steeping:Steeping\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("kettle", "kettle.steeping"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return package


def test_ours_are_the_files() -> None:
    assert set(OURS) <= set(registry.names())
    assert list(registry.names()) == sorted(registry.names())


def test_a_file_with_an_underscore_is_no_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__init__.py", "_half.py", "whole.py", "notes.txt"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(find, "FOLDER", tmp_path)
    monkeypatch.setattr(find, "entry_points", lambda group: ())
    assert registry.names() == ("whole",)


def test_another_package_adds_a_method_that_listing_does_not_import(kettle: Path) -> None:
    assert "steeping" in registry.names()
    card = registry.card("steeping")
    assert card.target == "kettle.steeping:Steeping"
    assert card.sentence == "Steeping: it waits."
    assert "kettle" not in sys.modules


def test_a_method_of_another_package_is_made(kettle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KETTLE", "1")
    made = registry.method("steeping", minutes=4)
    assert (made.minutes, made.leaf) == (4, "black")
    assert registry.method("steeping", minutes=4, paper=True).leaf == "green"
    assert registry.method("steeping", minutes=4, paper=True, leaf="red").leaf == "red"
    with pytest.raises(SettingError) as caught:
        registry.method("steeping")
    assert str(caught.value) == "`steeping` has no default for `minutes`\n\nhint: give minutes=..."


def test_our_own_name_wins(kettle: Path) -> None:
    assert registry.card("kate").target.startswith("promptatlas.methods.kate:")


def test_an_entry_point_to_nothing(kettle: Path) -> None:
    with pytest.raises(
        SettingError, match=r"`gone` is said to be in `kettle\.nowhere`, and there is no `kettle\.nowhere`"
    ):
        registry.card("gone")


def test_a_method_that_cant_be_imported(kettle: Path) -> None:
    (kettle / "steeping.py").write_text(OTHER.replace("from typing", "from no_such_typing"))
    (kettle / "__init__.py").write_text("")
    with pytest.raises(SettingError, match="the method `steeping` can't be imported"):
        registry.method("steeping", minutes=1)


def test_an_unknown_method_says_what_was_meant() -> None:
    with pytest.raises(SettingError) as caught:
        registry.method("kats")
    assert str(caught.value) == "there is no method `kats`\n\nhint: did you mean `kate`?"


def test_an_unknown_setting_says_what_was_meant() -> None:
    with pytest.raises(SettingError) as caught:
        registry.method("prompt_tuning", lenght=3)
    assert str(caught.value) == "`prompt_tuning` has no setting `lenght`\n\nhint: did you mean `length`?"


def test_a_value_of_another_type() -> None:
    with pytest.raises(SettingError) as caught:
        registry.method("prompt_tuning", length="20")
    assert str(caught.value) == "`length` can't be '20'\n\nhint: it takes an integer"


def test_the_papers_settings() -> None:
    ours, theirs = registry.method("prompt_tuning"), registry.method("prompt_tuning", paper=True, seed=3)
    assert ours.length == 10
    assert (theirs.length, theirs.steps, theirs.lr, theirs.seed) == (100, 30_000, 0.3, 3)
    assert registry.method("prompt_tuning", paper=True, length=5).length == 5


def test_a_seed_goes_to_who_has_one_and_was_given_none() -> None:
    assert registry.seeded("bitfit", 7, steps=3) == registry.method("bitfit", seed=7, steps=3)
    assert registry.seeded("bitfit", 7, seed=1) == registry.method("bitfit", seed=1)
    assert registry.seeded("contextual_calibration", 7) == registry.method("contextual_calibration")
    assert registry.seeded("bitfit", 7, paper=True) == registry.method("bitfit", paper=True, seed=7)


def test_settings_out_of_text() -> None:
    texts = {"length": "5", "lr": "1e-2", "flat": "none", "start": "uniform"}
    assert registry.settings_from("prompt_tuning", texts) == {"length": 5, "lr": 0.01, "flat": None, "start": "uniform"}
    with pytest.raises(SettingError, match="has no setting `lenght`"):
        registry.settings_from("prompt_tuning", {"lenght": "5"})


def test_alternatives_are_between_commas_but_of_lists_and_texts() -> None:
    assert registry.alternatives("prompt_tuning", "lr", "0.1, 0.3") == ("0.1", "0.3")
    assert registry.alternatives("kate", "metric", "cosine,euclidean") == ("cosine", "euclidean")
    assert registry.alternatives("contextual_calibration", "blanks", "N/A,") == ("N/A,",)
    assert registry.alternatives("in_context", "between", ", ") == (", ",)
    with pytest.raises(SettingError, match="`kate` has no setting `metrics`"):
        registry.alternatives("kate", "metrics", "cosine")


def test_whether_there_is_a_setting() -> None:
    assert registry.has("prompt_tuning", "seed")
    assert not registry.has("prompt_tuning", "name")

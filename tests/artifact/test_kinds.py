from importlib.metadata import EntryPoint

import pytest
from tests.artifact.prompts import known

from promptatlas.artifact import kinds
from promptatlas.artifact.kinds import find
from promptatlas.errors import ArtifactError
from promptatlas.parts.vectors import Vectors


@pytest.mark.parametrize(("role", "kind"), sorted(known()))
def test_every_kind_is_a_class_that_says_so(role: kinds.Role, kind: str) -> None:
    found = find(role, kind)
    assert isinstance(found, type)
    assert found.kind == kind
    assert found.version >= 1


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("parts.mine", "promptatlas.parts.vectors:Vectors", "promptatlas.kinds"),
        EntryPoint("words.gone", "promptatlas.nowhere:Gone", "promptatlas.kinds"),
        EntryPoint("words.unnamed", "promptatlas.errors:Gone", "promptatlas.kinds"),
    ]
    monkeypatch.setattr(kinds, "entry_points", lambda group: points)
    kinds._added.cache_clear()
    yield
    kinds._added.cache_clear()


@pytest.mark.usefixtures("added")
def test_another_package_adds_a_kind_of_one_role() -> None:
    assert find("parts", "mine") is Vectors
    assert "mine" in kinds.kinds("parts")
    with pytest.raises(ArtifactError, match="`mine` is no kind of words that is known here"):
        find("words", "mine")


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("kind", ["gone", "unnamed"])
def test_a_kind_whose_class_is_not_there_says_where_it_should_be(kind: str) -> None:
    with pytest.raises(
        ArtifactError, match=rf"the kind `{kind}` of words can't be imported from `promptatlas\.\w+:Gone`"
    ):
        find("words", kind)

"""Every example in a docstring is run."""

import doctest
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent.parent / "src"
FILES = sorted(file for file in SOURCE.rglob("*.py") if ">>> " in file.read_text("utf-8"))
NAMES = [".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for file in FILES]


class Finder(doctest.DocTestFinder):
    """Finds functions that are wrapped to check their types, too."""

    def _from_module(self, module: ModuleType | None, thing: object) -> bool:
        found: bool = super()._from_module(module, unwrap(thing) if callable(thing) else thing)  # type: ignore[misc]
        return found


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name: str) -> None:
    module = import_module(name)
    runner = doctest.DocTestRunner(verbose=False)
    for example in Finder().find(module, name):
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0

"""The rules of the house that no other tool checks: src by its syntax tree, and what pyproject.toml says twice."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "promptatlas"
FILE, FUNCTION, METHOD = 300, 60, 120  # most lines
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[str, ast.Module, str], Iterator[str]]  # path below promptatlas/, its tree, its text -> what is wrong


def short_file(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    lines = len(text.splitlines())
    most = METHOD if path.startswith("methods/") else FILE
    if lines > most:
        yield f"{path}: {lines} lines, {most} at most: something in it belongs elsewhere"


def short_functions(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION:
                yield f"{path}:{node.lineno}: `{node.name}` has {lines} lines, {FUNCTION} at most"


def no_print(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    if not path.startswith("cli/"):
        for line in calls_of(tree, {"print"}):
            yield f"{path}:{line}: prints; only the command line does"


def nothing_evaluated(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    for line in calls_of(tree, {"eval", "exec"}):
        yield f"{path}:{line}: evaluates text"


def nothing_unpickled(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    for node, names in imports_of(tree):
        for name in names:
            if name.split(".")[0] in UNSAFE:
                yield f"{path}:{node.lineno}: imports {name}; what is kept is JSON and safetensors"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.save"}:
            yield f"{path}:{node.lineno}: {ast.unparse(node.func)} pickles; what is kept is JSON and safetensors"


def own_imports_on_top(path: str, tree: ast.Module, text: str) -> Iterator[str]:
    if path.startswith("cli/") or path == "__init__.py":
        return
    for function in ast.walk(tree):
        if isinstance(function, Function):
            for node, names in imports_of(function):
                if any(name.split(".")[0] == "promptatlas" for name in names):
                    yield f"{path}:{node.lineno}: imports {names[0]} inside `{function.name}`, to dodge a ring"


def calls_of(tree: ast.AST, names: set[str]) -> Iterator[int]:
    """Lines on which one of these built-in functions is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node.lineno


def imports_of(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, list[str]]]:
    """Every import below, with the modules it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            yield node, ["promptatlas" if node.level else node.module or ""]


RULES: list[Rule] = [short_file, short_functions, no_print, nothing_evaluated, nothing_unpickled, own_imports_on_top]


def broken(rule: Rule, path: str, text: str) -> list[str]:
    return list(rule(path, ast.parse(text), text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps(rule: Rule) -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert files, f"nothing under {SOURCE}"
    found = [
        line for file in files for line in broken(rule, file.relative_to(SOURCE).as_posix(), file.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


LONG = "def long():\n" + "    x = 1\n" * FUNCTION


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (short_file, "lm/a.py", "x = 1\n" * (FILE + 1)),
        (short_file, "methods/a.py", "x = 1\n" * (METHOD + 1)),
        (short_functions, "lm/a.py", LONG),
        (short_functions, "lm/a.py", "class A:\n" + "".join(f"    {line}\n" for line in LONG.splitlines())),
        (no_print, "lm/a.py", "print(1)\n"),
        (nothing_evaluated, "lm/a.py", "eval('1')\n"),
        (nothing_evaluated, "cli/a.py", "def f():\n    exec('1')\n"),
        (nothing_unpickled, "lm/a.py", "import pickle\n"),
        (nothing_unpickled, "lm/a.py", "def f():\n    from dill import loads\n"),
        (nothing_unpickled, "lm/a.py", "import torch\ntorch.load('a')\n"),
        (own_imports_on_top, "lm/a.py", "def f():\n    from promptatlas.lm import b\n"),
        (own_imports_on_top, "lm/a.py", "class A:\n    async def f(self):\n        import promptatlas.text\n"),
        (own_imports_on_top, "lm/a.py", "def f():\n    from . import b\n"),
    ],
)
def test_a_rule_finds_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    assert broken(rule, path, text)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (short_file, "lm/a.py", "x = 1\n" * FILE),
        (short_file, "methods/a.py", "x = 1\n" * METHOD),
        (short_functions, "lm/a.py", LONG.removesuffix("    x = 1\n")),
        (no_print, "cli/a.py", "print(1)\n"),
        (no_print, "lm/a.py", "console.print(1)\n"),
        (nothing_evaluated, "lm/a.py", "model.eval()\n"),
        (own_imports_on_top, "cli/a.py", "def f():\n    from promptatlas.lm import b\n"),
        (own_imports_on_top, "lm/a.py", "from promptatlas.lm import b\ndef f():\n    import json\n"),
    ],
)
def test_a_rule_lets_pass_what_keeps_it(rule: Rule, path: str, text: str) -> None:
    assert not broken(rule, path, text)


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without __init__.py isn't seen by import-linter: its modules would be in no layer."""
    folders = {file.parent for file in SOURCE.rglob("*.py")}
    missing = [folder.relative_to(SOURCE).as_posix() for folder in folders if not (folder / "__init__.py").is_file()]
    assert not missing


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_extra_dev_is_the_two_groups(project: dict) -> None:
    groups = project["dependency-groups"]
    assert sorted(project["project"]["optional-dependencies"]["dev"]) == sorted(groups["test"] + groups["lint"])


def test_what_is_installed_is_pinned(project: dict) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    pins = {line.split("==")[0]: line for line in lines}
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line)] == []  # nor a local suffix
    extras = project["project"]["optional-dependencies"]
    wanted = [Requirement(one) for one in project["project"]["dependencies"] + extras["dev"] + extras["data"]]
    loose = [str(one) for one in wanted if canonicalize_name(one.name) not in pins]
    assert not loose
    unfit = [str(one) for one in wanted if not one.specifier.contains(pins[canonicalize_name(one.name)].split("==")[1])]
    assert not unfit


def test_the_readme_is_the_description_of_the_package(project: dict) -> None:
    """A build fails where pyproject.toml names a README that isn't there, and shows none where it names none."""
    assert project["project"].get("readme") == ("README.md" if (ROOT / "README.md").is_file() else None)

"""Cards: what a method's file says of itself, read from its syntax tree; the file is not run."""

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptatlas.errors import SettingError

HEADINGS = ("Learns", "Needs", "Relations", "Differs", "Example")


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    Attributes:
        name: of the field.
        type: as it is written.
        default: as it is written; "" where it has to be given.
        doc: what turning it does.
        published: the paper's value, as it is written; "" where it is the default.
    """

    name: str
    type: str
    default: str
    doc: str
    published: str


@dataclass(frozen=True)
class Card:
    """What a method's file says of it.

    Attributes:
        name: of the method.
        target: where it stands, "module:Class".
        sentence: what it does.
        paper: authors, year, title, number.
        sections: heading -> text, in the order of `HEADINGS`, those that are there.
        settings: in the order of the fields.
        needs: what is said of models, splits and tasks; what isn't said is not restricted.
    """

    name: str
    target: str
    sentence: str
    paper: str
    sections: dict[str, str]
    settings: tuple[Setting, ...]
    needs: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def read_card(name: str, module: str, file: Path, cls: str | None = None) -> Card:
    """The card of a method's file.

    Args:
        name: of the method.
        module: the file's, for `target`.
        file: where it is.
        cls: the method's class; the file's one class with a `fit` where not given.

    Raises:
        SettingError: the file can't be read, or has no such class.
    """
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise SettingError(f"the method `{name}` can't be read from `{file}`: {error}") from error
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and _is_method(node, cls)), None)
    if found is None:
        wanted = f"class `{cls}`" if cls else "class with a `fit`"
        raise SettingError(f"the method `{name}` has no {wanted} in `{file}`")
    sentence, paper, sections = _sections(ast.get_docstring(tree) or "")
    constants = {target: value for target, annotation, value in _fields(found) if annotation.startswith("ClassVar")}
    return Card(
        name=name,
        target=f"{module}:{found.name}",
        sentence=sentence,
        paper=paper,
        sections=sections,
        settings=tuple(_settings(found, _entries(constants.get("published")))),
        needs={key: _literal(value) for key, value in _entries(constants.get("needs")).items()},
    )


def _is_method(node: ast.ClassDef, cls: str | None) -> bool:
    if cls is not None:
        return node.name == cls
    return any(isinstance(one, ast.FunctionDef) and one.name == "fit" for one in node.body)


def _sections(doc: str) -> tuple[str, str, dict[str, str]]:
    """The first paragraph, the second, and what stands under each heading."""
    opening, *rest = re.split(rf"^({'|'.join(HEADINGS)}):", doc, flags=re.MULTILINE)
    sentence, _, paper = opening.strip().partition("\n\n")
    sections = {heading: _text(heading, text) for heading, text in zip(rest[::2], rest[1::2], strict=True)}
    return _line(sentence), _line(paper), sections


def _text(heading: str, text: str) -> str:
    if heading != "Example":
        return _line(text)
    return "\n".join(line.removeprefix("    ") for line in text.strip("\n").splitlines()).strip()


def _line(text: str) -> str:
    return " ".join(text.split())


def _fields(cls: ast.ClassDef) -> Iterator[tuple[str, str, ast.expr | None]]:
    """Name, annotation and value of every annotated name of a class."""
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, ast.unparse(node.annotation), node.value


def _settings(cls: ast.ClassDef, published: dict[str, ast.expr]) -> Iterator[Setting]:
    docs = _attributes(ast.get_docstring(cls) or "")
    for name, annotation, value in _fields(cls):
        if not annotation.startswith("ClassVar"):
            default = "" if value is None else ast.unparse(value)
            theirs = ast.unparse(published[name]) if name in published else ""
            yield Setting(name, annotation, default, docs.get(name, ""), theirs)


def _attributes(doc: str) -> dict[str, str]:
    """What the section "Attributes" of a docstring says of each."""
    _, _, section = doc.partition("Attributes:\n")
    found = re.split(r"^    (\w+): ", section.split("\n\n")[0], flags=re.MULTILINE)
    return {name: _line(text) for name, text in zip(found[1::2], found[2::2], strict=True)}


def _entries(value: ast.expr | None) -> dict[str, ast.expr]:
    """What a call is given by name, or a dict holds."""
    if isinstance(value, ast.Call):
        return {one.arg: one.value for one in value.keywords if one.arg}
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(key.value): one for key, one in pairs if isinstance(key, ast.Constant)}
    return {}


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)

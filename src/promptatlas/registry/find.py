"""Methods by name.

Ours are the files of `methods/`, but for those whose name begins with `_`. Another package adds one by an entry point:

    [project.entry-points."promptatlas.methods"]
    my_method = "my_package.my_method:MyMethod"
"""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.registry.card import Card, read_card
from promptatlas.registry.values import checked, read, split

if TYPE_CHECKING:  # listing methods costs no torch
    from promptatlas.data.task import Task
    from promptatlas.lm.lm import LM
    from promptatlas.prompting import Prompt
    from promptatlas.train.needs import Method

GROUP = "promptatlas.methods"
FOLDER = Path(__file__).parent.parent / "methods"


def names() -> tuple[str, ...]:
    """The names of all methods, in order."""
    return tuple(sorted(_ours().keys() | _added().keys()))


def card(name: str) -> Card:
    """What a method's file says of it; the file is not imported.

    Raises:
        SettingError: there is no such method (near names), or its file can't be found.
    """
    ours = _ours()
    if name in ours:
        return read_card(name, f"promptatlas.methods.{name}", ours[name])
    added = _added()
    if name not in added:
        raise SettingError(f"there is no method `{name}`", hint=near(name, ours.keys() | added.keys()))
    module, _, cls = added[name].partition(":")
    return read_card(name, module, _file(name, module), cls or None)


def method(name: str, /, *, paper: bool = False, **settings: object) -> "Method":
    """A method with these settings.

    Args:
        name: one of `names()`.
        paper: where a setting isn't given it is the paper's, not our default.
        settings: fields of the method's class; its card describes them.

    Raises:
        SettingError: no such method or setting (near names), a value of another type, or one that has to be given.
    """
    cls = _class(name)
    hints = _hints(name, cls, settings)
    given = {key: checked(key, hints[key], value) for key, value in settings.items()}
    needed = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]
    missing = [one for one in needed if one not in given]
    if missing:
        raise SettingError(f"`{name}` has no default for `{missing[0]}`", hint=f"give {missing[0]}=...")
    made: Method = cls(**{**(cls.published if paper else {}), **given})
    return made


def seeded(name: str, seed: int, /, *, paper: bool = False, **settings: Any) -> "Method":
    """A method with these settings, and with this seed where it has such a setting and none is given. See `method`."""
    given = {"seed": seed} if has(name, "seed") else {}
    return method(name, paper=paper, **{**given, **settings})


def settings_from(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a method out of text, as a command line has them.

    Raises:
        SettingError: no such method or setting, or a text that isn't a value of the setting's type.
    """
    hints = _hints(name, _class(name), texts)
    return {key: read(key, hints[key], text) for key, text in texts.items()}


def alternatives(name: str, setting: str, text: str) -> tuple[str, ...]:
    """The values a text offers for a setting: those between commas, or all of it where the setting is a list or text.

    Raises:
        SettingError: no such method or setting.
    """
    return split(_hints(name, _class(name), {setting: text})[setting], text)


def fitting(lm: "LM", task: "Task", prompt: "Prompt") -> tuple[str, ...]:
    """The methods that lack nothing with this model, task and prompt."""
    found = []
    for name in names():
        try:
            _class(name).needs.check(name, lm, task, prompt)
        except (NeedsError, SettingError):
            continue
        found.append(name)
    return tuple(found)


def has(name: str, setting: str) -> bool:
    """Whether a method has a setting."""
    return setting in (one.name for one in card(name).settings)


def _ours() -> dict[str, Path]:
    return {file.stem: file for file in sorted(FOLDER.glob("*.py")) if not file.stem.startswith("_")}


def _added() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _file(name: str, module: str) -> Path:
    """A module's file, found as an import finds it, but without running the packages it is in."""
    path: list[str] | None = None
    *packages, last = module.split(".")
    for at in range(len(packages) + 1):
        part = ".".join([*packages, last][: at + 1])
        specs = (finder.find_spec(part, path) for finder in sys.meta_path)
        spec = next((one for one in specs if one is not None), None)
        if spec is None or (at < len(packages) and spec.submodule_search_locations is None):
            raise SettingError(f"the method `{name}` is said to be in `{module}`, and there is no `{part}`")
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.origin else Path(last)


def _class(name: str) -> Any:
    target = card(name).target
    module, _, cls = target.partition(":")
    try:
        return getattr(import_module(module), cls)
    except ImportError as error:
        raise SettingError(f"the method `{name}` can't be imported from `{target}`: {error}") from error


def _hints(name: str, cls: Any, given: Mapping[str, object]) -> dict[str, Any]:
    """Setting -> its annotation. Raises SettingError for one that is given and isn't there."""
    types = get_type_hints(cls)
    known = {one.name: types[one.name] for one in fields(cls)}
    for key in given:
        if key not in known:
            raise SettingError(f"`{name}` has no setting `{key}`", hint=near(key, known))
    return known

"""Running the command line in this process, on a task small enough for a test."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from promptatlas.cli.main import main
from promptatlas.testing.tiny import tiny

GOOD = ("a lovely cup of tea", "the soup was warm and kind", "our walk was a joy", "bright rooms and soft beds")
BAD = ("the tea was cold and bitter", "a grim walk in the rain", "hard beds and dark rooms", "the soup had gone off")
TEMPLATE = "{text} It was {mask}."
WORDS = ("--words", "good=great", "--words", "bad=terrible")
QUICK = ("--set", "steps=4", "--set", "length=2", "--set", "batch=4")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """Call it with the words of a command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> Done:
        self.capsys.readouterr()
        code = main([str(one) for one in words])
        out, err = self.capsys.readouterr()
        return Done(code, out, err)

    def fails(self, *words: object) -> tuple[str, str]:
        """The message and the hint of a command that ends with 2, and has nothing to say on stdout."""
        done = self(*words)
        assert (done.code, done.out) == (2, ""), done
        message, _, hint = done.err.removesuffix("\n").partition("\nhint: ")
        assert message.startswith("error: "), done
        assert "\n" not in message.strip()
        return message.removeprefix("error: "), hint


def rows(texts: Sequence[str], label: str) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text in texts]


def write(path: Path, some: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in some), "utf-8")
    return path


def task(folder: Path, **about: Any) -> Path:
    """A folder of train, dev and test; with a task.json where something is said about it."""
    for split in ("train", "dev", "test"):
        write(folder / f"{split}.jsonl", rows(GOOD, "good") + rows(BAD, "bad"))
    if about:
        (folder / "task.json").write_text(json.dumps(about), "utf-8")
    return folder


def saved_model(family: str, folder: Path) -> Path:
    """A tiny model of a family, in a folder."""
    model = tiny(family)
    model.model.save_pretrained(folder)
    model.tokenizer.backend.save_pretrained(folder)
    return folder


def only_names(folder: Path) -> set[str]:
    """What a folder holds, hidden things too."""
    return {one.name for one in folder.iterdir()}


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put this on stdin."""

    class Stdin:
        buffer = content.splitlines(keepends=True)

    monkeypatch.setattr(sys, "stdin", Stdin())

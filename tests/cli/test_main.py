import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tests.cli.small import Command

import promptatlas

HEAVY = {"torch", "transformers", "tokenizers", "numpy", "sklearn", "matplotlib", "jaxtyping", "safetensors"}


def python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=clean | env)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["fit", "--help"],
        ["predict", "--help"],
        ["methods"],
        ["methods", "kate"],
        ["methods", "--json"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_help_and_methods_are_light(words: list[str]) -> None:
    code = (
        "import sys\nfrom promptatlas.cli.main import main\n"
        f"code = main({words!r})\n"
        "print(code, *{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = python("-c", code)
    code, *modules = done.stderr.split()
    assert code == "0"
    assert done.stdout
    assert not HEAVY & set(modules)


def test_every_command_is_listed(command: Command) -> None:
    done = command("--help")
    assert done.code == 0
    for name in ("demo", "fit", "predict", "evaluate", "ask", "methods", "show", "doctor"):
        assert f"│ {name} " in done.out


def test_as_a_module_and_its_version() -> None:
    done = python("-m", "promptatlas", "--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, promptatlas.__version__, "")


def test_a_mistake_is_a_message_a_hint_and_a_two(command: Command) -> None:
    assert command.fails("methods", "kats") == ("there is no method `kats`", "did you mean `kate`?")


@pytest.mark.parametrize(
    "words", [["nosuch"], ["methods", "--nosuch"], ["fit", "--shots", "-1"], ["fit", "--shots", "many"], ["show"]]
)
def test_a_wrong_command_line_is_a_two(command: Command, words: list[str]) -> None:
    done = command(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_no_words_is_the_help(command: Command) -> None:
    assert "Commands" in "".join(command()[1:])


def test_with_debug_a_mistake_has_its_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTATLAS_DEBUG", "1")
    done = command("methods", "kats")
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.endswith("error: there is no method `kats`\nhint: did you mean `kate`?\n")


def test_a_fault_of_ours_is_one_line_and_a_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of [bold]cups")

    monkeypatch.setattr("promptatlas.registry.names", broken)
    done = command("methods")
    assert (done.code, done.out) == (1, "")
    first, hint = done.err.splitlines()
    assert first.startswith("error: unexpected, at test_main.py:")
    assert first.endswith(": ZeroDivisionError: of [bold]cups")
    assert hint == "hint: set PROMPTATLAS_DEBUG=1 to see the whole traceback"
    monkeypatch.setenv("PROMPTATLAS_DEBUG", "1")
    done = command("methods")
    assert done.code == 1
    assert done.err.rstrip().endswith("ZeroDivisionError: of [bold]cups")


def test_a_warning_is_a_line_on_stderr(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned() -> tuple[str, ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("the cup is hot", UserWarning, stacklevel=1)
            warnings.warn("boil it otherwise", DeprecationWarning, stacklevel=1)
        return ()

    monkeypatch.setattr("promptatlas.registry.names", warned)
    before = warnings.showwarning
    done = command("methods")
    assert (done.code, done.err) == (0, "warning: the cup is hot\n")
    assert warnings.showwarning is before


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom promptatlas.cli.main import main\nimport os\nos.close(1)\nr, w = os.pipe()\nos.close(r)\n"
    )
    script += "os.dup2(w, 1)\nsys.exit(main(['methods', '--json']))"
    done = python("-c", script)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_without_a_terminal_or_with_no_color_there_is_none(env: dict[str, str]) -> None:
    done = python("-m", "promptatlas", "methods", "kate", **env)
    assert "\x1b[3" not in done.stdout
    assert "\x1b[9" not in done.stdout


def test_the_methods_as_data(command: Command) -> None:
    cards = command("methods", "--json").json()
    assert {"kate", "prompt_tuning"} <= {card["name"] for card in cards}
    assert command("methods", "kate", "--json").json() == next(card for card in cards if card["name"] == "kate")
    assert json.dumps(cards)


def test_the_methods_for_people(command: Command) -> None:
    table = command("methods").out
    assert table.splitlines()[0].split() == ["method", "what", "it", "does"]
    assert "prompt_tuning " in table
    card = command("methods", "prompt_tuning").out
    for said in ("arXiv:2104.08691", "Learns", "Relations", "length", "the learning rate.", "30000"):
        assert said in card

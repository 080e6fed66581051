"""What is shown is run: every block of Python and every `$ promptatlas` of the README and of docs/, as a reader would.

A document is one session: its blocks run in order, in one namespace and one temporary folder, so that one block may
read what another wrote. A block says what it is:

    python     run, all of it
    console    lines that start with `$ ` are commands; one that calls promptatlas is run and has to end with 0; other
               lines are what it prints, and aren't compared
    others     (text, json, toml, ...) are shown only

What would let a block go by unseen is an error: other names for these two, something after the name, and commands in a
console block that neither call promptatlas nor set things up.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(file.relative_to(ROOT).as_posix() for file in ROOT.glob("docs/**/*.md")),
]
DISGUISES = {"py", "python3", "pycon", "ipython", "bash", "sh", "shell", "zsh", "shell-session", "doctest"}
SETUP = {"make", "git", "pip", "python", "python3", "uv", "cd", "source"}  # not ours to test
CALL = re.compile(r"(?:^|[|;&(]\s*|\s-m\s+|^\w+=\S*\s+)promptatlas(?=\s|$)")
SHELL = re.compile(r"[|<>&;$`*~]")  # what may need a shell; the rest runs in this process, which is a lot faster


class Block(NamedTuple):
    """A fenced block: what it says it is, its text, and the line of the document that text begins on (from 1)."""

    kind: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    fences = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    return [Block(token.info.strip(), token.content, token.map[0] + 2) for token in fences]


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """The commands of a console block with their lines; one that ends with a backslash goes on in the next line."""
    lines = iter(enumerate(block.text.splitlines(), block.line))
    for number, line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command = command[:-1] + next(lines, (0, ""))[1].removeprefix("> ")
            yield number, command


def check(block: Block, where: str) -> None:
    """Refuse what looks as if it were run, and wouldn't be."""
    name, rest = re.fullmatch(r"([\w-]*)(.*)", block.kind).groups()
    if name.lower() in DISGUISES:
        pytest.fail(f"{where}: a block of `{name}`; say `python` or `console`, which are run")
    if name.lower() in {"python", "console"} and (rest or name != name.lower()):
        pytest.fail(f"{where}: `{block.kind}`; every such block is run, so it says `{name.lower()}` and nothing else")
    if name == "console" and not block.text.startswith("$ "):
        pytest.fail(f"{where}: a console block begins with a command, `$ ...`")
    if name != "console" and re.search(r"^\s*\$ promptatlas\b", block.text, re.MULTILINE):
        pytest.fail(f"{where}: a command in a block of `{block.kind}`; say `console`, which is run")


def run_python(block: Block, document: Path, namespace: dict[str, object]) -> None:
    """Run it, with the document's own line numbers in a traceback."""
    code = compile("\n" * (block.line - 1) + block.text, str(document), "exec", dont_inherit=True)
    exec(code, namespace)


def run_command(command: str, where: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run it if it is ours, and say how: "in process", "in a shell" or "not"."""
    if not CALL.search(command):
        if command.split()[0] not in SETUP:
            pytest.fail(f"{where}: `$ {command}` isn't run: it neither calls promptatlas nor is one of {sorted(SETUP)}")
        return "not"
    if SHELL.search(command) or not command.startswith("promptatlas"):
        run_in_shell(command, where)
        return "in a shell"
    run_in_process(shlex.split(command, comments=True), where, monkeypatch)
    return "in process"


def run_in_process(words: list[str], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptatlas.cli.main import main  # noqa: PLC0415 - a document without commands needs no command line

    monkeypatch.setattr(sys, "argv", words)
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    if code not in {None, 0}:
        pytest.fail(f"{where}: `$ {shlex.join(words)}` ended with {code}")


def run_in_shell(command: str, where: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    strict = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(strict, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{where}: `$ {command}` ended with {done.returncode}\n{done.stdout}{done.stderr}")


def run_document(document: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a document in the folder that is current, and say how many blocks and commands were run."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(document.read_text("utf-8")):
        check(block, f"{document.name}:{block.line}")
        if block.kind == "python":
            run_python(block, document, namespace)
            ran += 1
        elif block.kind == "console":
            for line, command in commands(block):
                ran += run_command(command, f"{document.name}:{line}", monkeypatch) != "not"
    return ran


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = ROOT / name
    if not document.is_file():
        pytest.skip(f"{name} isn't written yet")
    monkeypatch.chdir(tmp_path)
    run_document(document, monkeypatch)


def write(folder: Path, *lines: str) -> Path:
    (folder / "page.md").write_text("\n".join(lines), "utf-8")
    return folder / "page.md"


def test_blocks_share_names_and_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = write(
        tmp_path,
        "1. In a list:",
        "",
        "   ```python",
        "   from pathlib import Path",
        "   said = 'one'",
        "   ```",
        "",
        "```text",
        "said = 'two'",
        "```",
        "",
        "```console",
        "$ make demo",
        "anything",
        "```",
        "",
        "```python",
        "Path('here').write_text(said)",
        "```",
    )
    assert run_document(page, monkeypatch) == 2
    assert (tmp_path / "here").read_text() == "one"


def test_an_error_names_the_line_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write(tmp_path, "# Page", "", "```python", "x = 1", "x / 0", "```")
    with pytest.raises(ZeroDivisionError) as caught:
        run_document(page, monkeypatch)
    last = caught.traceback[-1]
    assert (Path(last.path), last.lineno + 1) == (page, 5)


def test_commands_go_on_after_a_backslash() -> None:
    block = Block("console", "$ promptatlas a \\\n    --b 1\nshown\n$ promptatlas c\n", 7)
    assert list(commands(block)) == [(7, "promptatlas a     --b 1"), (10, "promptatlas c")]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            "python no-run",
            "x = 1",
            "page.md:2: `python no-run`; every such block is run, so it says `python` and nothing else",
        ),
        ("Python", "x = 1", "page.md:2: `Python`; every such block is run, so it says `python` and nothing else"),
        ("python{1}", "x = 1", "page.md:2: `python{1}`; every such block is run, so it says `python` and nothing else"),
        ("bash", "promptatlas demo", "page.md:2: a block of `bash`; say `python` or `console`, which are run"),
        ("text", "$ promptatlas demo", "page.md:2: a command in a block of `text`; say `console`, which is run"),
        ("console", "promptatlas demo", "page.md:2: a console block begins with a command, `$ ...`"),
        (
            "console",
            "$ curl example.org",
            "page.md:2: `$ curl example.org` isn't run: it neither calls promptatlas nor is one of "
            "['cd', 'git', 'make', 'pip', 'python', 'python3', 'source', 'uv']",
        ),
    ],
)
def test_nothing_goes_by_unseen(
    kind: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = write(tmp_path, f"```{kind}", text, "```")
    with pytest.raises(pytest.fail.Exception) as caught:
        run_document(page, monkeypatch)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("promptatlas methods", "in process"),
        ("promptatlas fit reviews --words good=great  # a comment", "in process"),
        ("echo 'a film' | promptatlas predict -", "in a shell"),
        ("promptatlas methods > list.txt", "in a shell"),
        ("NO_COLOR=1 promptatlas methods", "in a shell"),
        ("python -m promptatlas methods", "in a shell"),
        ("pip install promptatlas", "not"),
        ("git clone https://example.org/promptatlas", "not"),
    ],
)
def test_how_a_command_is_run(command: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr(f"{__name__}.run_in_process", lambda words, where, patch: ran.append(words))
    monkeypatch.setattr(f"{__name__}.run_in_shell", lambda line, where: ran.append(line))
    assert run_command(command, "page.md:1", monkeypatch) == how
    assert ran == {"not": [], "in a shell": [command], "in process": [shlex.split(command, comments=True)]}[how]


def test_a_command_that_fails_in_a_shell_fails(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="ended with 3"):
        run_in_shell("echo promptatlas | (exit 3)", "page.md:1")

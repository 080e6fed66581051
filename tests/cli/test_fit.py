import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cli.small import BAD, GOOD, QUICK, TEMPLATE, WORDS, Command, only_names, rows, task, write

import promptatlas
from promptatlas.cli import work
from promptatlas.cli.print import Bar
from promptatlas.data.example import Example
from promptatlas.train.run import Event

GIVEN = ("--template", TEMPLATE, *WORDS)


def weights(folder: Path) -> bytes:
    return (folder / "parts.safetensors").read_bytes()


def asked(folder: Path, *more: object, name: str = "out") -> tuple[object, ...]:
    """A small fit of a task in this folder."""
    given = GIVEN if "--template" not in more else ()
    return ("fit", "prompt_tuning", "--task", folder / "task", *given, *QUICK, "--out", folder / name, *more)


def test_it_fits_saves_and_says_what_was_learned(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    done = command(*asked(tmp_path, "--shots", 2, "--seed", 3, "--json"))
    assert done.code == 0, done
    report = done.json()
    assert {key: report[key] for key in ("method", "task", "lm", "examples", "trained")} == {
        "method": "prompt_tuning",
        "task": "task",
        "lm": "pocket-masked",
        "examples": 4,
        "trained": 2 * 256,
    }
    assert report["bytes"] == sum(one.stat().st_size for one in (tmp_path / "out").iterdir())
    assert 0 <= report["dev"]["accuracy"] <= 1
    assert report["seconds"] > 0
    assert only_names(tmp_path) == {"task", "out"}  # the run folder is gone
    prompt = promptatlas.open(tmp_path / "out")
    assert str(prompt.template) == "{@soft}" + TEMPLATE
    step = prompt.history[0]
    assert (step.settings["seed"], step.settings["length"], step.settings["steps"]) == (3, 2, 4)


def test_for_people_it_is_a_table(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    done = command(*asked(tmp_path))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("prompt_tuning on task")
    lines = dict(line.rstrip().split("  ", 1) for line in done.out.splitlines()[1:])
    assert {name: value.strip() for name, value in lines.items()}["numbers trained"] == "512"
    assert {"language model", "train examples", "bytes stored", "seconds", "dev accuracy", "saved in"} <= lines.keys()


def test_the_same_command_learns_the_same(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    for name in ("one", "two"):
        assert command(*asked(tmp_path, "--shots", 2, name=name)).code == 0
    assert command(*asked(tmp_path, "--shots", 2, "--seed", 1, name="three")).code == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != weights(tmp_path / "three")


def test_a_setting_goes_before_the_seed(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    assert command(*asked(tmp_path, "--seed", 1, "--set", "seed=5")).code == 0
    assert promptatlas.open(tmp_path / "out").history[0].settings["seed"] == 5


def test_a_task_may_bring_template_and_words(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task", template=TEMPLATE, words={"good": "great", "bad": "terrible"})
    plain = ("fit", "prompt_tuning", "--task", tmp_path / "task", *QUICK, "--out", tmp_path / "out")
    assert command(*plain).code == 0
    assert promptatlas.open(tmp_path / "out").words.words == {"good": ("great",), "bad": ("terrible",)}
    assert command(*plain, "--words", "good=fine", "--words", "bad=poor").code == 0  # replaces what is there
    assert promptatlas.open(tmp_path / "out").words.words == {"good": ("fine",), "bad": ("poor",)}


def test_an_embedded_task_needs_neither(command: Command, tmp_path: Path) -> None:
    plain = ("fit", "contextual_calibration", "--task", "reviews", "--shots", 2, "--out", tmp_path / "out", "--json")
    report = command(*plain).json()
    assert (report["trained"], report["examples"]) == (0, 4)
    assert only_names(tmp_path) == {"out"}


def test_one_file_and_words_of_a_file(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "cups.jsonl", rows(GOOD, "good") + rows(BAD, "bad"))
    (tmp_path / "words.json").write_text('{"good": ["great", "fine"], "bad": "terrible"}')
    words = ("--template", TEMPLATE, "--words", tmp_path / "words.json")
    done = command(
        "fit", "prompt_tuning", "--task", tmp_path / "cups.jsonl", *words, *QUICK, "--out", tmp_path / "out", "--json"
    )
    assert done.json()["dev"] == {}
    assert promptatlas.open(tmp_path / "out").words.words["good"] == ("great", "fine")


def test_a_task_of_choices(command: Command, tmp_path: Path) -> None:
    choices = [{"text": text, "choices": ["good", "bad"], "answer": "good"} for text in GOOD]
    write(tmp_path / "task" / "train.jsonl", choices)
    write(tmp_path / "task" / "test.jsonl", choices)
    done = command(*asked(tmp_path, "--template", "{text} It was {mask}."))
    assert done.code == 0, done
    done = command("evaluate", tmp_path / "out", "--task", tmp_path / "task", "--json")
    assert 0 <= done.json()["metrics"]["accuracy"] <= 1


def with_crash(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Let the fit fall at this step, after its checkpoint."""
    listen = Bar.listen

    def fall(self: Bar, event: Event) -> None:
        listen(self, event)
        if event.what == "tune" and event.done == at:
            raise error

    monkeypatch.setattr(Bar, "listen", fall)


def test_a_fit_that_fell_goes_on_as_if_it_hadnt(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task(tmp_path / "task")
    assert command(*asked(tmp_path, name="whole")).code == 0
    with monkeypatch.context() as crash:
        with_crash(crash, 3, ZeroDivisionError("pulled the plug"))
        assert command(*asked(tmp_path, "--checkpoint", 0)).code == 1
    assert only_names(tmp_path) == {"task", "whole", "out.run"}
    assert (tmp_path / "out.run" / "tune-0" / "checkpoint.json").is_file()
    seen: list[int] = []
    listen = Bar.listen
    monkeypatch.setattr(Bar, "listen", lambda self, event: (seen.append(event.done), listen(self, event))[1])
    monkeypatch.chdir(tmp_path / "task")
    done = command("fit", "--resume", tmp_path / "out", "--json")
    assert done.code == 0, done
    assert seen[0] > 1  # it didn't begin anew
    assert done.json()["out"] == str(tmp_path / "out")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert only_names(tmp_path) == {"task", "whole", "out"}
    assert command.fails("fit", "--resume", tmp_path / "out")[0].endswith("it is done")


def test_ctrl_c_keeps_what_there_is(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(tmp_path / "task")
    listen = Bar.listen

    def press(self: Bar, event: Event) -> None:
        listen(self, event)
        if event.what == "tune" and event.done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as pressed:
        pressed.setattr(Bar, "listen", press)
        done = command(*asked(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before
    assert (done.code, done.out) == (130, "")
    assert "stopping after this step" in done.err
    assert done.err.endswith(f"it goes on with: promptatlas fit --resume {tmp_path / 'out'}\n")
    done = command(*asked(tmp_path))  # the same command goes on too
    assert (done.code, done.err) == (0, f"going on with the fit in {tmp_path / 'out.run'}\n")


@pytest.mark.slow
def test_a_killed_fit_goes_on_as_if_it_hadnt_been(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    words = [str(one) for one in asked(tmp_path, "--set", "steps=200", "--set", "flat=none", "--checkpoint", 0)]
    fitting = subprocess.Popen([sys.executable, "-m", "promptatlas", *words], stdout=subprocess.DEVNULL)
    path = tmp_path / "out.run" / "tune-0" / "checkpoint.json"
    for _ in range(1200):
        if path.is_file():
            break
        time.sleep(0.05)
    time.sleep(0.3)
    fitting.kill()
    assert fitting.wait() == -signal.SIGKILL
    assert only_names(tmp_path) == {"task", "out.run"}
    assert command("fit", "--resume", tmp_path / "out").code == 0
    whole = [word.replace(str(tmp_path / "out"), str(tmp_path / "whole")) for word in words]
    assert command(*whole).code == 0
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


def test_another_fit_doesnt_go_over_an_unfinished_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task(tmp_path / "task")
    with monkeypatch.context() as crash:
        with_crash(crash, 1, ZeroDivisionError())
        command(*asked(tmp_path, "--checkpoint", 0))
    message, hint = command.fails(*asked(tmp_path, "--seed", 9))
    assert message.endswith("holds an unfinished fit that was asked for otherwise")
    assert f"promptatlas fit --resume {tmp_path / 'out'}" in hint
    write(tmp_path / "task" / "train.jsonl", rows(GOOD[:2], "good") + rows(BAD[:2], "bad"))
    assert command.fails("fit", "--resume", tmp_path / "out")[0].endswith("since then the data changed")


def test_a_full_disk_leaves_nothing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(tmp_path / "task")

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("promptatlas.artifact.folder.write", full)
        message, hint = command.fails(*asked(tmp_path))
    assert message.endswith("can't be written: No space left on device")
    assert "free some space" in hint
    assert "out" not in only_names(tmp_path)


def spoiled(folder: Path, split: str, line: str) -> None:
    with (folder / "task" / f"{split}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)


MISTAKES: list[tuple[str, tuple[Any, ...], str, str]] = [
    (
        "a field",
        ("--template", "{txt} {mask}", *WORDS),
        "column 1 of `{txt} {mask}`: `task` has no field `txt`",
        "did you mean `text`?",
    ),
    ("a brace", ("--template", "{text} {mask", *WORDS), "column 8 of `{text} {mask`: `{` is never closed", "close it"),
    ("a filter", ("--template", "{text|lowr} {mask}", *WORDS), "column 7 of", "did you mean `lower`?"),
    ("a part", ("--template", "{@hard}{text} {mask}", *WORDS), "the template names the part `hard`", ""),
    ("nothing", ("--template", "", *WORDS), "the template is empty", ""),
    ("no slot", ("--template", "{text}", *WORDS), "`prompt_tuning` needs a template with a slot", ""),
    (
        "a label without a word",
        ("--template", TEMPLATE, "--words", "good=great"),
        "the label `bad` of `task` has no word",
        "",
    ),
    ("no template", WORDS, "`task` has no template of its own", "give one: --template"),
    (
        "no words",
        ("--template", TEMPLATE),
        "`task` has no label words of its own",
        "give each label its words: --words bad=... --words good=...",
    ),
    ("an empty word", (*GIVEN, "--words", "bad="), "`--words bad=` gives no label its words", ""),
    (
        "a word twice",
        ("--template", TEMPLATE, "--words", "good=so", "--words", "bad=so"),
        "labels `good` and `bad` share the word `so`",
        "",
    ),
    ("a setting", (*GIVEN, "--set", "lenght=3"), "`prompt_tuning` has no setting `lenght`", "did you mean `length`?"),
    ("a value", (*GIVEN, "--set", "length=long"), "`length` can't be `long`", "it takes an integer"),
    ("a long prompt", (*GIVEN, "--set", "length=600"), "600 vectors leave no room", ""),
    ("an lm", (*GIVEN, "--lm", "nosuch/model"), "there is no language model `nosuch/model`", "pocket-masked"),
    ("a dtype", (*GIVEN, "--dtype", "float3"), "there is no dtype `float3`", ""),
    ("a device", (*GIVEN, "--device", "cuda:99"), "there is no device `cuda:99`", "use cpu"),
    ("too many shots", (*GIVEN, "--shots", 9), "label `bad` has 4 examples, 9 were asked for", ""),
]


@pytest.mark.parametrize(("words", "message", "hint"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES])
def test_a_mistake_is_told_and_leaves_nothing(
    command: Command, tmp_path: Path, words: tuple[Any, ...], message: str, hint: str
) -> None:
    task(tmp_path / "task")
    out = ("--out", tmp_path / "out")
    told, advice = command.fails("fit", "prompt_tuning", "--task", tmp_path / "task", *words, *out)
    assert told.startswith(message)
    assert hint in advice
    assert only_names(tmp_path) == {"task"}


@pytest.mark.parametrize(
    ("method", "message", "hint"),
    [
        (None, "`fit` needs METHOD", "promptatlas fit METHOD"),
        ("promt_tuning", "there is no method `promt_tuning`", "did you mean `prompt_tuning`"),
    ],
)
def test_a_method_that_isnt_there(
    command: Command, tmp_path: Path, method: str | None, message: str, hint: str
) -> None:
    task(tmp_path / "task")
    words = () if method is None else (method,)
    told, advice = command.fails("fit", *words, "--task", tmp_path / "task", *GIVEN, "--out", tmp_path / "out")
    assert told == message
    assert hint in advice


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"text,label\na,good\nb,good\n", "every row has the label `good`"),
        (b"text,mood\na,good\n", "no column"),
        (b"text,label\na,good\nb,b\xe9d\n", ":3: byte 0xe9 is not UTF-8"),
        (b"text,label\na,good\nb,\n", ":3: no label"),
        (b"text,label\na,good\nb\n", ":3: 1 cells, the header has 2"),
    ],
)
def test_a_file_that_wont_do(command: Command, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "cups.csv").write_bytes(content)
    told, _ = command.fails("fit", "prompt_tuning", "--task", tmp_path / "cups.csv", *GIVEN, "--out", tmp_path / "out")
    assert told.startswith(f"{tmp_path / 'cups.csv'}:")
    assert message in told
    assert only_names(tmp_path) == {"cups.csv"}


def test_a_text_that_cant_be_cut(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    spoiled(tmp_path, "train", json.dumps({"text": "tea " * 600, "label": "good"}) + "\n")
    message, _ = command.fails(*asked(tmp_path, "--template", "{text!} It was {mask}.", *WORDS, "--set", "batch=9"))
    assert "512" in message
    assert only_names(tmp_path) == {"task"}


def test_a_causal_model_and_text_after_the_slot(command: Command, tmp_path: Path, causal: Path) -> None:
    task(tmp_path / "task")
    message, _ = command.fails(*asked(tmp_path, "--lm", causal))
    assert "`.`" in message
    assert only_names(tmp_path) == {"task"}


def test_a_model_of_an_unfit_kind_says_which_methods_would_do(command: Command, tmp_path: Path, seq2seq: Path) -> None:
    task(tmp_path / "task")
    words = ("--template", "{text} It was {mask}", *WORDS, "--lm", seq2seq)
    message, hint = command.fails("fit", "autoprompt", "--task", tmp_path / "task", *words, "--out", tmp_path / "out")
    assert message.startswith("`autoprompt` needs a masked or causal model, and `")
    assert "`prompt_tuning`" in hint
    assert "`autoprompt`" not in hint
    assert only_names(tmp_path) == {"task"}


@pytest.mark.parametrize("what", ["a file", "other things"])
def test_a_folder_that_isnt_ours_is_left_alone(command: Command, tmp_path: Path, what: str) -> None:
    task(tmp_path / "task")
    out = tmp_path / "out"
    if what == "a file":
        out.write_text("tea")
    else:
        write(out / "notes.txt", [])
    message, _ = command.fails(*asked(tmp_path))
    assert message.startswith(f"`{out}` ")
    assert only_names(tmp_path) == {"task", "out"}


def test_resume_takes_nothing_else(command: Command, tmp_path: Path) -> None:
    message, hint = command.fails("fit", "kate", "--resume", tmp_path)
    assert message == "`--resume` goes on with what was asked for then"
    assert hint == "give the folder, and nothing else"
    assert command.fails("fit", "--resume", tmp_path / "no")[0] == f"there is no unfinished fit at `{tmp_path / 'no'}`"


def test_the_work_is_that_of_the_library(command: Command, tmp_path: Path) -> None:
    """The command adds nothing to what three lines of Python learn."""
    folder = task(tmp_path / "task")
    assert command(*asked(tmp_path, "--shots", 2, "--seed", 1)).code == 0
    lm, few = promptatlas.load("pocket-masked"), promptatlas.task(folder).few(2, 1)
    prompt = promptatlas.prompt(TEMPLATE, {"good": "great", "bad": "terrible"})
    method = promptatlas.method("prompt_tuning", steps=4, length=2, batch=4, seed=1)
    assert method.fit(lm, few, prompt) == promptatlas.open(tmp_path / "out")
    assert isinstance(few.train[0], Example)
    assert work.STOPPED == 130

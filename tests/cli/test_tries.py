"""`promptatlas fit --try`: choosing among values by the training examples alone."""

from pathlib import Path
from typing import Any

import pytest
from tests.cli.small import BAD, GOOD, QUICK, TEMPLATE, WORDS, Command, only_names, rows, task, write

import promptatlas
from promptatlas.cli.print import Bar
from promptatlas.cli.tries import variants
from promptatlas.cli.unfinished import Request
from promptatlas.train.run import Event
from promptatlas.train.select import Candidate, Selection, select

OTHER = "A {mask} thing, {text}"


def asked(folder: Path, *more: object, name: str = "out") -> tuple[object, ...]:
    given = () if any("template=" in str(one) for one in more) else ("--template", TEMPLATE)
    words = () if any("words=" in str(one) for one in more) else WORDS
    plain = ("fit", "prompt_tuning", "--task", folder / "task", *given, *words, *QUICK, "--out", folder / name)
    return (*plain, "--folds", 2, *more)


def request(**given: Any) -> Request:
    plain: dict[str, Any] = {
        "method": "prompt_tuning", "lm": "pocket-masked", "task": "task", "template": TEMPLATE, "words": None,
        "shots": 0, "seed": 0, "settings": {"steps": "4"}, "paper": False, "tries": {}, "select": "cv", "folds": 8,
        "device": None, "dtype": "float32", "folder": str(Path.cwd()),
    }  # fmt: skip
    return Request(**{**plain, **given})


def test_every_combination_is_a_request_of_its_own() -> None:
    assert [one.request for one in variants(request())] == [request()]
    tries = {"lr": ("0.1, 0.3", "0.3"), "template": ("{text} {mask}, so", OTHER)}
    found = variants(request(tries=tries))
    assert [one.name for one in found] == [
        f"lr={lr}, template={text}" for lr in ("0.1", "0.3") for text in ("{text} {mask}, so", OTHER)
    ]
    assert found[2].request.settings == {"steps": "4", "lr": "0.3"}
    assert found[2].request.template == "{text} {mask}, so"


def test_lists_and_texts_are_tried_whole(tmp_path: Path) -> None:
    found = variants(request(method="contextual_calibration", settings={}, tries={"blanks": ("N/A,[MASK]", "N/A")}))
    assert [one.request.settings["blanks"] for one in found] == ["N/A,[MASK]", "N/A"]
    (tmp_path / "words.json").write_text('{"good": "fine", "bad": "poor"}')
    some = variants(request(folder=str(tmp_path), tries={"words": ("good=great,fine; bad=poor", "words.json")}))
    assert [one.request.words for one in some] == [
        {"good": ("great", "fine"), "bad": ("poor",)},
        {"good": ("fine",), "bad": ("poor",)},
    ]


@pytest.mark.parametrize("kind", ["cv", "mdl", "dev"])
def test_it_chooses_as_the_library_does_and_says_how(command: Command, tmp_path: Path, kind: str) -> None:
    folder = task(tmp_path / "task")
    done = command(*asked(tmp_path, "--try", "lr=0.01,1.0", "--select", kind, "--json"))
    assert done.code == 0, done
    choice = done.json()["choice"]
    assert (choice["how"]["kind"], choice["how"]["folds"]) == (kind, 2)
    assert [one["name"] for one in choice["scores"]] == ["lr=0.01", "lr=1.0"]
    lm, few = promptatlas.load("pocket-masked"), promptatlas.task(folder)
    prompt = promptatlas.prompt(TEMPLATE, {"good": "great", "bad": "terrible"})
    candidates = [
        Candidate(
            name=f"lr={lr}",
            prompt=prompt,
            methods=(promptatlas.method("prompt_tuning", steps=4, length=2, batch=4, lr=lr),),
        )
        for lr in (0.01, 1.0)
    ]
    wanted = select(candidates, lm, few, Selection(kind=kind, folds=2))
    saved = promptatlas.open(tmp_path / "out")
    assert saved == wanted.prompt
    assert [step.method for step in saved.history] == ["selection", "prompt_tuning"]
    assert saved.history == wanted.prompt.history
    assert only_names(tmp_path) == {"task", "out"}


def test_for_people_it_is_a_second_table(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    tried = ("--try", f"template={TEMPLATE}", "--try", f"template={OTHER}")
    done = command(*asked(tmp_path, *tried))
    assert (done.code, done.err) == (0, "")
    chosen = promptatlas.open(tmp_path / "out").history[0].figures["chosen"]
    assert f"chosen by cv: {chosen}" in done.out
    table = done.out.split("chosen by cv")[1].splitlines()[1:]
    assert [line.split("  ")[0].strip() for line in table] == ["tried", f"template={TEMPLATE}", f"template={OTHER}"]
    assert "criterion" in table[0]
    assert "failed" not in table[0]


def test_what_failed_is_in_the_table(command: Command, tmp_path: Path) -> None:
    plain = ("--task", task(tmp_path / "task"), "--template", TEMPLATE, *WORDS, "--out", tmp_path / "out")
    done = command("fit", "in_context", *plain, "--try", "k=2,5", "--folds", 2)
    assert done.code == 0, done
    table = done.out.split("chosen by cv: k=2")[1].splitlines()
    assert table[1].split()[-1] == "failed"
    assert table[3].split(maxsplit=4) == ["k=5", "-", "-", "-", "5 demonstrations of 4 training examples"]


def test_many_dev_examples_are_told(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "task" / "train.jsonl", rows(GOOD[:1], "good") + rows(BAD[:1], "bad"))
    write(tmp_path / "task" / "dev.jsonl", rows(GOOD, "good") + rows(BAD, "bad"))
    done = command(*asked(tmp_path, "--try", "lr=0.01,1.0", "--select", "dev", "--set", "batch=2"))
    assert done.code == 0, done
    note = "chosen by 8 dev examples, more than the 2 there are to learn from: this is no few-shot result"
    assert done.err == f"{note}\n"
    assert promptatlas.open(tmp_path / "out").history[0].figures["note"] == note


def test_a_choice_that_fell_goes_on(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(tmp_path / "task")
    tried = ("--try", "lr=0.01,1.0", "--checkpoint", 0)
    assert command(*asked(tmp_path, *tried, name="whole")).code == 0
    listen = Bar.listen

    def fall(self: Bar, event: Event) -> None:
        listen(self, event)
        if (event.what, event.done) == ("candidate 2", 1):
            raise ZeroDivisionError("pulled the plug")

    with monkeypatch.context() as crash:
        crash.setattr(Bar, "listen", fall)
        assert command(*asked(tmp_path, *tried)).code == 1
    assert only_names(tmp_path) == {"task", "whole", "out.run"}
    assert len(list((tmp_path / "out.run" / "stages").iterdir())) == 3
    monkeypatch.chdir(tmp_path / "task")
    done = command("fit", "--resume", tmp_path / "out", "--json")
    assert done.code == 0, done
    assert [one["name"] for one in done.json()["choice"]["scores"]] == ["lr=0.01", "lr=1.0"]
    kept = [(tmp_path / name / "prompt.json").read_bytes() for name in ("whole", "out")]
    assert kept[0] == kept[1]
    assert only_names(tmp_path) == {"task", "whole", "out"}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--try", "lr"), "`--try lr` is no setting", "--try lr=1e-4,3e-4"),
        (("--try", "lrr=1"), "`prompt_tuning` has no setting `lrr`", "did you mean `lr`?"),
        (("--try", "lr=fast,1"), "`lr` can't be `fast`", "it takes a number"),
        (("--try", "steps=1,2"), "`steps` is both given and tried", "give all its values with --try"),
        (
            ("--try", "lr=1,2", "--select", "loo"),
            "there is no selection `loo`",
            "there are `cv`, `dev`, `mdl`",
        ),
        (("--try", "lr=1,2", "--folds", 9), "8 examples can't be divided into 9 folds", "ask for 2 to 8 folds"),
        (
            ("--try", "template={txt} {mask}"),
            "column 1 of `{txt} {mask}`: `task` has no field `txt`",
            "did you mean `text`?",
        ),
        (("--try", "words=good=great"), "the label `bad` of `task` has no word", "there are `good`"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(
    command: Command, tmp_path: Path, words: tuple[Any, ...], message: str, hint: str
) -> None:
    task(tmp_path / "task")
    assert command.fails(*asked(tmp_path, *words)) == (message, hint)
    assert only_names(tmp_path) == {"task"}

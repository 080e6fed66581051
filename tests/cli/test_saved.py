"""What is done with a saved prompt: predict, evaluate, show. And ask and doctor, which need none."""

import json
from pathlib import Path

import pytest
from tests.cli.small import GOOD, QUICK, TEMPLATE, WORDS, Command, feed, saved_model, task, write

import promptatlas
from promptatlas.lm.local import LocalLM
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Ensemble

WORD = {"good": "great", "bad": "terrible"}


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return promptatlas.load("pocket-masked")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A prompt that nothing was learned for: it names no model."""
    return promptatlas.save(promptatlas.prompt(TEMPLATE, WORD), tmp_path / "plain")


@pytest.fixture
def learned(tmp_path: Path, lm) -> Path:
    """A soft prompt, and the model in its history."""
    prompt = promptatlas.prompt(TEMPLATE, WORD).lead(soft=Vectors(lm.vectors[1000:1003]))
    method = promptatlas.method("prompt_tuning", length=3)
    return promptatlas.save(prompt.noted(lm, method, "none", steps=1), tmp_path / "learned")


def test_predict_answers_a_line_each(command: Command, plain: Path, lm, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a fine cup", "", "a grim walk"]
    feed(monkeypatch, "\n".join(texts).encode() + b"\n")
    done = command("predict", plain, "--lm", "pocket-masked")
    assert (done.code, done.err) == (0, "")
    answers = promptatlas.open(plain).predict(lm, texts)
    assert [line["label"] for line in done.lines()] == [one.value for one in answers]
    for line, one in zip(done.lines(), answers, strict=True):
        assert line["probabilities"] == pytest.approx(one.probabilities, abs=1e-5)
        assert sum(line["probabilities"].values()) == pytest.approx(1)
        assert line.keys() == {"label", "probabilities"}


def test_predict_reads_files_in_chunks_and_keeps_the_order(command: Command, learned: Path, tmp_path: Path) -> None:
    texts = [f"{text}, {number} times" for number in range(3) for text in GOOD]
    write(tmp_path / "a.jsonl", [{"text": text, "n": 1} for text in texts])
    (tmp_path / "a.csv").write_text("n,text\n" + "".join(f'1,"{text}"\n' for text in texts))
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in texts))
    whole = command("predict", learned, tmp_path / "a.txt").lines()
    assert len(whole) == len(texts)
    for name in ("a.jsonl", "a.csv", "a.txt"):
        chunks = command("predict", learned, tmp_path / name, "--chunk", 5).lines()
        for one, other in zip(chunks, whole, strict=True):
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_predict_of_nothing_is_nothing(command: Command, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"")
    assert command("predict", learned)[:2] == (0, "")


def test_labels_that_are_described(command: Command, tmp_path: Path) -> None:
    """A plain text is the one field that the prompt doesn't fill itself."""
    task(tmp_path / "task")
    texts = json.dumps({"good": "This is a joy.", "bad": "This is grim."})
    fit = ("fit", "efl", "--task", tmp_path / "task", "--template", TEMPLATE, *WORDS, "--set", "steps=2")
    assert command(*fit, "--set", f"descriptions={texts}", "--set", "start=none", "--out", tmp_path / "out").code == 0
    (tmp_path / "a.txt").write_text("a fine cup\n")
    (line,) = command("predict", tmp_path / "out", tmp_path / "a.txt").lines()
    assert line["probabilities"].keys() == {"good", "bad"}
    assert command("evaluate", tmp_path / "out", "--task", tmp_path / "task", "--json").json()["examples"] == 8
    shown = command("show", tmp_path / "out", "--json").json()["prompts"][0]
    assert (shown["view"]["kind"], "This is a joy." in str(shown["view"])) == ("descriptions", True)


def test_predict_of_choices(command: Command, tmp_path: Path) -> None:
    folder = promptatlas.save(promptatlas.prompt("{text} It was {mask}."), tmp_path / "choices")
    write(
        tmp_path / "a.jsonl", [{"text": "tea", "choices": ["good", "bad"]}, {"text": "tea", "choices": ["a", "b", "c"]}]
    )
    done = command("predict", folder, tmp_path / "a.jsonl", "--lm", "pocket-masked")
    assert [set(line["probabilities"]) for line in done.lines()] == [{"good", "bad"}, {"a", "b", "c"}]
    (tmp_path / "a.txt").write_text("tea\n")
    message, hint = command.fails("predict", folder, tmp_path / "a.txt", "--lm", "pocket-masked")
    assert message == f"{tmp_path / 'a.txt'}:1: a text, and the prompt wants several fields"
    assert hint == 'give JSON lines: {"text": ..., "choices": ...}'


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"txt": "tea"}', "no field `text`; there are `txt`"),
        (b'{"text": ["tea"]}', "`text`"),
        (b"{", "not JSON"),
        (b"\xff", "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 256])
def test_predict_says_which_line_and_answers_those_before(
    command: Command, learned: Path, tmp_path: Path, bad: bytes, message: str, chunk: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "tea"}\n{"text": "soup"}\n' + bad + b'\n{"text": "milk"}\n')
    done = command("predict", learned, path, "--chunk", chunk)
    assert done.code == 2
    assert len(done.lines()) == 2
    assert done.err.startswith(f"error: {path}:3: ")
    assert message in done.err


def test_predict_refuses_before_it_loads(command: Command, learned: Path, plain: Path, tmp_path: Path) -> None:
    assert command.fails("predict", learned, tmp_path / "no")[0].endswith("can't be opened: No such file or directory")
    assert command.fails("predict", learned, tmp_path / "no", "--chunk", 0)[0] == "`--chunk` is 0"
    (tmp_path / "a.txt").write_text("tea\n")
    message, hint = command.fails("predict", plain, tmp_path / "a.txt")
    assert message == f"`{plain}` doesn't say which language model it is for"
    assert hint == "say it with --lm"


def test_another_model_is_refused(command: Command, learned: Path, causal: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("tea\n")
    task(tmp_path / "task")
    for words in (("predict", learned, tmp_path / "a.txt"), ("evaluate", learned, "--task", tmp_path / "task")):
        message, hint = command.fails(*words, "--lm", causal)
        assert "this prompt was learned on `pocket-masked`" in message
        assert hint.startswith("load `pocket-masked`")


def test_evaluate_measures(command: Command, plain: Path, lm, tmp_path: Path) -> None:
    folder = task(tmp_path / "task")
    report = command("evaluate", plain, "--task", folder, "--lm", "pocket-masked", "--json").json()
    test = promptatlas.task(folder).test
    right = [
        one.value == example.target
        for one, example in zip(promptatlas.open(plain).predict(lm, test), test, strict=True)
    ]
    assert report["metrics"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert next(iter(report["metrics"])) == "accuracy"
    low, high = report["intervals"]["accuracy"]
    assert low <= report["metrics"]["accuracy"] <= high
    assert {key: report[key] for key in ("examples", "task", "split", "lm")} == {
        "examples": 8, "task": "task", "split": "test", "lm": "pocket-masked",
    }  # fmt: skip
    table = command("evaluate", plain, "--task", folder, "--lm", "pocket-masked", "--split", "dev").out
    assert table.startswith("task, 8 dev examples")
    assert "accuracy" in table


def test_evaluate_what_cant_be(command: Command, learned: Path, tmp_path: Path) -> None:
    folder = task(tmp_path / "task")
    assert command.fails("evaluate", learned, "--task", folder, "--split", "tst")[1] == "did you mean `test`?"
    (folder / "dev.jsonl").unlink()
    assert command.fails("evaluate", learned, "--task", folder, "--split", "dev")[0] == "`task` has no dev examples"
    assert (
        command.fails("evaluate", learned, "--task", "headlines")[0] == "the label `world` of `headlines` has no word"
    )
    assert command.fails("evaluate", learned, "--task", "nosuch")[0] == "`nosuch` is no embedded task, file or folder"
    assert "is no saved prompt" in command.fails("evaluate", tmp_path, "--task", folder)[0]
    write(tmp_path / "sums.jsonl", [{"text": "one and one", "answer": "two"}])
    assert "is of kind text" in command.fails("evaluate", learned, "--task", tmp_path / "sums.jsonl")[0]


@pytest.mark.parametrize("file", ["prompt.json", "parts.safetensors"])
def test_a_prompt_that_isnt_whole(command: Command, learned: Path, file: str) -> None:
    path = learned / file
    path.write_bytes(path.read_bytes()[:-40])
    assert "is not whole" in command.fails("show", learned)[0]
    path.unlink()
    assert "has no" in command.fails("show", learned)[0]


def test_a_prompt_of_a_newer_version(command: Command, learned: Path) -> None:
    record = json.loads((learned / "prompt.json").read_text())
    (learned / "prompt.json").write_text(json.dumps({**record, "version": 99}))
    message, hint = command.fails("show", learned)
    assert "is of version 99" in message
    assert hint == "install a newer promptatlas"


def test_show(command: Command, learned: Path) -> None:
    shown = command("show", learned, "--json").json()
    assert shown["bytes"] == sum(one.stat().st_size for one in learned.iterdir())
    (prompt,) = shown["prompts"]
    assert prompt["template"] == "{@soft}" + TEMPLATE
    assert prompt["words"]["settings"]["words"] == {"good": ["great"], "bad": ["terrible"]}
    assert prompt["parts"]["soft"]["tensors"]["weight"]["shape"] == [3, 256]
    assert prompt["parts"]["soft"]["tensors"]["weight"]["norm"] > 0
    assert prompt["history"][0]["method"] == "prompt_tuning"
    people = command("show", learned).out
    for said in ("{@soft}{text} It was {mask}.", "3 × 256", "prompt_tuning", "pocket-masked", "great"):
        assert said in people


def test_show_names_the_nearest_words(command: Command, learned: Path, lm) -> None:
    shown = command("show", learned, "--lm", "pocket-masked", "--json").json()
    soft = shown["prompts"][0]["parts"]["soft"]
    assert [words[0] for words in soft["nearest"]] == lm.pieces([1000, 1001, 1002])  # which they are
    assert [one[0] for one in soft["cosines"]] == pytest.approx([1, 1, 1], abs=1e-4)
    assert soft["norms"] == pytest.approx(lm.vectors[1000:1003].norm(dim=-1).tolist(), abs=1e-3)
    assert soft["moved"] is None
    assert soft["why"] == "its history doesn't say what it started from; fit it again, and it will"
    assert lm.pieces([1000])[0] in command("show", learned, "--lm", "pocket-masked").out


def test_show_tokens_and_an_ensemble(command: Command, tmp_path: Path, lm) -> None:
    one = promptatlas.prompt(TEMPLATE, WORD)
    found = one.lead(trigger=Tokens(lm.tokens("tea time")))
    folder = promptatlas.save(Ensemble(prompts=(one, found)), tmp_path / "both")
    shown = command("show", folder, "--lm", "pocket-masked", "--json").json()["prompts"]
    assert [list(prompt["parts"]) for prompt in shown] == [[], ["trigger"]]
    assert shown[1]["parts"]["trigger"]["nearest"] == [["tea"], ["time"]]
    assert "prompt 2 of" in command("show", folder).out
    (tmp_path / "a.txt").write_text("tea\n")
    assert len(command("predict", folder, tmp_path / "a.txt", "--lm", "pocket-masked").lines()) == 1


def test_a_method_after_another(command: Command, tmp_path: Path) -> None:
    task(tmp_path / "task")
    fit = ("fit", "prompt_tuning", "--task", tmp_path / "task", "--template", TEMPLATE, *WORDS, *QUICK)
    assert command(*fit, "--out", tmp_path / "out").code == 0
    assert command("evaluate", tmp_path / "out", "--task", tmp_path / "task", "--json").json()["examples"] == 8


def test_ask(command: Command, lm) -> None:
    report = command("ask", "The cup was {mask}.", "--top", 3, "--json").json()
    (slot,) = report["slots"]
    assert len(slot["top"]) == 3
    likely = [one["probability"] for one in slot["top"]]
    assert likely == sorted(likely, reverse=True)
    assert 0 < sum(likely) <= 1
    assert [len(lm.tokens(one["word"])) for one in slot["top"]] == [1, 1, 1]
    people = command("ask", "The cup was {mask}.", "--top", 3).out.splitlines()
    assert [line.split()[0] for line in people] == ["word", *(one["word"] for one in slot["top"])]


def test_ask_at_several_slots_and_a_causal_model(command: Command, causal: Path) -> None:
    slots = command("ask", "{mask:who} was {mask:how}.", "--json").json()["slots"]
    assert [(one["slot"], len(one["top"])) for one in slots] == [("who", 10), ("how", 10)]
    assert "{mask:who}" in command("ask", "{mask:who} was {mask:how}.").out
    assert len(command("ask", "It was {mask}", "--lm", causal, "--json").json()["slots"][0]["top"]) == 10
    assert "`.`" in command.fails("ask", "It was {mask}.", "--lm", causal)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("It was {mask",), "column 8 of `It was {mask`: `{` is never closed"),
        (("It was",), "`It was` has no slot"),
        (("{text} was {mask}",), "`{text}` is a field, and there is no example to fill it"),
        (("{@soft} was {mask}",), "the template names the part `soft`, which the prompt does not have"),
        (("It was {mask}", "--top", "0"), "`--top` is 0"),
        (("It was {mask}", "--lm", "nosuch/model"), "there is no language model `nosuch/model`"),
    ],
)
def test_ask_what_cant_be(command: Command, words: tuple[str, ...], message: str) -> None:
    assert command.fails("ask", *words)[0].startswith(message)


def test_doctor(command: Command, causal: Path) -> None:
    report = command("doctor", "--json").json()
    assert report["versions"]["promptatlas"] == promptatlas.__version__
    assert report["models"] == ["pocket-causal", "pocket-masked", "pocket-masked-zh", "pocket-seq2seq"]
    assert {"reviews", "headlines"} <= set(report["tasks"])
    assert "prompt_tuning" in report["methods"]
    assert report["devices"][0] == "cpu"
    assert "lm" not in report
    masked = command("doctor", "--lm", "pocket-masked", "--json").json()["lm"]
    assert (masked["kind"], masked["mask"], masked["prefix"]) == ("masked", "[MASK]", "self: 4 layers")
    assert command("doctor", "--lm", causal, "--json").json()["lm"]["kind"] == "causal"
    people = command("doctor", "--lm", "pocket-masked").out
    assert "versions" in people
    assert "self: 4 layers" in people


def test_doctor_says_why_there_is_no_prefix(command: Command, tmp_path: Path) -> None:
    report = command("doctor", "--lm", saved_model("deberta-v2", tmp_path), "--json").json()["lm"]
    assert report["prefix"].startswith("no: a prefix can't be put before the attention of deberta-v2")
    assert "prefix" not in report["can"]

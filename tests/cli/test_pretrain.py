"""`promptatlas pretrain`, on text made here and models small enough to learn it in a second."""

import gzip
import json
import lzma
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.cli.small import Command, only_names

import promptatlas
from promptatlas.cli.print import Bar
from promptatlas.train.run import Event

FILES = {
    *("README.md", "log.jsonl", "loss.png", "config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json"),
}
GENERATES = {"generation_config.json"}  # which a model that writes has, too
WORDS = {
    "sea": "the ship sails over grey water while a gull follows wind and every crew hauls its rope",
    "farm": "a farmer feeds brown cows before dawn and carries milk past the old barn to his village",
}
SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
MODELS: dict[str, tuple[dict[str, Any], str, int]] = {  # by objective: model, tokenizer, its size
    "masked": ({"type": "modernbert", **SMALL, "max_position_embeddings": 64}, "wordpiece", 120),
    "causal": ({"type": "llama", **SMALL, "max_position_embeddings": 64}, "bytes", 300),
    "span": ({"type": "t5", **T5, "dropout_rate": 0.0}, "bytes", 400),
}
AUTO = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM", "span": "AutoModelForSeq2SeqLM"}


def made(topic: str, count: int = 60, seed: int = 0) -> str:
    """Documents of a topic, a blank line between two."""
    draw = random.Random(seed)
    return "\n\n".join(" ".join(draw.choices(WORDS[topic].split(), k=20)) + "." for _ in range(count)) + "\n"


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    path = tmp_path / "sea.txt"
    path.write_text(made("sea"), "utf-8")
    return path


def recipe(folder: Path, objective: str = "masked", **more: Any) -> Path:
    """A tiny recipe; what is given by name as `table_key` goes there too, or out of it where it is None."""
    model, kind, size = MODELS[objective]
    tables: dict[str, dict[str, Any]] = {
        "model": model,
        "tokenizer": {"type": kind, "vocabulary": size, "lower": True, "window": 64},
        "objective": {"objective": objective, "length": 32, "short": 16},
        "train": {"batch": 4, "lr": 1e-2, "every": 5},
    }
    for name, value in more.items():
        table, _, key = name.partition("_")
        tables[table] = {**tables[table], key: value}
    lines = []
    for table, values in tables.items():
        lines.append("[[objective]]" if table == "objective" else f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = folder / f"{objective}.toml"
    path.write_text("\n".join(lines), "utf-8")
    return path


def asked(*texts: Path, out: str = "out", held: float = 0.2, steps: int = 8) -> tuple[object, ...]:
    """The command, but for what is trained."""
    budget = ("--steps", steps) if steps else ()
    return ("pretrain", *texts, *budget, "--held", held, "--out", texts[0].parent / out)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def log(folder: Path, what: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [one for one in lines if one["what"] == what]


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model an objective, trained on the sea for some steps."""
    from promptatlas.cli.main import main  # noqa: PLC0415 - only what asks for a model pays for it

    folder = tmp_path_factory.mktemp("begun")
    (folder / "sea.txt").write_text(made("sea"), "utf-8")
    for objective in ("masked", "span"):
        words = asked(folder / "sea.txt", out=objective, steps=30)
        assert main([str(one) for one in (*words, "--config", recipe(folder, objective), "--json")]) == 0
    return {objective: folder / objective for objective in ("masked", "span")}


@pytest.mark.parametrize("objective", list(MODELS))
def test_a_new_model(command: Command, tmp_path: Path, sea: Path, objective: str) -> None:
    config = recipe(tmp_path, objective)
    done = command(*asked(sea), "--config", config, "--json")
    assert (done.code, done.err) == (0, ""), done
    report = done.json()
    assert report["out"] == str(tmp_path / "out")
    assert (report["documents"], report["documents_left_out"]) == (60, 0)
    assert (report["steps"], report["tokens_seen"]) == (8, 8 * 4 * 32)
    assert only_names(tmp_path) == {"sea.txt", config.name, "out"}  # what was under way is gone
    assert only_names(tmp_path / "out") == FILES | (GENERATES if objective != "masked" else set())
    assert {stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "out").iterdir()} == {
        stat.S_IMODE(sea.stat().st_mode)
    }
    lm = promptatlas.load(tmp_path / "out")
    assert lm.kind == {"masked": "masked", "causal": "causal", "span": "seq2seq"}[objective]
    assert report["numbers"] == sum(one.numel() for one in lm.parameters.values())
    assert lm.identity["dtype"] == "float32" if "dtype" in lm.identity else True
    model = getattr(transformers, AUTO[objective]).from_pretrained(tmp_path / "out", dtype="float32")
    assert sum(one.numel() for one in model.parameters()) == report["numbers"]
    for name in FILES - {"loss.png", "model.safetensors"}:
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text("utf-8")  # nothing of where it was made


def test_what_is_told_of_it(command: Command, tmp_path: Path, sea: Path) -> None:
    report = command(*asked(sea), "--config", recipe(tmp_path), "--json").json()
    folder = tmp_path / "out"
    assert [one["step"] for one in log(folder, "dev")] == [5, 8]
    assert log(folder, "dev")[-1].keys() == {"what", "step", "dev_loss"}
    assert report["held_out_loss"] == log(folder, "dev")[-1]["dev_loss"]
    assert [one["step"] for one in log(folder, "tune")] == list(range(1, 9))
    assert report["training_loss"] == pytest.approx(sum(one["loss"] for one in log(folder, "tune")) / 8)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n")
    card = (folder / "README.md").read_text("utf-8")
    for line in (
        "# out",
        "Architecture: type = modernbert, hidden_size = 32,",
        f"| `sea.txt` | {sea.stat().st_size:,} | 1 |",
        "- 4 windows a step, rate up to 0.01, rising for 3% of the steps, weight decay 0.01",
        f"| numbers | {report['numbers']:,} |",
        f"| held out loss | {report['held_out_loss']:.4f} |",
        "    promptatlas pretrain sea.txt --config masked.toml --steps 8 --held 0.2 --out out",
    ):
        assert f"\n{line}" in f"\n{card}"


def test_for_people_it_is_a_table(command: Command, tmp_path: Path, sea: Path) -> None:
    config = recipe(tmp_path)
    done = command(*asked(sea, held=0, steps=2), "--config", config)
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[:2] == ["out", "numbers"]
    assert "documents left out" in done.out
    assert "held out loss" not in done.out  # nothing was held out
    assert log(tmp_path / "out", "dev") == []
    assert "--held 0.0" in (tmp_path / "out" / "README.md").read_text("utf-8")
    again = command(*asked(sea, held=0, steps=2), "--config", config)
    assert (again.code, again.err) == (0, f"the model that was in {tmp_path / 'out'} is replaced\n")


def test_the_same_command_makes_the_same(command: Command, tmp_path: Path, sea: Path) -> None:
    """And compressed text is the text it is."""
    packed, other = tmp_path / "sea.txt.xz", tmp_path / "sea.txt.gz"
    packed.write_bytes(lzma.compress(sea.read_bytes()))
    other.write_bytes(gzip.compress(sea.read_bytes()))
    config = recipe(tmp_path, "causal")
    for name, text, seed in (("one", sea, 1), ("two", packed, 1), ("three", other, 2)):
        assert command(*asked(text, out=name), "--config", config, "--seed", seed).code == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != weights(tmp_path / "three")


def test_a_text_counts_as_often_as_it_says(command: Command, tmp_path: Path, sea: Path) -> None:
    report = command(*asked(Path(f"{sea}=2")), "--config", recipe(tmp_path), "--json").json()
    assert report["documents"] == 120


@pytest.mark.parametrize("documents", [1, 2, 3])
def test_one_long_document_is_enough(command: Command, tmp_path: Path, documents: int) -> None:
    sea = tmp_path / "sea.txt"
    sea.write_text("\n\n".join(made("sea", 40, seed).replace("\n\n", "\n") for seed in range(documents)), "utf-8")
    done = command(*asked(sea, steps=2), "--config", recipe(tmp_path))
    assert done.code == 0
    told = "no loss is measured: what is held out is shorter than a window; raise --held, or give more text\n"
    assert done.err in ("", told)


def with_stop(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException | None = None) -> None:
    """At this step, fall; or, without an error, press Ctrl-C."""
    listen = Bar.listen

    def stop(self: Bar, event: Event) -> None:
        listen(self, event)
        if event.what == "tune" and event.done == at:
            if error is not None:
                raise error
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Bar, "listen", stop)


def test_ctrl_c_keeps_what_there_is(
    command: Command, tmp_path: Path, sea: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ("--config", recipe(tmp_path, "causal"))
    assert command(*asked(sea, out="whole"), *config).code == 0
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as pressed:
        with_stop(pressed, 5)
        done = command(*asked(sea), *config)
    assert signal.getsignal(signal.SIGINT) is before
    assert (done.code, done.out) == (130, "")
    assert "stopping after this step" in done.err
    assert done.err.endswith("stopped: cancelled (tune, 5 of 8); it goes on when the same command is given again\n")
    assert only_names(tmp_path) == {"sea.txt", "causal.toml", "whole", "out.run"}
    message, hint = command.fails(*asked(sea, steps=9), *config)
    assert message == f"`{tmp_path / 'out.run'}` holds unfinished work that was asked for otherwise"
    assert hint == "give that command again, or delete the folder"
    recipe(tmp_path, "causal", train_lr=1e-3)
    message, _ = command.fails(*asked(sea), *config)
    assert message.endswith(f"holds unfinished work that had another `{tmp_path / 'causal.toml'}`")
    recipe(tmp_path, "causal")
    with (tmp_path / "out.run" / "log.jsonl").open("a") as file:
        file.write('{"what": "tu')  # it was killed while it wrote
    seen: list[int] = []
    listen = Bar.listen
    monkeypatch.setattr(Bar, "listen", lambda self, event: (seen.append(event.done), listen(self, event))[1])
    done = command(*asked(sea), *config)
    assert (done.code, done.err) == (0, f"going on with {tmp_path / 'out.run'}\n")
    assert seen[0] == 6  # it didn't begin anew
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert only_names(tmp_path) == {"sea.txt", "causal.toml", "whole", "out"}


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["order.json", "train/tune-0/checkpoint.json"])
def test_what_was_killed_goes_on_as_if_it_hadnt_been(command: Command, tmp_path: Path, sea: Path, wait: str) -> None:
    words = [str(one) for one in (*asked(sea, steps=200), "--config", recipe(tmp_path, "causal"), "--checkpoint", 0)]
    training = subprocess.Popen(
        [sys.executable, "-m", "promptatlas", *words], stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # sums in the order they have here
    )  # fmt: skip
    for _ in range(2400):
        if (tmp_path / "out.run" / wait).is_file():
            break
        time.sleep(0.02)
    time.sleep(0.2)
    training.kill()
    assert training.wait() == -signal.SIGKILL
    assert only_names(tmp_path) == {"sea.txt", "causal.toml", "out.run"}
    assert command(*words).code == 0
    whole = [word.replace(str(tmp_path / "out"), str(tmp_path / "whole")) for word in words]
    assert command(*whole).code == 0
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    for what in ("tune", "dev"):
        assert log(tmp_path / "out", what) == log(tmp_path / "whole", what)


def test_text_that_is_kept_out_stays_out_after_a_kill(
    command: Command, tmp_path: Path, sea: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the corpus grew in between, and its tokens are made again."""
    kept = tmp_path / "kept"
    kept.mkdir()
    rows = [{"text": one} for one in made("sea").split("\n\n")[:7]]
    (kept / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    words = (*asked(sea), "--config", recipe(tmp_path), "--without", kept, "--json")
    with monkeypatch.context() as fall:
        with_stop(fall, 1, KeyboardInterrupt())
        command(*words)
    assert (tmp_path / "out.run" / "tokens").is_dir()
    sea.write_text(made("sea", 80), "utf-8")
    assert command(*words).json()["documents_left_out"] == 7
    report = command(*words[:-3], "--without", kept / "test.jsonl", "--json").json()
    assert (report["documents"], report["documents_left_out"]) == (73, 7)
    assert f"--without {kept.name}" not in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "--without test.jsonl" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_model_trained_on_knows_the_new_text_better(command: Command, tmp_path: Path, begun: dict[str, Path]) -> None:
    farm = tmp_path / "farm.txt"
    farm.write_text(made("farm"), "utf-8")
    (tmp_path / "train.toml").write_text(
        '[[objective]]\nobjective = "masked"\nlength = 32\n[train]\nbatch = 4\nevery = 2\nlr = 1e-2\n'
    )
    words = (*asked(farm, steps=40), "--config", tmp_path / "train.toml", "--lm", begun["masked"])
    done = command(*words, "--json")
    assert done.code == 0, done
    losses = [one["dev_loss"] for one in log(tmp_path / "out", "dev")]
    assert losses[-1] < losses[0] - 0.1
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (begun["masked"] / "tokenizer.json").read_bytes()
    assert weights(tmp_path / "out") != weights(begun["masked"])
    assert "\nIt was `masked` before.\n" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_recipe_isnt_needed_to_train_on(command: Command, tmp_path: Path, begun: dict[str, Path], sea: Path) -> None:
    assert command(*asked(sea, steps=2), "--lm", begun["masked"], "--lr", 1e-4).code == 0
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "- objective = masked, length = 64," in card  # as long as its window
    assert "rate up to 0.0001," in card


def test_lm_adaptation_makes_a_model_that_answers_directly(
    command: Command, tmp_path: Path, begun: dict[str, Path], sea: Path
) -> None:
    assert promptatlas.load(begun["span"]).layout.fill == "sentinel"
    (tmp_path / "train.toml").write_text('[[objective]]\nobjective = "span"\nlength = 32\n[train]\nbatch = 4\n')
    words = (*asked(sea, steps=2), "--config", tmp_path / "train.toml", "--lm", begun["span"])
    assert command(*words, "--objective", "prefix").code == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["promptatlas_fill"] == "direct"
    assert promptatlas.load(tmp_path / "out").layout.fill == "direct"
    assert command(*words, "--objective", "span", "--objective", "prefix").code == 0
    assert promptatlas.load(tmp_path / "out").layout.fill == "sentinel"  # it still knows spans
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "\n- objective = span, " in card
    assert "\n- objective = prefix, " in card
    assert "--objective span --objective prefix" in card


def test_a_budget_of_tokens(command: Command, tmp_path: Path, sea: Path) -> None:
    report = command(*asked(sea, steps=0), "--tokens", 512, "--config", recipe(tmp_path), "--json").json()
    assert (report["steps"], report["tokens_seen"]) == (4, 512)


def test_a_budget_of_hours(command: Command, tmp_path: Path, sea: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*asked(sea, steps=0), "--hours", 0.0002, "--config", recipe(tmp_path), "--json")
    with monkeypatch.context() as pressed:
        with_stop(pressed, 7)  # 6 are timed
        assert command(*words).code in (0, 130)
    steps = command(*words).json()["steps"]
    assert steps >= 1
    assert log(tmp_path / "out", "tune")[-1]["step"] == steps


def test_another_models_tokenizer(command: Command, tmp_path: Path, sea: Path, begun: dict[str, Path]) -> None:
    config = recipe(tmp_path, tokenizer_vocabulary=90)
    assert command(*asked(sea, steps=2), "--config", config, "--tokenizer", begun["masked"]).code == 0
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (begun["masked"] / "tokenizer.json").read_bytes()


def test_the_objective_may_stand_in_the_command_alone(command: Command, tmp_path: Path, sea: Path) -> None:
    config = recipe(tmp_path)
    config.write_text(config.read_text("utf-8").replace("[[objective]]", "[train]").split("[train]")[0], "utf-8")
    assert command(*asked(sea, steps=2), "--config", config, "--objective", "masked").code == 0


NEW, OLD = ("--config", "masked.toml"), ("--lm", "masked")
MISTAKES: list[tuple[str, tuple[str, ...], str, str]] = [
    ("no corpus", ("no.txt", *NEW), "there is no file `no.txt`", "plain text, .xz or .gz"),
    ("no text", ("empty.txt", *NEW), "there is no text to learn from", "documents are separated by blank lines"),
    ("no text to train on", ("empty.txt", *OLD), "there is no text to learn from", "separated by blank lines"),
    ("little text", ("little.txt", "--held", "0", *NEW), "the text is shorter than one window", "give more text"),
    ("broken text", ("broken.xz", *NEW), "`broken.xz` can't be read", ""),
    ("a weight", ("sea.txt=0", *NEW), "`sea.txt=0` gives the weight `0`", ""),
    ("nothing to keep out", ("sea.txt", "--without", "no.txt", *NEW), "there is no file `no.txt`", ""),
    ("an empty folder", ("sea.txt", "--without", "empty", *NEW), "`empty` holds no text to keep out", ".jsonl"),
    ("neither", ("sea.txt",), "neither a recipe nor a model was given", "--config FILE makes one"),
    ("no budget", ("sea.txt", "--steps", "0", *NEW), "how long to train isn't said, or said twice", "give one of"),
    ("two budgets", ("sea.txt", "--hours", "1", *NEW), "how long to train isn't said, or said twice", "give one of"),
    ("no recipe", ("sea.txt", "--config", "no.toml"), "`no.toml` can't be read", "a TOML file"),
    ("half a recipe", ("sea.txt", "--config", "half.toml"), "a new model needs `[model]`", "see recipes/"),
    ("a table", ("sea.txt", "--config", "table.toml"), "`table.toml` has `[modle]`", "did you mean `model`?"),
    ("a setting", ("sea.txt", "--config", "train.toml"), "`train.toml` has `steps` under `[train]`", ""),
    ("of an objective", ("sea.txt", "--config", "objective.toml"), "`objective.toml` has `rat`", "mean `rate`?"),
    ("of the model", ("sea.txt", "--config", "model.toml"), "`modernbert` has no setting `hiden`", ""),
    ("of the tokenizer", ("sea.txt", "--config", "tokenizer.toml"), "`tokenizer.toml` has `words`", "vocabulary"),
    ("an objective", ("sea.txt", *NEW, "--objective", "mask"), "there is no objective `mask`", "mean `masked`?"),
    ("of another kind", ("sea.txt", *NEW, "--objective", "span"), "a masked model has no objective `span`", "masked"),
    ("that it lacks", ("sea.txt", *OLD, "--objective", "causal"), "a masked model has no objective `causal`", "masked"),
    ("no model", ("sea.txt", "--lm", "no/model"), "there is no language model `no/model`", "pocket-masked"),
    ("no tokenizer", ("sea.txt", *NEW, "--tokenizer", "no/model"), "there is no language model `no/model`", ""),
    ("a tokenizer twice", ("sea.txt", *OLD, "--tokenizer", "masked"), "a model that is trained on keeps its", ""),
    ("a rate", ("sea.txt", *NEW, "--lr", "0"), "`lr` is 0", "above 0"),
]


@pytest.mark.parametrize(("words", "message", "hint"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES])
def test_a_mistake_is_told_and_leaves_nothing(
    command: Command, tmp_path: Path, sea: Path, begun: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...], message: str, hint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masked").symlink_to(begun["masked"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n\n \n", "utf-8")
    (tmp_path / "little.txt").write_text("the ship sails", "utf-8")
    (tmp_path / "broken.xz").write_bytes(lzma.compress(sea.read_bytes())[:-40])
    good = recipe(tmp_path).read_text("utf-8")
    for name, old, new in (
        ("table", "[model]", "[modle]"),
        ("train", "batch", "steps = 3\nbatch"),
        ("objective", "short", "rat = 0.5\nshort"),
        ("model", "hidden_size", "hiden = 3\nhidden_size"),
        ("tokenizer", "vocabulary", "words"),
    ):
        (tmp_path / f"{name}.toml").write_text(good.replace(old, new), "utf-8")
    (tmp_path / "half.toml").write_text("[train]\nbatch = 4\n", "utf-8")
    before = only_names(tmp_path)
    told, advice = command.fails("pretrain", "--steps", 3, "--out", "out", *words)
    assert told.startswith(message)
    assert hint in advice
    assert only_names(tmp_path) == before


def test_a_folder_that_isnt_ours_is_left_alone(command: Command, tmp_path: Path, sea: Path) -> None:
    config = ("--config", recipe(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("tea", "utf-8")
    message, _ = command.fails(*asked(sea), *config)
    assert message == f"`{tmp_path / 'out'}` holds other things and is left as it is: `notes.txt`"
    (tmp_path / "other.run").mkdir()
    (tmp_path / "other.run" / "run.json").write_text("{}", "utf-8")  # of an unfinished fit
    message, _ = command.fails(*asked(sea, out="other"), *config)
    assert message == f"`{tmp_path / 'other.run'}` holds other things"
    assert only_names(tmp_path) == {"sea.txt", "masked.toml", "out", "other.run"}

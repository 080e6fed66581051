"""The benchmark of pocket models: its arithmetic, its seeded list, and that nothing is measured twice."""

import lzma
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.small import BAD, GOOD, rows, write

from promptatlas import registry
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import DataError
from promptatlas.lm.local import LocalLM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting.make import prompt
from promptatlas.testing.tiny import tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # its modules import each other as a script's do
pocket = import_module("pocket")
facts, labels, losses, table, texts = (
    import_module(f"pocketry.{name}") for name in ("facts", "labels", "losses", "table", "texts")
)

RAW = """
 = Tea =

 The <unk> was @-@ well @-@ known , and it 's " quite good " ( they do n't say more ) . 1 @,@ 000 cups !
"""
PLAIN = "the was-well-known, and it's \"quite good\" (they don't say more). 1,000 cups!"
LINE = "the cat sat on a mat and the dog ran over it while rain fell upon old grey town walls "
LONG = "dogmatcat"  # of several pieces in every tiny model
TEXT = f"the cat was {LONG} and good"
FACTS = '[opposite]\ntemplate = "the opposite of {subject} is {answer} ."\nheld = [["hot", "cold"], ["up", "down"]]\n'


def spanned(text: str, *words: str) -> object:
    return texts.Passage(text, tuple((text.index(one), text.index(one) + len(one)) for one in words))


def test_wikitext_is_written_as_people_do():
    assert texts.paragraphs(RAW) == [PLAIN]


def test_the_list_of_words_is_the_same_for_the_same_seed():
    some = [(LINE * 9).strip(), (LINE * 3).strip(), "too short"]
    first = texts.passages(some, 20, 0)
    assert first == texts.passages(some, 20, 0)
    assert first != texts.passages(some, 20, 1)
    assert sum(len(one.spans) for one in first) >= 20
    assert all(one.text.split().count(word) for one in first for word in one.words)
    assert texts.passages(some, 1, 0)[0].words == ("fell", "the", "cat", "sat", "the", "ran")
    assert [len(one.text.split()) for one in texts.passages(some, 10**9, 0)].count(80) == 2


def test_words_glued_to_others_are_not_asked_for():
    assert [one.group() for one in texts.WORD.finditer("a well-known dog's tail, (grey) 3rd")] == ["a", "tail", "grey"]


def test_a_masked_words_loss_is_its_pieces_summed():
    lm = tiny("bert")
    passage = spanned(TEXT, LONG, "good")
    words = losses.in_place(lm, passage)
    assert len(words[0]) > 1
    ids = lm.tokenizer.backend(TEXT)["input_ids"]
    flat = [i for one in words for i in one]
    places = [at for at, i in enumerate(ids) if i in flat]
    assert [ids[at] for at in places] == flat
    hidden = [lm.mask if at in places else i for at, i in enumerate(ids)]
    with torch.no_grad():
        logp = lm.model(input_ids=torch.tensor([hidden])).logits[0].log_softmax(-1)
    by_hand = [-float(logp[at, ids[at]]) for at in places]
    expected = [sum(by_hand[: len(words[0])]), by_hand[-1]]
    assert losses.word_losses(lm, [passage]) == pytest.approx(expected, abs=1e-4)
    unigram = np.arange(len(lm.vectors), dtype=float)
    found = losses.per_word(lm, [passage], unigram)
    assert found["value"] == pytest.approx(sum(expected) / 2, abs=1e-4)
    assert found["unigram over its pieces"] == pytest.approx(sum(flat) / 2)
    assert (found["n"], found["words with an unknown piece"]) == (2, 0)


def test_a_spans_loss_is_that_of_what_follows_its_sentinel():
    lm = tiny("t5")
    passage = spanned(TEXT, LONG, "cat")
    backend = lm.tokenizer.backend
    expected = []
    for word in passage.words:
        before, after = TEXT.split(f" {word} ")
        given = backend(f"{before}<extra_id_0> {after}")["input_ids"]
        ids = backend(f"a {word}", add_special_tokens=False)["input_ids"][1:]
        fed = [0, backend.convert_tokens_to_ids("<extra_id_0>"), *ids[:-1]]
        with torch.no_grad():
            out = lm.model(input_ids=torch.tensor([given]), decoder_input_ids=torch.tensor([fed]))
        logp = out.logits[0].log_softmax(-1)
        expected.append(-sum(float(logp[1 + at, i]) for at, i in enumerate(ids)))
    assert losses.span_losses(lm, [passage]) == pytest.approx(expected, abs=1e-3)


def test_windows_go_on_by_half():
    assert list(losses.windows(10, 4)) == [(0, 0, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)]
    assert list(losses.windows(3, 4)) == [(0, 0, 3)]
    assert list(losses.windows(7, 5)) == [(0, 0, 5), (2, 5, 7)]


@pytest.mark.parametrize("most", [None, 3, 4])
def test_bits_per_byte_are_those_of_every_piece_once(most: int | None):
    follows: Mapping[str, Mapping[str, float]] = {"a": {"b": 1.0, "c": 0.0}, "b": {"a": 2.0, "c": 0.0}, "c": {"a": 0.0}}
    lm = ScriptedLM(("a", "b", "c"), lambda text: follows[text.split()[-1]], kind="causal")
    text = "a b a c a b c"
    found = losses.per_byte(lm, text, np.ones(6), most)
    ab, ac, ba, bc = (-math.log(p / (1 + p)) for p in (math.e, 1 / math.e, math.e**2, math.e**-2))
    assert found["value"] == pytest.approx((2 * ab + ba + ac + bc) / math.log(2) / len(text))
    assert found["unigram over its pieces"] == pytest.approx(7 / math.log(2) / len(text))
    assert (found["n"], found["unknown pieces"]) == (13, 0)


def test_a_window_starts_with_the_models_own_mark():
    lm = tiny("llama")
    text = "the cat sat on the mat"
    ids = lm.tokenizer.backend(text)["input_ids"]
    with torch.no_grad():
        logp = lm.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    nats = -sum(float(logp[at - 1, ids[at]]) for at in range(1, len(ids)))
    found = losses.per_byte(lm, text, np.ones(len(lm.vectors)))
    assert found["value"] == pytest.approx(nats / math.log(2) / len(text), abs=1e-4)


def test_the_unigram_counts_pieces_of_the_corpus(tmp_path: Path):
    with lzma.open(tmp_path / "en.txt.xz", "wt") as file:
        file.write("The cat\nthe dog the")
    lm = tiny("bert")
    loss = texts.Corpus((tmp_path / "en.txt.xz",), 10**6).loss(lm)
    total = sum(len(lm.tokens(one)) for one in ("the", "the", "the", "cat", "dog")) + len(lm.vectors)
    assert np.exp(-loss).sum() == pytest.approx(1)
    assert loss[lm.tokens("the")[0]] == pytest.approx(math.log(total / 4))


@pytest.fixture
def task() -> Task:
    given = [
        (one, i, label) for label, some in (("positive", GOOD), ("negative", BAD)) for i in range(5) for one in some
    ]
    made = tuple(Example({"text": f"{one} {i}"}, label, f"{label} {one} {i}") for one, i, label in given)
    return Task(name="t", kind="label", fields=("text",), labels=("negative", "positive"), train=made, test=made)


def test_one_reading_gives_both_accuracies(task: Task):
    lm = tiny("bert", scale=6.0)
    start = prompt("{text} It was {mask}.", labels.SENTIMENT.words)
    found = labels.asked(lm, start, task)
    calibrated = registry.method("contextual_calibration").fit(lm, task, start)
    for name, one in (("value", start), ("calibrated", calibrated)):
        answers = [answer.value for answer in one.predict(lm, task.test)]
        right = sum(answer == example.target for answer, example in zip(answers, task.test, strict=True))
        assert found[name] == right / len(task.test)
    assert found["n"] == 40


def test_folds_hold_every_label_evenly(task: Task):
    halves = list(labels.divided(task.train, 4))
    assert [len(held) for _, held in halves] == [10] * 4
    assert all(sum(one.target == "positive" for one in held) == 5 for _, held in halves)
    assert all({one.key for one in rest}.isdisjoint(one.key for one in held) for rest, held in halves)
    assert sorted(one.key for _, held in halves for one in held) == sorted(one.key for one in task.train)


def test_the_rate_is_chosen_without_test_examples(task: Task, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[float, int]] = []

    def tune(lm: LocalLM, few: Task, start: object, rate: float, seed: int) -> object:
        seen.append((rate, len(few.test) + len(few.dev)))
        return start

    monkeypatch.setattr(labels, "_tune", tune)
    other = tuple(replace(one, key=f"test {one.key}") for one in task.test)
    found = labels.tuned(
        tiny("bert"), replace(task, test=other), "{text} It was {mask}.", labels.SENTIMENT.words, seed=0
    )
    assert [rate for rate, _ in seen[:-1]] == [rate for rate in labels.RATES for _ in range(4)]
    assert all(count == 0 for _, count in seen[:-1])
    assert (found["n"], found["rate"]) == (40, labels.RATES[0])


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_facts_are_placed_in_the_whole_vocabulary(kind: str, tmp_path: Path):
    (tmp_path / "facts.toml").write_text(FACTS, "utf-8")
    said = {"hot": {"cold": 2.0, "down": 1.0}, "up": {"cold": 2.0, "down": 1.0}}
    words = ["the", "opposite", "of", "hot", "up", "is", "cold", "down", "."]
    lm = ScriptedLM(words, lambda text: said[text.split()[3]], kind=kind)  # type: ignore[arg-type]
    found = facts.figures(lm, facts.relations(tmp_path / "facts.toml"))
    assert (found["value"], found["P@10"], found["P@1 of the majority answer"]) == (0.5, 1.0, 0.5)
    assert (found["n"], found["skipped, of several pieces"]) == (2, 0)


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_an_answers_place_is_the_worst_of_its_pieces(name: str):
    lm = tiny(name)
    relation = facts.Relation("r", "the cat is {answer} and good", (("", LONG),))
    (found,) = facts.ask(lm, relation)
    if lm.kind == "masked":
        assert found.place is None
        return
    ids = lm.tokenizer.backend(f"is {LONG}", add_special_tokens=False)["input_ids"][1:]
    assert len(ids) > 1
    backend = lm.tokenizer.backend
    with torch.no_grad():
        if lm.kind == "causal":
            given = [*backend("the cat is")["input_ids"], *ids[:-1]]
            logits = lm.model(input_ids=torch.tensor([given])).logits[0, -len(ids) :]
        else:
            given = backend("the cat is<extra_id_0> and good")["input_ids"]
            fed = [0, backend.convert_tokens_to_ids("<extra_id_0>"), *ids[:-1]]
            logits = lm.model(input_ids=torch.tensor([given]), decoder_input_ids=torch.tensor([fed])).logits[0, 1:]
    assert found.place == max(int((row > row[i]).sum()) for row, i in zip(logits, ids, strict=True))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("sst2", "fewclue_eprstmt"):
        for split in ("train", "test"):
            some = rows(GOOD * 5, "positive") + rows(BAD * 5, "negative")
            write(tmp_path / "shared" / "data" / name / f"{split}.jsonl", some)
    corpora = tmp_path / "shared" / "corpora"
    corpora.mkdir()
    (corpora / "wikitext2_test.txt").write_text(" = A =\n" + LINE * 9, "utf-8")
    with lzma.open(corpora / "en_small.txt.xz", "wt") as file:
        file.write(LINE)
    (tmp_path / "facts.toml").write_text(FACTS, "utf-8")
    return tmp_path / "shared" / "data"


def folder(name: str, path: Path) -> Path:
    lm = tiny(name)
    lm.model.save_pretrained(path)
    lm.tokenizer.backend.save_pretrained(path)
    return path


def given(data: Path, tmp_path: Path, *more: str) -> list[str]:
    small = ["--test", "6", "--seeds", "1", "--words", "8", "--facts", str(tmp_path / "facts.toml")]
    return ["--data", str(data), "--out", str(tmp_path / "out" / "pocket.json"), *small, *more]


@pytest.mark.parametrize(("name", "counts"), [("bert", (1, 3, 0, 2)), ("llama", (2, 3, 2, 2)), ("t5", (1, 3, 0, 2))])
def test_nothing_is_measured_twice(
    name: str, counts: tuple[int, ...], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    words = given(
        data, tmp_path, "--models", str(folder(name, tmp_path / "model")), "--only", "wikitext,zero,demos,facts"
    )
    out = tmp_path / "out" / "pocket.json"
    assert pocket.main(words) == 0
    first = out.read_text("utf-8")
    kept = [pocket.Kept.read(line) for line in first.splitlines()]
    assert tuple(sum(one.part == part for one in kept) for part in ("wikitext", "zero", "demos", "facts")) == counts
    shown = capsys.readouterr().out
    assert f"model {kept[0].cell.lm.split()[1]} ({tiny(name).kind}) · sst2 · zero-shot, " in shown
    page = out.with_suffix(".md").read_text("utf-8")
    assert "| zero | sst2 | zero-shot, " in page
    assert "{steps}" not in page

    monkeypatch.setattr(labels, "zero", None)  # to be called is to fail
    assert pocket.main(words) == 0
    assert out.read_text("utf-8") == first
    assert out.with_suffix(".md").read_text("utf-8") == page


def test_other_settings_or_weights_are_other_cells(data: Path, tmp_path: Path):
    words = given(data, tmp_path, "--models", f"mine={folder('bert', tmp_path / 'model')}", "--only", "zero")
    out = tmp_path / "out" / "pocket.json"
    pocket.main(words)
    pocket.main([*words, "--test", "7"])
    kept = [pocket.Kept.read(line) for line in out.read_text("utf-8").splitlines()]
    assert [one.cell.figures["n"] for one in kept] == [6, 6, 6, 7, 7, 7]
    lm = tiny("bert", seed=1)
    lm.model.save_pretrained(tmp_path / "model")
    pocket.main([*words, "--test", "7"])
    kept = [pocket.Kept.read(line) for line in out.read_text("utf-8").splitlines()]
    assert len(kept) == 6  # the first three gave way
    assert len({one.cell.lm for one in kept}) == 2
    assert {one.cell.lm.split()[0] for one in kept} == {"mine"}


def test_chinese_models_have_their_own_sets(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = given(data, tmp_path, "--chinese", str(folder("bert", tmp_path / "model")), "--only", "zero,facts")
    assert pocket.main(words) == 0
    assert "(masked, Chinese) · fewclue_eprstmt · zero-shot, {text}这很{mask}。: " in capsys.readouterr().out
    assert "## masked, Chinese" in (tmp_path / "out" / "pocket.md").read_text("utf-8")


def test_a_file_that_is_something_else_is_left_alone(data: Path, tmp_path: Path):
    out = tmp_path / "out" / "pocket.json"
    write(out, [])
    out.write_text("[\n1\n]\n", "utf-8")
    with pytest.raises(DataError, match="is no cell of this benchmark"):
        pocket.main(given(data, tmp_path))
    assert out.read_text("utf-8") == "[\n1\n]\n"


def test_the_page_gives_a_mean_over_draws_and_its_deviation():
    cell = pocket.Cell(method="tuned", task="sst2", lm="m 1", seed=0, figures={"value": 0.5, "value se": 0.1, "n": 9})
    kept = [pocket.Kept("tuned", "masked", "", replace(cell, seed=i, figures={**cell.figures, "value": v}))
            for i, v in enumerate((0.5, 0.7))]  # fmt: skip
    (entry,) = table.entries(kept)
    assert str(entry) == "m 1 (masked) · sst2 · tuned: 0.600 ± 0.141 · 9 test examples, 2 draws"
    assert "| tuned | sst2 | tuned | 9 test examples, 2 draws | 0.600 ± 0.141 |" in table.markdown([entry], "note")
    (alone,) = table.entries(kept[:1])
    assert alone.text == "0.500 ± 0.100"


def test_without_data_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PROMPTATLAS_DATA", raising=False)
    assert pocket.main([]) == 0
    assert "skipped: say where the data sets are, --data" in capsys.readouterr().err


def test_the_list_of_wikitext(shared_data: Path):
    path = shared_data.parent / "corpora" / "wikitext2_test.txt"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in the folder `corpora` beside the data sets")
    found = texts.passages(texts.paragraphs(path.read_text("utf-8")), 2000, 0)
    assert sum(len(one.spans) for one in found) >= 2000
    assert not any("<unk>" in one.text or " @" in one.text for one in found)

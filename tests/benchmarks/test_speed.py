"""The speed benchmark: its floor against torch's counter, its lengths, its page, and that nothing is measured twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.speed import __main__ as speed
from benchmarks.speed import (
    cells,
    compare,
    count,
    floor,
    growth,
    mixed,
    models,
    ours,
    setup,
    shots,
    table,
    texts,
    training,
)
from benchmarks.speed.works import WORKS
from torch import Tensor
from transformers import DynamicCache

from promptatlas.errors import DataError

VECTORS, LABELS = 5, 2
ROWS = (7, 11)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def model(name: str, cache: Path) -> Any:
    made = models.plain(models.SHAPES[name], models.folder(models.SHAPES[name], cache))
    return made.eval().requires_grad_(False)


def total(run: Any) -> int:
    return sum(count.counted(run).values())


def read(whole: Any, states: Tensor) -> Tensor:
    """The head at one state, against two rows of the vocabulary."""
    last = states[:, -1]
    if hasattr(whole, "cls"):
        last = whole.cls.predictions.transform(last)
    return torch.nn.functional.linear(last, whole.get_output_embeddings().weight[:LABELS])


def soft(whole: Any, rows: tuple[int, ...]) -> None:
    """A training step as lean as transformers alone allows: no padding, the head at one state, the vectors run once."""
    part = torch.nn.Parameter(torch.zeros(1, VECTORS, whole.config.hidden_size))
    embed = whole.get_input_embeddings()
    loss = torch.zeros(())
    kind = whole.config.model_type
    beginning = whole.transformer(inputs_embeds=part, use_cache=True).past_key_values if kind == "gpt2" else None
    for one in rows:
        row = embed(torch.arange(one)[None])
        if beginning is not None:
            kept = DynamicCache(config=whole.config)
            for at, layer in enumerate(beginning.layers):
                kept.update(layer.keys, layer.values, at)
            states = whole.transformer(inputs_embeds=row, past_key_values=kept).last_hidden_state
        elif kind == "t5":
            encoded = whole.encoder(inputs_embeds=torch.cat([part, row], 1))[0]
            fed = torch.zeros(1, floor.FED, dtype=torch.long)
            states = whole.decoder(input_ids=fed, encoder_hidden_states=encoded, use_cache=False)[0]
        else:
            states = whole.bert(inputs_embeds=torch.cat([part, row], 1))[0]
        loss = loss + read(whole, states).sum()
    loss.backward()


@pytest.mark.parametrize("name", ["tiny-bert", "tiny-gpt2", "tiny-t5"])
def test_the_floor_is_what_torch_counts_where_nothing_is_wasted(name: str, cache: Path):
    whole = model(name, cache)
    counted = total(lambda: soft(whole, ROWS))
    assert floor.soft(models.SHAPES[name], ROWS, VECTORS, LABELS) == pytest.approx(counted, rel=0.02)


def test_the_floor_of_scoring_is_what_torch_counts(cache: Path):
    whole, beginning = model("tiny-gpt2", cache), 23
    shape = models.SHAPES["tiny-gpt2"]

    @torch.no_grad()
    def run() -> None:
        kept = whole.transformer(torch.arange(beginning)[None], use_cache=True).past_key_values
        for one in ROWS:
            here = DynamicCache(config=whole.config)
            for at, layer in enumerate(kept.layers):
                here.update(layer.keys, layer.values, at)
            states = whole.transformer(torch.arange(one)[None], past_key_values=here).last_hidden_state
            whole.lm_head(states[:, -1])
            for _ in range(LABELS):  # two more tokens of each answer, all seen by the head
                branch = DynamicCache(config=whole.config)
                for at, layer in enumerate(here.layers):
                    branch.update(layer.keys, layer.values, at)
                whole.lm_head(whole.transformer(torch.arange(2)[None], past_key_values=branch).last_hidden_state)

    assert floor.shots(shape, beginning, ROWS, [3] * LABELS) == pytest.approx(total(run), rel=1e-6)
    short = floor.shots(shape, beginning, ROWS, [1] * LABELS)
    assert short < floor.shots(shape, beginning, ROWS, [3] * LABELS)
    assert floor.shots(shape, 0, ROWS, [1]) == sum(floor.shots(shape, 0, [one], [1]) for one in ROWS)


def test_fused_attention_is_counted_like_two_products():
    one = torch.zeros(1, 2, 8, 4, requires_grad=True)
    found = count.counted(lambda: torch.nn.functional.scaled_dot_product_attention(one, one, one).sum().backward())
    assert found == {"products": 0, "attention": (floor.FORWARD + floor.BACKWARD) * 8 * 8 * 2 * 4}


def test_lengths_are_half_of_short_texts_and_half_of_long_ones(tmp_path: Path):
    kept = texts.Lengths.found(None)
    assert (len(kept.short), len(kept.long)) == (4000, 3000)
    assert sum(kept.short) / 4000 == pytest.approx(20.9, abs=0.1)
    assert sum(kept.long) / 3000 == pytest.approx(44.5, abs=0.1)
    assert kept == texts.Lengths.found(tmp_path)  # no data there
    for name, rows in {"sst2": [{"text": "so , so"}], "ag_news": [{"title": "A b", "text": "it's on"}] * 2}.items():
        (tmp_path / name).mkdir()
        lines = "\n".join(json.dumps(row) for row in rows)
        (tmp_path / name / "train.jsonl").write_text(lines, "utf-8")
    found = texts.Lengths.found(tmp_path)
    assert found == texts.Lengths((3,), (6, 6))
    some = texts.texts(found, 10, 50, 0)
    assert sorted(len(one.split()) for one in some) == [3] * 5 + [6] * 5
    assert some == texts.texts(found, 10, 50, 0) != texts.texts(found, 10, 50, 1)
    assert found.digest != kept.digest


def test_the_lengths_kept_are_those_of_the_data(shared_data: Path):
    folder = shared_data / "data" if (shared_data / "data").is_dir() else shared_data
    if not (folder / "ag_news").is_dir():
        pytest.skip("AG News is not there")
    assert texts.Lengths.found(folder) == texts.Lengths.found(None)


@pytest.mark.parametrize(("name", "marks"), [("bert-base", 6), ("gpt2-small", 2), ("t5-small", 4)])
def test_a_word_of_a_text_is_a_token(name: str, marks: int, cache: Path):
    case = training.Training(name, "soft", VECTORS, "peft")
    bench = training.Bench(case, setup.Setup(cache=str(cache), batches=1, tiny=True))
    samples = bench.samples[0]
    lengths = [len(str(one.fields["text"]).split()) for one in bench.batches[0]]
    assert [len(one.ids) - marks for one in samples] == lengths
    head = 1 if name == "bert-base" else 0
    inner = {i for one, size in zip(samples, lengths, strict=True) for i in one.ids[head : head + size]}
    assert not inner & bench.lm.special
    before = bench.start.template.before(bench.start.template.slots[0])
    assert all(len(bench.lm.word(word, before)) == 3 for word in models.LONG.values())
    assert bench.floor() > 0
    assert bench.longest() == bench.shortest() == 0


def test_questions_that_are_timed_have_beginnings_of_their_own(cache: Path):
    told = setup.Setup(cache=str(cache), questions=6, timed=4, shots=2, pairs=3, tiny=True)
    bench = shots.Bench(shots.Shots("gpt2-small", 3), told)
    whole = bench.questions(shots.WHOLE)
    assert bench.questions(2) == [*whole[4:], *whole[:2]]
    contexts = [ours.contexts(bench.lm, bench.prompt(at), bench.questions(at)) for at in (1, 2)]
    assert len({one.split("it was")[0] for some in contexts for one in some}) == 2
    assert all(one.endswith("it was") and one.count("it was") == 3 for some in contexts for one in some)
    assert bench.mine(1).shape == (4, 4)
    assert bench.floor() > 0


class Fake:
    """A side that takes as long as it is told."""

    def __init__(self, *seconds: float) -> None:
        self.taken, self.seen = seconds, []

    def operations(self, batch: int) -> dict[str, int]:
        return {"products": batch, "attention": 1}

    def seconds(self, batch: int) -> float:
        self.seen.append(batch)
        return self.taken[batch]

    def close(self) -> None:
        pass


def test_times_are_taken_in_turn_and_their_ratio_is_the_pairs_median():
    mine, theirs = Fake(1.0, 2.0, 9.0), Fake(2.0, 2.0, 10.0)
    found = compare.times(mine, theirs, range(3))
    assert found == {"ours": 2.0, "peer": 2.0, "ratio": 0.9, "ratios": [0.5, 1.0, 0.9]}
    assert mine.seen == theirs.seen == [0, 0, 1, 2]
    counted = compare.operations(mine, theirs, range(3))
    assert (counted["ours"], counted["ratio"]) == (6, 1.0)
    assert counted["ours by kind"] == {"products": 3, "attention": 3}


def cell(work: str, case: str, figure: str, **values: float) -> cells.Cell:
    return cells.Cell(work, case, figure, values, "", "torch 0")


def test_the_page_says_what_is_met_and_what_is_missing():
    case = WORKS["soft"][0]
    kinds = {"ours by kind": {"products": 4e8, "attention": 1e8}, "peer by kind": {"products": 1e9, "attention": 0}}
    values = {"ours": 5e8, "peer": 1e9, "ratio": 0.5, "floor": 4e8}
    some = [
        replace(cell("soft", case.name, "operations"), values={**values, **kinds}),
        cell("soft", case.name, "time", ours=1.2, peer=1.0, ratio=1.2),
        cell("overhead", WORKS["overhead"][0].name, "share", ours=0.02, peer=0.01, ratio=0.02),
        *(cell("growth", f"m, {n} rows", "cost", ours=n * 0.5, bytes=100.0, many=n) for n in (10, 20)),
    ]  # fmt: skip
    page = table.markdown(some)
    assert f"| {case.name} | operations | 0.5 GFLOP | 1.0 GFLOP | 0.500 | 0.400 | 0.57 | yes |" in page
    assert f"| {case.name} | time | 1.20 s | 1.00 s | 1.200 |  | 1.00 | no |" in page
    assert "| share | 2.0 % | 1.0 % |  |  | 3% | yes |" in page
    assert f"| {case.name} | 0.4 + 0.1 | 1.0 + 0.0 | 0.4 |" in page
    assert "- soft: gpt2-small, 20 vectors, PEFT: time" in page
    assert f"- soft: {case.name}: time" not in page
    assert "- rows: twice as many cost 2^1.00 times the time and 2^0.00 times the memory" in page
    assert page == table.markdown(some)


def words(cache: Path, out: Path, *more: str) -> list[str]:
    small = ["--batches", "1", "--pairs", "1", "--questions", "4", "--timed", "2", "--shots", "2", "--most", "1"]
    return [*more, "--tiny", "--cache", str(cache), "--out", str(out), *small]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTATLAS_DATA", raising=False)
    monkeypatch.setattr(mixed, "ROWS", 4)
    monkeypatch.setattr(mixed, "PROMPTS", 2)
    monkeypatch.setattr(growth, "ROWS", 2)
    monkeypatch.setattr(growth, "QUESTIONS", 2)


@pytest.mark.usefixtures("quick")
def test_nothing_is_measured_twice(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "results" / "speed.json"
    assert speed.main(words(cache, out, "mixed", "growth")) == 0
    first, page = out.read_text("utf-8"), out.with_suffix(".md").read_text("utf-8")
    kept = [json.loads(line) for line in first.splitlines()]
    assert [one["work"] for one in kept] == ["mixed"] * 4 + ["growth"] * 2
    assert [one["figure"] for one in kept] == ["operations", "time"] * 2 + ["cost"] * 2
    assert str(tmp_path) not in first + page
    assert str(cache) not in first + page
    assert 0 < out.with_suffix(".png").stat().st_size < 60_000

    with monkeypatch.context() as patched:
        patched.setattr(training.ours, "jobs", None)  # to be called is to fail
        assert speed.main(words(cache, out, "mixed", "growth")) == 0
        assert speed.main(words(cache, out, "table")) == 0
        assert "skipped" not in capsys.readouterr().err
        assert speed.main(words(cache, out, "mixed", "--again", "--only", "operations")) == 0
        assert "skipped: mixed: bert-base" in capsys.readouterr().err
    assert out.read_text("utf-8") == first
    assert out.with_suffix(".md").read_text("utf-8") == page


def test_a_peer_that_is_not_there_is_named(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "speed.json"
    assert speed.main(words(cache, out, "openprompt", "--only", "operations")) == 0
    assert "OpenPrompt: operations: OpenPrompt's environment isn't there" in capsys.readouterr().err
    assert not out.is_file()
    assert "- openprompt: bert-base, 20 vectors, OpenPrompt: operations" in out.with_suffix(".md").read_text("utf-8")


def test_a_file_that_is_something_else_is_left_alone(cache: Path, tmp_path: Path):
    out = tmp_path / "mine.json"
    out.write_text("[1]\n", "utf-8")
    with pytest.raises(DataError, match=r"mine\.json:1 is no cell of this benchmark"):
        speed.main(words(cache, out, "table"))
    assert out.read_text("utf-8") == "[1]\n"


@pytest.mark.skipif(not count.REFERENCES.is_file(), reason="this system doesn't tell a process's peak memory")
def test_peak_memory_is_what_a_run_holds_at_most():
    held: list[Tensor] = []
    found = count.peak(lambda: held.append(torch.ones(8_000_000)))
    assert found == pytest.approx(32e6, rel=0.2)
    assert count.peak(lambda: None) < 2e6

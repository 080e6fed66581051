from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptatlas.data.view import One
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.lm import Kind
from promptatlas.lm.local import LocalLM
from promptatlas.lm.make import new, tokenizer
from promptatlas.parts.weights import Values, full
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.testing.same import fingerprint, hashed, same
from promptatlas.testing.tiny import names, tiny
from promptatlas.train.loss import Batch, generator
from promptatlas.train.optim import Optim
from promptatlas.train.packed import Windows, packed
from promptatlas.train.pretrain import (
    ROWS,
    Asked,
    Pretrain,
    Teach,
    _often,
    pretrain,
    sentinels,
    text_length,
    word_starts,
)
from promptatlas.train.run import Cancelled, Event, Run

TEXT = (
    "the cat sat on the mat . the dog ran up the hill . a bird sang in the old tree . "
    "rain fell upon the grey town . unbelievable stories were told by the fire . "
)
TEXTS = tuple(TEXT for _ in range(60))
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "masked": (
        "wordpiece",
        {"type": "bert", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32,
         "max_position_embeddings": 64, "hidden_dropout_prob": 0.0},
    ),
    "causal": (
        "bytes",
        {"type": "llama", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32,
         "max_position_embeddings": 64, "tie_word_embeddings": True},
    ),
    "seq2seq": (
        "bytes",
        {"type": "t5", "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 32, "num_layers": 1,
         "dropout_rate": 0.0, "feed_forward_proj": "gated-gelu"},
    ),
}  # fmt: skip
OWN = {"masked": "masked", "causal": "causal", "span": "seq2seq", "prefix": "seq2seq"}


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], LocalLM]:
    found: dict[Kind, LocalLM] = {}

    def get(kind: Kind) -> LocalLM:
        if kind not in found:
            type_, own = MADE[kind]
            size = {"wordpiece": 120, "bytes": 420}[type_]
            backend = tokenizer({"type": type_, "vocabulary": size, "lower": True, "window": 64}, kind, TEXTS)
            found[kind] = new(own, kind, backend, tmp_path_factory.mktemp(kind) / "lm", 0)
        return found[kind]

    return get


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, lms: Callable[[Kind], LocalLM]) -> Callable[[Kind], Path]:
    found: dict[Kind, Path] = {}

    def get(kind: Kind) -> Path:
        if kind not in found:
            folder = tmp_path_factory.mktemp("tokens") / "x"
            found[kind] = packed(lms(kind), TEXTS, folder, key="", held=0.0).train
        return found[kind]

    return get


def teach(lm: LocalLM, **settings: Any) -> Teach:
    size = len(lm.vectors)
    return Teach(Pretrain(**settings), 10, word_starts(lm), np.ones(size))


def row(lm: LocalLM, ids: Sequence[int], seed: int = 0, **settings: Any) -> Asked:
    made = teach(lm, **settings)
    return ROWS[made.settings.objective](made, lm, np.array(ids), np.random.default_rng(seed))


def words_of(lm: LocalLM, count: int) -> tuple[np.ndarray, list[list[int]]]:
    """Tokens of a text without marks, and which places belong to one word."""
    ids = np.array((lm.tokens(TEXT) * (count // 40 + 1))[:count])
    starts = word_starts(lm)[ids]
    groups: list[list[int]] = []
    for at, start in enumerate(starts):
        if start or not groups:
            groups.append([])
        groups[-1].append(at)
    return ids, groups


def test_where_words_begin() -> None:
    for name in names():
        lm = tiny(name)
        ids = lm.tokens("the cat sat on the hill")
        starts = word_starts(lm)[list(ids)]
        assert starts.shape == (len(ids),)
        assert 5 <= starts.sum() <= 6, name
    lm = tiny("bert")
    pieces = lm.pieces(lm.tokens("unbelievable catmat"))
    starts = word_starts(lm)[list(lm.tokens("unbelievable catmat"))]
    assert [not piece.startswith("##") for piece in pieces] == starts.tolist()


@pytest.mark.parametrize("rate", [0.1, 0.15, 0.4])
def test_masked_rows_hide_about_so_many_whole_words(rate: float) -> None:
    lm = tiny("bert")
    ids, groups = words_of(lm, 120)
    counts: list[float] = []
    fates = {"mask": 0, "kept": 0, "swapped": 0}
    for seed in range(200):
        one, where, right = row(lm, ids, seed, rate=rate)
        assert one.ids[0] == lm.tokenizer.start[0]
        assert one.ids[-1] == lm.tokenizer.end[0]
        assert len(one) == 122
        places = np.array(where) - 1
        assert list(right) == ids[places].tolist()
        hidden = set(places.tolist())
        assert all(set(group) <= hidden or not set(group) & hidden for group in groups)
        seen = np.array(one.ids[1:-1])
        rest = np.setdiff1d(np.arange(120), places)
        assert (seen[rest] == ids[rest]).all()
        counts.append(sum(set(group) <= hidden for group in groups) / len(groups))
        for group in groups:
            if group[0] in hidden:
                left = (seen[group] == ids[group]).all()
                masked = (seen[group] == lm.mask).all()
                assert masked or (seen[group] == lm.mask).sum() <= 1  # which a random token may be
                fates["mask" if masked else "kept" if left else "swapped"] += 1
    whole = sum(fates.values())
    assert abs(np.mean(counts) - rate) < 0.02
    assert abs(fates["mask"] / whole - 0.8) < 0.04
    assert abs(fates["kept"] / whole - 0.1) < 0.03
    assert abs(fates["swapped"] / whole - 0.1) < 0.03


def test_marks_are_never_hidden_and_something_always_is() -> None:
    lm = tiny("bert")
    sep, word = lm.tokenizer.sep[0], lm.tokens("cat")[0]
    for seed in range(100):
        _, where, right = row(lm, [sep, sep, word, sep, sep, sep, word, sep], seed, rate=0.05)
        assert right
        assert set(right) == {word}
        assert set(where) <= {3, 7}


def test_a_row_of_few_words_hides_one() -> None:
    lm = tiny("bert")
    for seed in range(20):
        assert len(row(lm, lm.tokens("the cat sat on"), seed, rate=0.001)[1]) == 1


def test_frequent_words_are_hidden_less(tmp_path: Path) -> None:
    lm = tiny("bert")
    ids, _ = words_of(lm, 2000)
    ids.astype("uint16").tofile(tmp_path / "a.uint16")
    windows = Windows(tmp_path / "a.uint16", 100)
    assert (_often(windows, len(lm.vectors), 1.0) == 1).all()
    often = _often(windows, len(lm.vectors), 0.02)
    the, cat = lm.tokens("the cat")
    share = (ids == the).mean()
    assert often[the] == pytest.approx((0.02 / share) ** 0.5)
    rare = next(i for i in range(len(often)) if i not in set(ids.tolist()))
    assert often[rare] == 1
    made = replace(teach(lm, rate=0.3), often=often)
    hidden = {int(the): 0, int(cat): 0}
    for seed in range(300):
        _, _, right = ROWS["masked"](made, lm, ids[:100], np.random.default_rng(seed))
        for one in hidden:
            hidden[one] += right.count(one)
    for one, count in hidden.items():
        wanted = 0.3 * often[one] * (ids[:100] == one).sum() * 300
        assert abs(count - wanted) < 0.15 * wanted + 20


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_causal_rows_ask_for_every_token_at_the_one_before(name: str) -> None:
    lm = tiny(name)
    ids = lm.tokens("the cat sat on the old grey town")
    one, where, right = row(lm, ids, objective="causal")
    whole = (*lm.tokenizer.start, *ids)
    assert one.ids == whole[:-1]
    assert where == tuple(range(len(whole) - len(right) - 1, len(whole) - 1))
    assert right == tuple(whole[at + 1] for at in where)
    assert right == (ids if lm.tokenizer.start else ids[1:])


def put_together(lm: LocalLM, seen: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The text again, out of what the encoder reads and what the decoder writes."""
    marks = sentinels(lm)
    pieces: dict[int, list[int]] = {}
    for one in wanted:
        if one in marks:
            pieces[one] = []
        else:
            pieces[list(pieces)[-1]].append(one)
    assert list(pieces) == marks[: len(pieces)]
    assert pieces.pop(marks[len(pieces) - 1]) == []  # the last sentinel ends it
    assert [one for one in seen if one in marks] == list(pieces)
    assert all(pieces.values())
    return [token for one in seen for token in pieces.get(one, [one])]


def test_span_rows_can_be_put_together_again(lms: Callable[[Kind], LocalLM]) -> None:
    lm = lms("seq2seq")

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(
        st.integers(14, 260), st.floats(0.01, 0.9), st.floats(1.0, 12.0), st.integers(0, 2**32),
    )  # fmt: skip
    def check(length: int, rate: float, span: float, seed: int) -> None:
        ids = [200 + at % 200 for at in range(length)]
        one, where, right = row(lm, ids, seed, objective="span", rate=rate, span=span)
        assert one.ids[-1:] == lm.tokenizer.end
        assert one.feed == (lm.layout.decoder_start, *right[:-1])
        assert where == tuple(range(len(right)))
        assert put_together(lm, one.ids[:-1], right) == ids
        hidden = sum(token not in sentinels(lm) for token in right)
        assert hidden == max(1, round(length * rate))
        assert len(one) <= length + 1

    check()


def test_spans_are_about_as_long_as_they_should_be_and_stand_anywhere(lms: Callable[[Kind], LocalLM]) -> None:
    lm = lms("seq2seq")
    ids = [200 + at % 200 for at in range(100)]
    firsts = set()
    for seed in range(50):
        one, _, right = row(lm, ids, seed, objective="span", rate=0.15, span=3.0)
        assert len(right) == 15 + 5 + 1
        firsts.add(next(at for at, token in enumerate(one.ids) if token in sentinels(lm)))
    assert len(firsts) > 10


def test_prefix_rows_are_two_halves(lms: Callable[[Kind], LocalLM]) -> None:
    lm = lms("seq2seq")
    for length in (2, 9, 10):
        ids = tuple(range(200, 200 + length))
        one, where, right = row(lm, ids, objective="prefix")
        assert (*one.ids[: -len(lm.tokenizer.end)], *right) == ids
        assert len(right) == (length + 1) // 2
        assert one.feed == (lm.layout.decoder_start, *right[:-1])
        assert where == tuple(range(len(right)))


def test_spans_need_sentinels() -> None:
    with pytest.raises(NeedsError, match="has no sentinels"):
        row(tiny("bart"), range(20), objective="span")


def test_a_model_with_few_sentinels_hides_few_spans() -> None:
    lm = tiny("t5")  # it has two
    ids = [i for i in range(60) if i not in lm.special][:40]
    one, _, right = row(lm, ids, objective="span", rate=0.3)
    first = lm.tokenizer.sentinel()
    assert [token for token in right if token in lm.special] == [first, first + 1]
    assert [token for token in one.ids if token in lm.special] == [first, *lm.tokenizer.end]


@pytest.mark.parametrize(
    ("length", "short", "whole"), [(64, 0, 62), (64, 64, 62), (64, 32, 60), (64, 16, 56), (512, 128, 504)]
)
def test_both_phases_see_the_same_tokens_of_a_window(length: int, short: int, whole: int) -> None:
    made = teach(tiny("bert"), length=length, short=short)
    assert text_length(made.settings) == whole
    for phase in {0, short}:
        body = made.body(tiny("bert"), phase)
        assert whole % body == 0
        assert body + 2 <= (phase or length)
        assert whole // body == (length // phase if phase else 1)


@pytest.mark.parametrize("objective", OWN)
def test_a_step_reads_short_rows_first_and_long_ones_last(
    objective: str, lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = OWN[objective]
    lm = lms(kind)
    own = Pretrain(objective=objective, length=64, short=16, turn=0.5, bf16=False)
    windows = Windows(files(kind), text_length(own))
    made = Teach(own, 10, word_starts(lm), np.ones(len(lm.vectors)))
    start = prompt_of(lm)
    read, sizes, plain = [], {}, lm.read

    def noted(jobs: Any) -> Any:
        read.extend(jobs)
        return plain(jobs)

    monkeypatch.setattr(lm, "read", noted)
    for step in (4, 5):
        read.clear()
        batch = Batch((windows[0], windows[3]), (0, 3), step, generator("x"))
        losses = made(start, lm, batch)
        assert losses.shape == (2,)
        assert (losses > 0).all()
        assert max(len(job.row) for job in read) <= (16 if step == 4 else 64)
        sizes[step] = len(read)
        alone = made(start, lm, Batch((windows[3],), (3,), step, generator("y")))
        same(alone[0].detach(), losses[1].detach(), "whatever piece of the batch it comes in")
    assert sizes == {4: 8, 5: 2}


def prompt_of(lm: LocalLM) -> Prompt:
    return prompt("{text}", view=One()).plus(weights=full(lm))


FAST = Optim(lr=1e-2, schedule="linear", warmup=0.05, betas=(0.9, 0.98))


def trained(
    lm: LocalLM, file: Path, objectives: Sequence[str], steps: int = 4, run: Run | None = None, **more: Any
) -> Values:
    common = {"length": 32, "bf16": False, **{key: more.pop(key) for key in list(more) if key in ("short", "bf16")}}
    own = [Pretrain(objective=one, **common) for one in objectives]
    windows = [Windows(file, text_length(one)) for one in own]
    return pretrain(lm, windows, own, **{"batch": 4, "steps": steps, "optim": FAST, "seed": 0, "run": run, **more})


@pytest.mark.parametrize("objective", OWN)
def test_training_learns(objective: str, lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]) -> None:
    kind = OWN[objective]
    lm, heard = lms(kind), []
    before = fingerprint(lm)
    held = Windows(files(kind), text_length(Pretrain(length=32)))
    held.ids = held.ids[-held.length * 8 :]
    trained(lm, files(kind), [objective], steps=100, batch=8, held=[held], every=20, run=Run(listen=heard.append))
    losses = [event.figures["dev_loss"] for event in heard if event.what == "dev"]
    first = next(event.figures["loss"] for event in heard if event.what == "tune")
    assert first > 3.5
    assert losses[-1] < 0.6 * first, losses
    assert losses[-1] < losses[0]
    assert fingerprint(lm) == before


def test_several_objectives_are_trained_together(lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]) -> None:
    lm, path = lms("seq2seq"), files("seq2seq")
    together = trained(lm, path, ["span", "prefix"], steps=2)
    assert hashed(together.tensors()) != hashed(trained(lm, path, ["span"], steps=2).tensors())


def test_the_seed_alone_fixes_the_weights(lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]) -> None:
    lm, path = lms("masked"), files("masked")
    first, again, other = (hashed(trained(lm, path, ["masked"], seed=seed).tensors()) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_half_precision_is_near(kind: Kind, lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]) -> None:
    lm, losses = lms(kind), []
    for bf16 in (False, True):
        heard: list[Event] = []
        values = trained(lm, files(kind), [kind], steps=3, bf16=bf16, run=Run(listen=heard.append))
        assert all(one.dtype == torch.float32 for one in values.tensors().values())
        losses.append(heard[-1].figures["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def after(calls: int) -> Callable[[], bool]:
    ticks: Iterator[bool] = iter([False] * calls)
    return lambda: next(ticks, True)


@pytest.mark.parametrize(("objective", "stop"), [("masked", 3), ("span", 5)])
def test_training_that_was_stopped_goes_on_to_the_same_bits(
    objective: str, stop: int, lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path], tmp_path: Path
) -> None:
    lm, path = lms(OWN[objective]), files(OWN[objective])
    whole = trained(lm, path, [objective], steps=8, short=16)
    with pytest.raises(Cancelled):
        trained(lm, path, [objective], steps=8, short=16, run=Run(tmp_path, cancelled=after(stop)))
    heard: list[Event] = []
    again = trained(lm, path, [objective], steps=8, short=16, run=Run(tmp_path, listen=heard.append))
    assert [event.done for event in heard if event.what == "tune"] == list(range(stop + 1, 9))
    assert hashed(again.tensors()) == hashed(whole.tensors())


@pytest.mark.parametrize(
    ("kind", "objective", "good"),
    [("masked", "causal", "masked"), ("causal", "span", "causal"), ("seq2seq", "masked", "span, prefix")],
)
def test_an_objective_of_another_kind_is_refused(
    kind: Kind, objective: str, good: str, lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]
) -> None:
    lm = lms(kind)
    with pytest.raises(NeedsError) as caught:
        trained(lm, files(kind), [objective])
    assert str(caught.value) == f"`{lm.name}` is {kind}; it has no objective `{objective}`\n\nhint: take {good}"


def test_rows_longer_than_the_window_are_refused(lms: Callable[[Kind], LocalLM], files: Callable[[Kind], Path]) -> None:
    lm, own = lms("masked"), Pretrain(length=65)
    with pytest.raises(SettingError) as caught:
        pretrain(lm, [Windows(files("masked"), 63)], [own], batch=2, steps=1, optim=FAST, seed=0)
    assert str(caught.value) == f"rows of 65 tokens; `{lm.name}` reads 64\n\nhint: lower `length`"


def test_an_unknown_objective_is_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(SettingError, match="there is no objective `mask`"):
            Pretrain(objective="mask")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_a_loss_says_what_it_holds() -> None:
    lm = tiny("bert")
    assert teach(lm).key() == teach(lm).key()
    assert len({teach(lm).key(), teach(lm, rate=0.2).key(), replace(teach(lm), steps=11).key()}) == 3

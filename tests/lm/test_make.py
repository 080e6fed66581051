import json
import shutil
import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from promptatlas.errors import ModelError, SettingError
from promptatlas.lm import make
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.lm import Kind
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.lm.make import new, store, tokenised, tokenizer
from promptatlas.testing.same import fingerprint, same
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps in the warm sun.",
    "A hundred and one ships sail from the harbour in the morning; the sailors sing a song of the sea.",
    "In 1987 the town had 2034 houses. Nobody counted the trees!",
    "这部电影很好看，我们都喜欢。这本书不好，太差了！",
    "She reads the letters of her brother while the kettle boils and the rain falls on the roof.",
) * 5
RECIPES = Path(__file__).parents[2] / "recipes"
TYPES, KINDS = ("wordpiece", "bytes", "characters"), ("masked", "causal", "seq2seq")
SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16, "max_position_embeddings": 64},
    "modernbert": {
        "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 16, "max_position_embeddings": 64,
        "layer_types": ["full_attention", "sliding_attention"], "local_attention": 8, "norm_bias": False,
    },
    "llama": {
        "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16, "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    },
    "gpt2": {"n_head": 2, "n_layer": 1, "n_positions": 64},
    "t5": {"num_heads": 2, "num_layers": 1, "d_ff": 16, "d_kv": 8, "feed_forward_proj": "gated-gelu",
           "tie_word_embeddings": True},
}  # fmt: skip
OF: dict[str, tuple[Kind, str, Any]] = {
    "bert": ("masked", "wordpiece", AutoModelForMaskedLM),
    "modernbert": ("masked", "characters", AutoModelForMaskedLM),
    "llama": ("causal", "bytes", AutoModelForCausalLM),
    "gpt2": ("causal", "bytes", AutoModelForCausalLM),
    "t5": ("seq2seq", "bytes", AutoModelForSeq2SeqLM),
}


@cache
def learned(type_: str, kind: Kind, *, lower: bool = False, size: int = 420) -> Any:
    return tokenizer({"type": type_, "vocabulary": size, "lower": lower, "window": 64}, kind, TEXTS)


def sized(name: str) -> dict[str, Any]:
    width = {"t5": "d_model", "gpt2": "n_embd"}.get(name, "hidden_size")
    return {"type": name, width: 16, **SETTINGS[name]}


def made(name: str, folder: Path, seed: int = 0) -> LocalLM:
    kind, type_, _ = OF[name]
    return new(sized(name), kind, learned(type_, kind), folder, seed)


def logp(lm: LocalLM, text: str = "the fox and the dog") -> torch.Tensor:
    (one,) = lm.encode([Template.parse("{text} {mask}").render({"text": text})], {})
    return lm.read([Job(one, (Vocabulary(),))])[0][0].values


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_of_every_type_for_every_kind(type_: str, kind: Kind) -> None:
    try:
        backend = learned(type_, kind)
    except SettingError:  # pieces of words need an unknown token
        assert type_ != "bytes"
        assert kind != "masked"
        return
    own = list(backend("the fox", add_special_tokens=False)["input_ids"])
    assert len(backend) <= 420
    assert backend.model_max_length == 64
    assert own
    assert not set(own) & set(backend.all_special_ids)
    assert list(backend("the 🎬", add_special_tokens=False)["input_ids"])
    assert "fox" in backend.decode(own)
    marks = {name: backend.convert_tokens_to_ids(name) for name in backend.all_special_tokens}
    assert sorted(marks.values())[: len(marks)] == list(range(len(marks)))  # they come first
    around = list(backend("the fox")["input_ids"])
    if kind == "masked":
        assert backend.pad_token_id == 0
        assert around == [marks["[CLS]"], *own, marks["[SEP]"]]
        assert list(backend("the fox", "the fox")["input_ids"]) == [*around, *own, marks["[SEP]"]]
        assert (backend.mask_token, backend.unk_token) == ("[MASK]", "[UNK]")
    if kind == "causal":
        assert (backend.pad_token, backend.bos_token, backend.eos_token) == ("<pad>", "<s>", "</s>")
        assert around == [marks["<s>"], *own]
    if kind == "seq2seq":
        assert (backend.pad_token_id, backend.eos_token_id) == (0, 1)
        assert around == [*own, 1]
        assert [backend.convert_tokens_to_ids(f"<extra_id_{at}>") for at in range(100)] == list(range(2, 102))


@pytest.mark.parametrize("type_", TYPES)
def test_the_vocabulary_is_as_large_as_it_is_told(type_: str) -> None:
    size = {"wordpiece": 150, "characters": 210, "bytes": 300}[type_]
    assert len(learned(type_, "masked", size=size)) == size


def test_many_letters_do_not_make_the_vocabulary_larger() -> None:
    text = "".join(chr(0x4E00 + at) for at in range(1000))
    backend = tokenizer({"type": "characters", "vocabulary": 200, "window": 64}, "masked", [text] * 4)
    assert len(backend) <= 200


@pytest.mark.parametrize("type_", TYPES)
def test_lower_makes_case_alike(type_: str) -> None:
    for lower in (False, True):
        backend = learned(type_, "masked", lower=lower)
        assert (backend("THE fox")["input_ids"] == backend("the FOX")["input_ids"]) is lower


def test_words_are_pieces_and_digits_and_chinese_characters_stand_alone() -> None:
    for type_ in TYPES:
        backend = learned(type_, "masked")
        pieces = backend.convert_ids_to_tokens(backend("in 1987 houses", add_special_tokens=False)["input_ids"])
        assert [one for one in pieces if one.strip("Ġ#").isdigit()] == list("1987")
    chinese = learned("characters", "masked")
    assert chinese.convert_ids_to_tokens(chinese("这本书不好")["input_ids"][1:-1]) == list("这本书不好")


@pytest.mark.parametrize("lower", [False, True])
def test_bytes_lose_nothing_but_case(lower: bool) -> None:
    backend = learned("bytes", "causal", lower=lower)
    assigned = st.characters(exclude_categories=("Cs", "Cn", "Co"))

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(st.text(assigned, max_size=20))
    @example("a  b\n\n\tc \r\n")
    @example("don't 's 12 Éé e\u0301 电影 🎬\u200b</s><s>")
    def check(text: str) -> None:
        wanted = unicodedata.normalize("NFC", text)
        wanted = "".join(one.lower() for one in wanted) if lower else wanted
        ids = backend(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert backend.decode(ids) == wanted

    check()


def test_an_unknown_type_of_tokenizer_is_refused() -> None:
    with pytest.raises(SettingError) as caught:
        tokenizer({"type": "byte", "vocabulary": 300, "window": 64}, "masked", TEXTS)
    assert str(caught.value) == "there is no tokenizer type `byte`\n\nhint: did you mean `bytes`?"


@pytest.mark.parametrize("name", OF)
def test_a_new_model_is_read_by_the_library_and_by_transformers(name: str, tmp_path: Path) -> None:
    kind, _, loader = OF[name]
    lm, again = made(name, tmp_path), load(tmp_path, "cpu")
    assert (again.kind, again.window, lm.window) == (kind, 64 if name != "t5" else again.window, again.window)
    assert again.window == 64
    assert fingerprint(lm) == fingerprint(again)
    same(logp(lm), logp(again), name)
    ids = torch.tensor([lm.tokens("the fox and the dog")])
    fed = {"decoder_input_ids": ids[:, :2]} if kind == "seq2seq" else {}
    plain = loader.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        same(plain(input_ids=ids, **fed).logits, lm.model(input_ids=ids, **fed).logits, name)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == name
    assert "promptatlas" not in (tmp_path / "config.json").read_text()
    assert config["vocab_size"] == len(lm.tokenizer.backend)
    assert plain.config.pad_token_id == lm.tokenizer.pad
    if kind == "seq2seq":
        assert plain.config.decoder_start_token_id == lm.tokenizer.pad
        assert lm.layout.fill == "sentinel"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("pocket-*.toml")), ids=lambda path: path.stem)
def test_the_models_of_the_projects_recipes_can_be_made(path: Path, tmp_path: Path) -> None:
    recipe = tomllib.loads(path.read_text("utf-8"))
    kind = {"masked": "masked", "causal": "causal"}.get(recipe["objective"][0]["objective"], "seq2seq")
    backend = tokenizer({**recipe["tokenizer"], "vocabulary": 420}, kind, TEXTS)
    lm = new(recipe["model"], kind, backend, tmp_path, 0)
    assert (lm.kind, lm.window) == (kind, recipe["tokenizer"]["window"])
    assert recipe["objective"][0]["length"] <= lm.window
    assert load(tmp_path, "cpu").window == lm.window


def test_the_seed_alone_fixes_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    prints = [fingerprint(made("bert", tmp_path / str(at), seed)) for at, seed in enumerate([1, 1, 2])]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert prints[0] == prints[1] != prints[2]


def test_a_setting_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        new({**sized("bert"), "hidden_sizes": 3}, "masked", learned("wordpiece", "masked"), tmp_path / "x", 0)
    assert caught.value.message == "`bert` has no setting `hidden_sizes`"
    assert "`hidden_size`" in str(caught.value.hint)
    assert not (tmp_path / "x").exists()


def test_an_unknown_type_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no masked model can be made of these settings: .*modernbrt"):
        new({"type": "modernbrt"}, "masked", learned("wordpiece", "masked"), tmp_path, 0)
    with pytest.raises(SettingError, match="type"):
        new({"hidden_size": 16}, "masked", learned("wordpiece", "masked"), tmp_path, 0)


@pytest.mark.parametrize(("name", "kind"), [("llama", "masked"), ("t5", "causal"), ("bert", "seq2seq")])
def test_a_type_of_another_kind_is_refused(name: str, kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"no {kind} model can be made of these settings"):
        new(sized(name), kind, learned("bytes", kind), tmp_path / "x", 0)
    assert not (tmp_path / "x").exists()


def test_a_causal_model_made_of_an_encoder_sees_nothing_ahead_or_is_refused(tmp_path: Path) -> None:
    try:
        lm = new(sized("bert"), "causal", learned("bytes", "causal"), tmp_path, 0)
    except SettingError:
        return
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 9]])
    with torch.no_grad():
        first, other = lm.model(input_ids=ids).logits
    same(first[:2], other[:2], "what stands behind a token changed what is read at it")


@pytest.mark.parametrize("name", OF)
def test_stored_weights_are_halves_and_come_back_rounded(name: str, tmp_path: Path) -> None:
    lm = made(name, tmp_path / "start")
    before = fingerprint(lm)
    values = {key: one + 0.1 * torch.randn_like(one) for key, one in lm.parameters.items()}
    store(lm, values, tmp_path / "end")
    assert fingerprint(lm) == before
    again = load(tmp_path / "end", "cpu")
    assert again.dtype == "float32"
    assert again.identity["tokenizer"] == lm.identity["tokenizer"]
    assert set(again.parameters) == set(values)
    for key, value in values.items():
        assert torch.equal(again.parameters[key], value.half().float()), key
    with safe_open(tmp_path / "end" / "model.safetensors", "pt") as file:
        kept = [file.get_slice(key) for key in file.keys()]  # noqa: SIM118 - it is no mapping
        assert {one.get_dtype() for one in kept} == {"F16"}
        assert len(kept) == len(values)  # tied ones once
    said = (tmp_path / "end" / "config.json").read_text()
    assert "promptatlas" not in said
    assert json.loads(said)["architectures"] == [type(lm.model).__name__]
    plain = OF[name][2].from_pretrained(tmp_path / "end", dtype=torch.float32).eval()
    ids = torch.tensor([lm.tokens("the fox and the dog")])
    fed = {"decoder_input_ids": ids[:, :2]} if lm.kind == "seq2seq" else {}
    with torch.no_grad():
        same(plain(input_ids=ids, **fed).logits, again.model(input_ids=ids, **fed).logits, name)


def test_a_value_too_large_for_a_half_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    lm = made("bert", tmp_path / "start")
    values = dict(lm.parameters)
    name = next(iter(values))
    values[name] = values[name] + 70_000
    with pytest.raises(ModelError) as caught:
        store(lm, values, tmp_path / "end")
    assert str(caught.value) == (f"`{name}` doesn't fit into torch.float16\n\nhint: store it as bfloat16 or float32")
    assert not (tmp_path / "end").exists()
    store(lm, values, tmp_path / "end", torch.bfloat16)
    assert torch.equal(load(tmp_path / "end", "cpu").parameters[name], values[name].bfloat16().float())


@pytest.mark.parametrize("name", names())
def test_texts_in_bulk_are_tokenised_as_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "CHUNK", 3)
    lm = tiny(name)
    texts = [*TEXTS[:5], "", "🎬 [MASK] x", "a </s> b <pad>", "<mask>it", "[SEP]", " lead", "line\nnext\n\n  two "]
    found = [tuple(one.tolist()) for one in tokenised(lm, texts)]
    assert found == [lm.tokens(text) for text in texts]
    assert not {i for ids in found for i in ids} & lm.tokenizer.marks


def test_a_mark_in_a_text_stays_letters_whatever_else_the_tokenizer_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "CHUNK", 1)
    lm = made("bert", tmp_path)
    backend = lm.tokenizer.backend
    text = "the [MASK] fox"
    wanted = lm.tokens(text)
    assert lm.mask not in wanted
    stream = tokenised(lm, [text] * 3)
    assert tuple(next(stream).tolist()) == wanted
    assert lm.mask in backend(text)["input_ids"]  # as transformers has it
    assert [tuple(one.tolist()) for one in stream] == [wanted] * 2
    assert lm.mask in backend(text)["input_ids"]


def test_texts_are_taken_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "CHUNK", 2)
    rest = iter(["a", "the cat", "b", "c"])
    stream = tokenised(tiny("bert"), rest)
    next(stream)
    assert next(rest) == "b"


@pytest.mark.parametrize("kind", ["wordpiece", "characters", "bytes"])
def test_a_tokenizer_is_learned_the_same_every_time(kind: str) -> None:
    texts = [
        f"the {a} {b} 这是{a}词 naïve 文字{b}" for a in ("cat", "dog", "bird", "ßx") for b in ("runs", "sleeps", "лето")
    ] * 3
    settings = {"type": kind, "vocabulary": 320, "lower": True, "window": 64}
    lm_kind = "causal" if kind == "bytes" else "masked"
    first, *others = [make.tokenizer(settings, lm_kind, texts).backend_tokenizer.to_str() for _ in range(5)]
    assert all(one == first for one in others)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports what torch deprecates
def test_a_compiled_model_says_the_same(tmp_path: Path) -> None:
    lm = made("llama", tmp_path)
    texts = ["the old man and the sea", "a ship"]
    before = lm.embed(texts)
    make.hasten(lm)
    assert torch.allclose(lm.embed(texts), before, atol=1e-5)

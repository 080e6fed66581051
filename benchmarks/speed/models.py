"""Language models of the usual sizes with random weights and a vocabulary of made-up words, as folders."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast

from promptatlas.lm.lm import Kind
from promptatlas.lm.load import LOADERS, quiet

TRAINED = {"good": "great", "bad": "terrible"}  # label -> its word, where something is trained
SHORT = {"one": "alpha", "two": "beta", "three": "gamma", "four": "delta"}  # labels of one token
LONG = {  # labels of three tokens, none of them shared
    "one": "north east wind", "two": "old grey town", "three": "warm red brick", "four": "small wet stone",
}  # fmt: skip
KNOWN = (".", "it", "was", *TRAINED.values(), *SHORT.values(), *(one for word in LONG.values() for one in word.split()))
SENTINELS = 100
MARKS = {
    "masked": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "causal": ("<|endoftext|>", "<unk>"),
    "seq2seq": ("<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(SENTINELS))),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        name: for people.
        kind: "masked" (BERT's architecture), "causal" (GPT-2's) or "seq2seq" (T5's).
        layers: of the body; of encoder and decoder each.
        width: of the states.
        heads: of attention.
        inner: width inside a feed-forward layer.
        columns: of the head.
        tokens: of the tokenizer; a T5 has some columns more.
        window: positions.
    """

    name: str
    kind: Kind
    layers: int
    width: int
    heads: int
    inner: int
    columns: int
    tokens: int
    window: int

    @property
    def words(self) -> int:
        """How many made-up words the vocabulary has."""
        return self.tokens - len(MARKS[self.kind]) - len(KNOWN)

    def config(self) -> Any:
        """Its configuration for transformers."""
        return AutoConfig.for_model(**_settings(self))


SHAPES = {
    "bert-base": Shape("bert-base", "masked", 12, 768, 12, 3072, 30522, 30522, 512),
    "gpt2-small": Shape("gpt2-small", "causal", 12, 768, 12, 3072, 50257, 50257, 1024),
    "t5-small": Shape("t5-small", "seq2seq", 6, 512, 8, 2048, 32128, 32100, 512),
    # for the tests
    "tiny-bert": Shape("tiny-bert", "masked", 2, 32, 4, 48, 300, 300, 512),
    "tiny-gpt2": Shape("tiny-gpt2", "causal", 2, 32, 4, 128, 300, 300, 1024),
    "tiny-t5": Shape("tiny-t5", "seq2seq", 2, 32, 4, 48, 308, 300, 512),
}


def _settings(shape: Shape) -> dict[str, Any]:
    if shape.kind == "masked":
        return {
            "model_type": "bert", "vocab_size": shape.columns, "hidden_size": shape.width, "pad_token_id": 0,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "intermediate_size": shape.inner,
            "max_position_embeddings": shape.window,
        }  # fmt: skip
    if shape.kind == "causal":
        return {
            "model_type": "gpt2", "vocab_size": shape.columns, "n_embd": shape.width, "n_layer": shape.layers,
            "n_head": shape.heads, "n_inner": shape.inner, "n_positions": shape.window, "bos_token_id": 0,
            "eos_token_id": 0,
        }  # fmt: skip
    return {
        "model_type": "t5", "vocab_size": shape.columns, "d_model": shape.width, "d_kv": shape.width // shape.heads,
        "num_layers": shape.layers, "num_heads": shape.heads, "d_ff": shape.inner, "n_positions": shape.window,
        "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
    }  # fmt: skip


def vocabulary(shape: Shape) -> list[str]:
    """All tokens in order: marks, the words that mean something here, made-up ones."""
    return [*MARKS[shape.kind], *KNOWN, *(f"w{at}" for at in range(shape.words))]


def tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    """One that takes what stands between blanks as a token."""
    ids = {token: at for at, token in enumerate(vocabulary(shape))}
    unknown = {"masked": "[UNK]"}.get(shape.kind, "<unk>")
    made = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = {"masked": ("[CLS]", "[SEP]"), "seq2seq": (None, "</s>")}.get(shape.kind)
    if around is not None:
        opening, closing = around
        single = " ".join(one for one in (opening, "$A", closing) if one)
        pair = " ".join(one for one in (opening, "$A", closing, "$B", closing) if one)
        marks = [(one, ids[one]) for one in around if one]
        made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=marks)
    sentinels = list(MARKS["seq2seq"][3:])
    kinds: dict[str, dict[str, Any]] = {
        "masked": {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
        "causal": {"pad_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        "seq2seq": {"pad_token": "<pad>", "eos_token": "</s>", "extra_special_tokens": sentinels},
    }
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made, unk_token=unknown, model_max_length=shape.window, clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"], **kinds[shape.kind],
    )  # fmt: skip


def folder(shape: Shape, cache: Path) -> Path:
    """A folder with the model, made where it isn't there yet; `words/vocab.txt` in it is for older tokenizers."""
    place = cache / "models" / shape.name
    told = json.dumps(_settings(shape), sort_keys=True)
    mark = place / "made.json"
    if mark.is_file() and mark.read_text("utf-8") == told:
        return place
    if place.is_dir():
        shutil.rmtree(place)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        LOADERS[shape.kind].from_config(shape.config()).save_pretrained(place)
    tokenizer(shape).save_pretrained(place)
    (place / "words").mkdir()
    (place / "words" / "vocab.txt").write_text("\n".join(vocabulary(shape)) + "\n", "utf-8")
    mark.write_text(told, "utf-8")
    return place


def plain(shape: Shape, place: Path) -> Any:
    """The model as transformers alone loads it."""
    with quiet():
        return LOADERS[shape.kind].from_pretrained(place, dtype=torch.float32)

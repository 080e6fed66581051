"""A new language model's folder: a tokenizer learned from text, a configuration, weights; and trained weights stored.

Standard architectures of transformers and tokenizers of `tokenizers` only, so that a folder loads anywhere.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, PreTrainedTokenizerFast
from transformers.masking_utils import sdpa_mask

from promptatlas.errors import ModelError, SettingError, near
from promptatlas.lm import byhand
from promptatlas.lm.lm import Kind
from promptatlas.lm.load import FILL, LOADERS, quiet, wrap
from promptatlas.lm.local import LocalLM
from promptatlas.lm.ways import NAMES, Found, Ways

CHUNK = 1000  # documents that are tokenised at once
PLAIN = "promptatlas-plain"  # the name of attention that no door leads to
SENTINELS = 100  # T5's number of them (Raffel et al. 2020, sec. 3.1.4)


def tokenizer(settings: Mapping[str, Any], kind: Kind, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer learned from texts.

    Args:
        settings: `type`: "wordpiece", "bytes" (byte-level BPE, loses nothing but case) or "characters" (every Chinese
            character a token, other words in pieces); `vocabulary`: its size, marks included; `lower`; `window`.
        kind: of the model: its marks.
        texts: to learn from.

    Raises:
        SettingError: there is no such type.
    """
    makers = {"wordpiece": _wordpiece, "characters": _characters, "bytes": _bytes}
    known = str(settings.get("type"))
    if known not in makers:
        raise SettingError(f"there is no tokenizer type `{known}`", hint=near(known, makers))
    marks = {"masked": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "causal": ["<pad>", "<s>", "</s>"]}
    own = marks.get(kind, ["<pad>", "</s>", *(f"<extra_id_{i}>" for i in range(SENTINELS))])
    if kind != "masked" and known != "bytes":
        raise SettingError(f"a {kind} model can't have a tokenizer of the type `{known}`", hint="take `bytes`")
    made = makers[known](int(settings["vocabulary"]), bool(settings.get("lower", False)), own, texts)
    return _finished(made, kind, own, int(settings["window"]))


def _finished(made: Tokenizer, kind: Kind, marks: list[str], window: int) -> PreTrainedTokenizerFast:
    ids = {mark: made.token_to_id(mark) for mark in marks}
    if kind == "masked":
        around = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")],
        )
        roles = {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }
    elif kind == "causal":
        around = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", ids["<s>"])])
        roles = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    else:
        around = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", ids["</s>"])]
        )
        roles = {"pad_token": "<pad>", "eos_token": "</s>"}
        roles |= {"extra_special_tokens": marks[2:]}  # type: ignore[dict-item]
    made.post_processor = around
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made,
        model_max_length=window,
        model_input_names=names,
        clean_up_tokenization_spaces=False,
        **roles,
    )


def _wordpiece(size: int, lower: bool, marks: list[str], texts: Iterable[str], *, chinese: bool = False) -> Tokenizer:
    made = _pieces(models.WordPiece(), lower, chinese)
    texts = list(texts)
    kept = _alphabet(made.normalizer, texts, size * 3 // 4 if chinese else 400)
    # the trainer numbers an alphabet of its own finding at random: it is given ours, with what goes on inside a word
    inner = [f"##{one}" for one in kept if _inside(one, chinese)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*marks, *inner], initial_alphabet=kept, limit_alphabet=len(kept),
        min_frequency=3, show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    vocabulary = made.get_vocab()
    again = _pieces(models.WordPiece(vocabulary, unk_token=marks[1], max_input_chars_per_word=64), lower, chinese)
    again.add_special_tokens(marks)  # they alone are marks
    return again


def _pieces(model: models.WordPiece, lower: bool, chinese: bool) -> Tokenizer:
    made = Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=lower, handle_chinese_chars=chinese)
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), digits])
    made.decoder = decoders.WordPiece(cleanup=True)
    return made


def _alphabet(normalizer: Any, texts: Iterable[str], most: int) -> list[str]:
    """The most frequent characters, in an order that they alone fix."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update("".join(normalizer.normalize_str(text).split()))
    return sorted(sorted(counts, key=lambda one: (-counts[one], one))[:most])


def _inside(one: str, chinese: bool) -> bool:
    """Whether a character may stand inside a word: not digits, punctuation, and ideographs that are split off."""
    ideograph = chinese and "IDEOGRAPH" in unicodedata.name(one, "")
    punctuation = unicodedata.category(one).startswith("P") or (one.isascii() and not one.isalnum())
    return not (ideograph or punctuation or one.isnumeric())


def _characters(size: int, lower: bool, marks: list[str], texts: Iterable[str]) -> Tokenizer:
    return _wordpiece(size, lower, marks, texts, chinese=True)


def _bytes(size: int, lower: bool, marks: list[str], texts: Iterable[str]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    steps: list[Any] = [normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=marks, initial_alphabet=alphabet, min_frequency=3, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def new(settings: Mapping[str, Any], kind: Kind, backend: PreTrainedTokenizerFast, folder: Path, seed: int) -> LocalLM:
    """A model with random weights and its tokenizer, in a folder.

    Args:
        settings: `type`, such as "modernbert", "llama" or "t5", and any of the configuration's own settings.
        kind: "masked", "causal" or "seq2seq".
        backend: its tokenizer; vocabulary size and marks go into the configuration.
        folder: where.
        seed: of the weights.

    Raises:
        SettingError: an unknown type, a setting it doesn't have, or a type that is no model of this kind.
    """
    own = {key: value for key, value in settings.items() if key != "type"}
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    marks = {name: getattr(backend, name.removesuffix("_id") + "_id") for name in names}
    if kind == "masked":
        marks |= {"bos_token_id": backend.cls_token_id, "eos_token_id": backend.sep_token_id}
    if kind == "seq2seq":
        marks |= {"decoder_start_token_id": backend.pad_token_id}
    marks = {name: value for name, value in marks.items() if value is not None}
    try:
        config = AutoConfig.for_model(str(settings["type"]), vocab_size=len(backend), **marks, **own)
        if kind == "causal" and hasattr(config, "is_decoder"):  # an encoder's: without it every token sees all others
            config.is_decoder = True
        unknown = sorted(key for key in own if key not in type(config)().to_dict())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LOADERS[kind].from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"no {kind} model can be made of these settings: {error}", hint="see transformers' configurations"
        ) from error
    if unknown:
        raise SettingError(
            f"`{settings['type']}` has no setting `{unknown[0]}`", hint=near(unknown[0], type(config)().to_dict())
        )
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    backend.save_pretrained(folder)
    return wrap(model, backend, name=str(folder), kind=kind)


def store(
    lm: LocalLM, values: Mapping[str, Tensor], folder: Path, dtype: torch.dtype = torch.float16, *, direct: bool = False
) -> None:
    """A model's folder with other weights, in half precision.

    Args:
        lm: the model.
        values: every parameter by name.
        folder: where.
        dtype: of the file.
        direct: whether a seq2seq model was taught to answer without sentinels (LM adaptation).

    Raises:
        ModelError: a weight is too large for the dtype.
    """
    for name, value in values.items():
        if not value.to(dtype).isfinite().all():
            raise ModelError(f"`{name}` doesn't fit into {dtype}", hint="store it as bfloat16 or float32")
    config = deepcopy(lm.model.config)
    config._attn_implementation = "sdpa"
    if direct:
        setattr(config, FILL, "direct")
    fresh = type(lm.model)(config).to(dtype)  # without the library's doors
    with torch.no_grad():
        for name, one in fresh.named_parameters():
            one.copy_(values[name])
    with quiet():
        fresh.save_pretrained(folder)
    lm.tokenizer.backend.save_pretrained(folder)


def hasten(lm: LocalLM) -> None:
    """Compile the model's layers, for many passes alike: from then on nothing of a pass's own goes into its attention.

    So it is read in the plain way alone, rows padded, and takes no prefix.

    Raises:
        ModelError: torch can't compile here (it needs a C++ compiler on a CPU).
    """
    _ = lm.attention, lm.bare  # found by a pass of their own, through the doors
    lm.fast = Found(Ways(), dict.fromkeys(NAMES, "its layers are compiled"))
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)  # a layer each, and a length
    AttentionInterface.register(PLAIN, byhand.attention)
    AttentionMaskInterface.register(PLAIN, sdpa_mask)
    try:
        lm.model.set_attn_implementation(PLAIN)
        for layers in _stacks(lm.model.base_model):
            for layer in layers:
                layer.compile()
        with torch.no_grad(), quiet():
            lm.embed(["a"])
    except Exception as error:  # torch raises many kinds
        raise ModelError(f"`{lm.name}` can't be compiled: {error}", hint="leave `compile` out of the recipe") from error


def _stacks(module: nn.Module) -> Iterator[nn.ModuleList]:
    """The outermost lists of layers."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _stacks(child)


def tokenised(lm: LocalLM, texts: Iterable[str]) -> Iterator[np.ndarray]:
    """Each text's token ids, without marks; in bulk."""
    fast = cast(Tokenizer, lm.tokenizer.backend.backend_tokenizer)
    rest = iter(texts)
    marks = np.array(sorted(lm.tokenizer.marks))
    while chunk := list(islice(rest, CHUNK)):
        fast.encode_special_tokens = True  # a `[MASK]` in the text is the letters it is
        try:
            found = fast.encode_batch_fast(chunk, add_special_tokens=False)
        finally:  # others use the tokenizer between two chunks
            fast.encode_special_tokens = False
        for text, one in zip(chunk, found, strict=True):
            ids = np.asarray(one.ids, dtype=np.int64)
            # a vocabulary that holds marks as words of its own (T5's `</s>`): one by one
            yield np.asarray(lm.tokens(text), dtype=np.int64) if np.isin(ids, marks).any() else ids

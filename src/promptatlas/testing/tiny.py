"""Tiny random language models and tokenizers, one a family, made on the spot: no download, no network."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import transformers as hf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import Kind
from promptatlas.lm.load import wrap
from promptatlas.lm.local import LocalLM

TEXTS = (
    "It was great . It was terrible ! A good movie , a bad film ; the best and the worst of them all .",
    "positive negative yes no maybe true false world sports business science news great good bad awful fine dull",
    "The cat sat on the mat while a dog ran over the hill and the rain fell upon the old grey town .",
    "Review : Sentiment : Question : Answer : Topic : this is about that ? N/A [MASK] unbelievable unfortunate",
    "电影很好看。这本书不好，太差了！服务很棒，房间很脏。",
)
SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """The families there are, of one kind or all."""
    return tuple(name for name, (its, _, _) in FAMILIES.items() if kind in (None, its))


@cache
def tiny(name: str, *, left: bool = False, seed: int = 0, scale: float = 1.0) -> LocalLM:
    """A random model of the family `name`, 2 layers × 32, the same for the same seed.

    Args:
        name: one of `names()`.
        left: pad on the left (causal models).
        seed: of its weights.
        scale: what its matrices are multiplied by. As they are, a row's words hardly hear each other; at 6 what is read
            at the slot depends on the text, and parts of the frozen model can learn from it.

    Raises:
        SettingError: no such family.
    """
    if name not in FAMILIES:
        raise SettingError(f"there is no tiny model of the family `{name}`", hint=near(name, FAMILIES))
    kind, tokenizer, make = FAMILIES[name]
    backend = tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(len(backend), backend)
        for parameter in model.parameters():  # random biases and norms too, so that nothing is neutral by chance
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
            parameter.data.mul_(scale if parameter.dim() == 2 else 1.0)
    return wrap(model, backend, name=f"tiny-{name}", kind=kind, left=left)


def wordpiece() -> Any:
    """BERT's kind: lower-cased words, pieces with `##`."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    taught = _words(models.WordPiece(unk_token="[UNK]"))
    letters = sorted({one for text in TEXTS for one in "".join(taught.normalizer.normalize_str(text).split())})
    # the trainer numbers an alphabet of its own finding at random: it is given ours, with what goes on inside a word
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=[*marks, *(f"##{one}" for one in letters)], initial_alphabet=letters,
        limit_alphabet=len(letters), show_progress=False,
    )  # fmt: skip
    taught.train_from_iterator(TEXTS, trainer)
    core = _words(models.WordPiece(taught.get_vocab(), unk_token="[UNK]"))
    core.add_special_tokens(marks)  # they alone are marks
    ids = {mark: core.token_to_id(mark) for mark in marks}
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return hf.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _words(model: models.WordPiece) -> Any:
    core = Tokenizer(model)
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return core


def byte_level(start: str | None, end: str | None, *, mask: bool = False) -> Any:
    """GPT-2's and RoBERTa's kind: bytes, the blank belonging to the word."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    marks = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        AddedToken("<mask>", lstrip=True),
    ]  # its blank is the mask's, as RoBERTa's
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    )
    _surround(core, start, end)
    more = {"mask_token": "<mask>"} if mask else {}
    return hf.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        sep_token="</s>",
        **more,
    )


def sentences(start: str | None, end: str | None, *, mask: str | None = None, marks: tuple[str, ...] = ()) -> Any:
    """T5's, ALBERT's and Llama's kind: pieces that begin with `▁`."""
    special = ["<pad>", "</s>", "<s>", "<unk>", *([mask] if mask else []), *marks]
    words = sorted({f"▁{word}" for text in TEXTS for word in text.split()})
    letters = sorted(
        {"▁", *(letter for text in TEXTS for letter in text if letter != " "), *"abcdefghijklmnopqrstuvwxyz"}
    )
    vocab = {**dict.fromkeys(special, 0.0), **dict.fromkeys(words, -4.0), **dict.fromkeys(letters, -8.0)}
    core = Tokenizer(models.Unigram(list(vocab.items()), unk_id=3))
    core.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    core.add_special_tokens([AddedToken(one, lstrip=one == mask) for one in special])
    _surround(core, start, end)
    more = {"mask_token": mask} if mask else {}
    return hf.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        sep_token="</s>", extra_special_tokens=list(marks), **more,
    )  # fmt: skip


def _surround(core: Any, start: str | None, end: str | None) -> None:
    if not start and not end:
        return
    around = [one for one in (start, "$A", end) if one]
    two = [one for one in (start, "$A", end, "$B", end) if one]
    ids = [(mark, core.token_to_id(mark)) for mark in dict.fromkeys((start, end)) if mark]
    core.post_processor = processors.TemplateProcessing(single=" ".join(around), pair=" ".join(two), special_tokens=ids)


def _config(cls: Any, vocab: int, backend: Any, **settings: Any) -> Any:
    marks = {
        "pad_token_id": backend.pad_token_id,
        "bos_token_id": backend.bos_token_id,
        "eos_token_id": backend.eos_token_id,
    }
    return cls(vocab_size=vocab, **(marks | settings))


def _maker(config: str, model: str, **settings: Any) -> Callable[[int, Any], Any]:
    def make(vocab: int, backend: Any) -> Any:
        return getattr(hf, model)(_config(getattr(hf, config), vocab, backend, **settings))

    return make


_LONG: dict[str, Any] = {"max_position_embeddings": 160}
_GROUPED: dict[str, Any] = {**SIZE, **_LONG, "num_key_value_heads": 2}
_BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "decoder_start_token_id": 2,
}  # fmt: skip
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "n_positions": 160,
    "decoder_start_token_id": 0,
}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 160}
_OPT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32}
_MODERN = {
    **SIZE,
    **_LONG,
    "layer_types": ["full_attention", "sliding_attention"],
    "local_attention": 16,
    "cls_token_id": 2,
    "sep_token_id": 3,
}

FAMILIES: Mapping[str, tuple[Kind, Callable[[], Any], Callable[[int, Any], Any]]] = {
    "bert": ("masked", wordpiece, _maker("BertConfig", "BertForMaskedLM", **SIZE, **_LONG)),
    "roberta": (
        "masked", lambda: byte_level("<s>", "</s>", mask=True),
        _maker("RobertaConfig", "RobertaForMaskedLM", **SIZE, max_position_embeddings=162),
    ),
    "albert": (
        "masked", lambda: sentences("<s>", "</s>", mask="<mask>"),
        _maker("AlbertConfig", "AlbertForMaskedLM", **SIZE, **_LONG, embedding_size=16),
    ),
    "deberta-v2": (
        "masked", lambda: sentences("<s>", "</s>", mask="<mask>"),
        _maker(
            "DebertaV2Config", "DebertaV2ForMaskedLM", **SIZE, **_LONG, relative_attention=True,
            pos_att_type=["p2c", "c2p"], position_biased_input=False, norm_rel_ebd="layer_norm",
            share_att_key=True, position_buckets=8,
        ),
    ),
    "modernbert": ("masked", wordpiece, _maker("ModernBertConfig", "ModernBertForMaskedLM", **_MODERN)),
    "gpt2": ("causal", lambda: byte_level(None, None), _maker("GPT2Config", "GPT2LMHeadModel", **_GPT2)),
    "llama": ("causal", lambda: sentences("<s>", None), _maker("LlamaConfig", "LlamaForCausalLM", **_GROUPED)),
    "qwen2": ("causal", lambda: byte_level(None, None), _maker("Qwen2Config", "Qwen2ForCausalLM", **_GROUPED)),
    "opt": ("causal", lambda: byte_level("</s>", None), _maker("OPTConfig", "OPTForCausalLM", **_OPT, **_LONG)),
    "t5": (
        "seq2seq", lambda: sentences(None, "</s>", marks=("<extra_id_0>", "<extra_id_1>")),
        _maker("T5Config", "T5ForConditionalGeneration", **_T5),
    ),
    "bart": (
        "seq2seq", lambda: byte_level("<s>", "</s>", mask=True),
        _maker("BartConfig", "BartForConditionalGeneration", **_BART, **_LONG, forced_eos_token_id=None),
    ),
}  # fmt: skip

"""Parts that can't be: each is told once, before any work, with what would do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from tests.cli.small import saved_model

from promptatlas.artifact.load import load as open_prompt
from promptatlas.artifact.save import save
from promptatlas.errors import (
    ArtifactError,
    CannotAttach,
    LoadError,
    NeedsError,
    PromptAtlasError,
    SettingError,
    TooLong,
)
from promptatlas.lm.load import load, wrap
from promptatlas.lm.local import LocalLM
from promptatlas.parts.adapters import adapters
from promptatlas.parts.head import head, random_rows
from promptatlas.parts.prefix import normal
from promptatlas.parts.reparam import encoded, mlp_prefix
from promptatlas.parts.scale import scale
from promptatlas.parts.vectors import vocabulary
from promptatlas.parts.weights import LoRA, biases, lora
from promptatlas.prompting import Prompt
from promptatlas.registry import method
from promptatlas.score.soft import Classifier, LabelVectors
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK, BERT = toy(), tiny("bert")


def told(error: type[PromptAtlasError], work: Any) -> str:
    """The whole of what is said."""
    with pytest.raises(error) as caught:
        work()
    return str(caught.value)


# a family without a way in


@pytest.mark.parametrize("name", ["prefix_tuning", "p_tuning_v2"])
def test_a_prefix_for_a_family_without_a_way_in(name: str) -> None:
    lm = tiny("deberta-v2")
    assert told(NeedsError, lambda: method(name).fit(lm, TASK, toy_prompt())) == (
        f"`{name}` needs a model that can do `prefix`, and `tiny-deberta-v2` can't\n\n"
        "hint: these do without: `prompt_tuning`"
    )
    method("prompt_tuning", length=2, steps=1).fit(lm, TASK, toy_prompt())  # which does
    made = toy_prompt().plus(prefix=normal(BERT, 2, seed=0))
    assert told(CannotAttach, lambda: made.score(lm, TASK.test[:1])) == (
        "a prefix can't be put before the attention of deberta-v2: its disentangled attention has no place for extra "
        "keys and values\n\nhint: use vectors at the input (`prompt_tuning`), or another family of model"
    )


# names of projections


def test_lora_where_nothing_is_called_so() -> None:
    fit = lambda *places: lambda: method("lora", places=places).fit(BERT, TASK, toy_prompt())  # noqa: E731
    assert told(CannotAttach, fit("qery", "value")) == "there is no place called `qery`\n\nhint: did you mean `query`?"
    assert told(SettingError, fit()) == 'no projection is named\n\nhint: `places=("query", "value")`'
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = hf.GPTNeoXConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
                                  vocab_size=600, max_position_embeddings=160)  # fmt: skip
        model = hf.GPTNeoXForCausalLM(config)
    lm = wrap(model, tiny("llama").tokenizer.backend, name="neox", kind="causal")
    assert told(CannotAttach, lambda: lora(lm, places=("query",))) == (
        "this model has no projection known as `query`\n\nhint: it has `attention.out`"
    )


# lengths


@pytest.mark.parametrize("name", ["prompt_tuning", "prefix_tuning"])
def test_a_length_that_leaves_no_room_for_text(name: str) -> None:
    what = {"prompt_tuning": "160 vectors leave", "prefix_tuning": "a prefix of 160 leaves"}[name]
    assert told(SettingError, lambda: method(name, length=160).fit(BERT, TASK, toy_prompt())) == (
        f"{what} no room for text in a window of 160\n\nhint: use a length from 0 to 159"
    )
    message = told(TooLong, lambda: method(name, length=159, steps=1).fit(BERT, TASK, toy_prompt()))
    assert message.startswith("a row needs ")
    assert "`length`" in message.partition("\n\nhint: ")[2]


# a name that is taken, a place that is taken


TAKEN = {
    "lora": "lora", "adapters": "adapters", "ia3": "ia3", "bitfit": "norms", "prefix_tuning": "prefix",
    "p_tuning_v2": "prefix", "diff_pruning": "diff", "pattern_tuning": "weights", "child_tuning": "weights",
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_a_part_of_another_kind_under_the_name_of_a_method_s_own(name: str) -> None:
    part = TAKEN[name]
    prompt = toy_prompt().lead(**{part: vocabulary(BERT, 2, seed=0)})
    assert told(NeedsError, lambda: method(name).fit(BERT, TASK, prompt)) == (
        f"`{name}` trains a part `{part}`, and this prompt has one of another kind, `vectors`\n\n"
        "hint: give that part another name, or start from a prompt without it"
    )


def test_a_soft_prompt_under_whose_name_there_is_a_prefix() -> None:
    prompt = toy_prompt().plus(soft=normal(BERT, 2, seed=0))
    assert told(NeedsError, lambda: method("prompt_tuning").fit(BERT, TASK, prompt)) == (
        "`prompt_tuning` trains a part `soft`, and this prompt has one of another kind, `prefix`\n\n"
        "hint: give that part another name, or start from a prompt without it"
    )


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            lambda: adapters(BERT, width=2, seed=0),
            "part `b` and another part both act on `bert.encoder.layer.0.attention.output.dense`\n\n"
            "hint: keep one of them",
        ),
        (
            lambda: lora(BERT),
            "part `b` and another part both replace `bert.encoder.layer.0.attention.self.query.weight`\n\n"
            "hint: keep one of them",
        ),
        (
            lambda: normal(BERT, 2, seed=0),
            "a row can have one prefix, and these parts are all prefixes: a, b\n\nhint: join them into one",
        ),
    ],
)
def test_two_of_a_kind_in_one_place(part: Any, message: str) -> None:
    both = toy_prompt().plus(a=part(), b=part())
    assert told(CannotAttach, lambda: both.score(BERT, TASK.test[:1])) == message


def test_a_model_that_holds_an_adapter_already(tmp_path: Path) -> None:
    """transformers would mix it in without a word, where peft is installed."""
    beside, alone = saved_model("gpt2", tmp_path / "model"), tmp_path / "alone"
    alone.mkdir()
    for folder in (beside, alone):
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    assert told(LoadError, lambda: load(beside)) == (
        f"`{beside}` holds a PEFT adapter beside its model, and what is learned here is for the model alone\n\n"
        "hint: give the model without `adapter_config.json`; the adapter is taken over by `promptatlas import`"
    )
    assert told(LoadError, lambda: load(alone)) == (
        f"`{alone}` is a PEFT adapter and no language model\n\n"
        f"hint: give the model it was made for, and take it over: promptatlas import {alone} --lm MODEL --out DIR"
    )


# another width


@pytest.fixture(scope="module")
def narrow() -> LocalLM:
    """BERT, half as wide."""
    backend = BERT.tokenizer.backend
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = hf.BertConfig(vocab_size=len(backend), hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
                               intermediate_size=48, max_position_embeddings=160)  # fmt: skip
        model = hf.BertForMaskedLM(config)
    return wrap(model, backend, name="narrow", kind="masked")


def classified(**part: Any) -> Prompt:
    return replace(toy_prompt().plus(**part), words=Classifier(labels=("a", "b"), pool="last"))


QUERY = "bert.encoder.layer.0.attention.self.query.weight"
WIDTHS = {
    "vectors": (
        lambda: toy_prompt().lead(soft=vocabulary(BERT, 3, seed=0)),
        "vectors of shape (3, 32) don't fit narrow, whose are 16 wide\n\nhint: they were learned on another model",
    ),
    "encoded": (
        lambda: toy_prompt().lead(**encoded(BERT, "mlp", {"soft": 3}, seed=0)),
        "vectors 32 wide don't fit narrow, whose are 16 wide\n\nhint: they were learned on another model",
    ),
    "prefix": (
        lambda: toy_prompt().plus(prefix=normal(BERT, 3, seed=0)),
        "a prefix of (heads, dim) ((4, 8), (4, 8)) by layer doesn't fit narrow, whose `self` attention has "
        "((4, 4), (4, 4))\n\nhint: it was made for another model",
    ),
    "reparametrised": (
        lambda: toy_prompt().plus(prefix=mlp_prefix(BERT, 3, mid=4, seed=0)),
        "a prefix of (heads, dim) ((4, 8), (4, 8)) by layer doesn't fit narrow, whose `self` attention has "
        "((4, 4), (4, 4))\n\nhint: it was made for another model",
    ),
    "lora": (
        lambda: toy_prompt().plus(lora=lora(BERT)),
        f"a difference for `{QUERY}` is 32 × 32, and narrow has it 16 × 16\n\nhint: they belong to another model",
    ),
    "scale": (
        lambda: toy_prompt().plus(ia3=scale(BERT)),
        "factors for 6 projections don't fit the 6 of narrow\n\nhint: they were learned on another model",
    ),
    "adapters": (
        lambda: toy_prompt().plus(adapters=adapters(BERT, width=2, seed=0)),
        "an adapter of states 32 wide stands at a place 16 wide\n\nhint: it was trained on another model",
    ),
    "values": (
        lambda: toy_prompt().plus(biases=biases(BERT)),
        "`bert.embeddings.LayerNorm.bias` is (32,) here and (16,) in narrow\n\n"
        "hint: these weights were trained on another model",
    ),
    "head": (
        lambda: classified(head=head(BERT, 2, seed=0)),
        "a head of states 32 wide was given states 16 wide\n\nhint: it was learned on another model",
    ),
    "label_vectors": (
        lambda: replace(
            toy_prompt().plus(label_vectors=random_rows(BERT, 2, seed=0)), words=LabelVectors(labels=("a", "b"))
        ),
        "label vectors 32 wide don't fit narrow, whose outputs are 16 wide\n\nhint: they were learned on another model",
    ),
}


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_part_of_another_width(kind: str, narrow: LocalLM, tmp_path: Path) -> None:
    made, message = WIDTHS[kind]
    prompt = made()
    assert kind in [part.kind for part in prompt.parts.values()]
    prompt.score(BERT, TASK.test[:1])
    kept = open_prompt(save(prompt, tmp_path / "kept"))
    assert told(CannotAttach, lambda: kept.score(narrow, TASK.test[:1])) == message


def test_a_prompt_that_knows_its_model_is_refused_by_name(narrow: LocalLM, tmp_path: Path) -> None:
    tuned = method("lora", steps=1).fit(BERT, TASK, toy_prompt())
    kept = open_prompt(save(tuned, tmp_path / "kept"))
    mine, theirs = BERT.identity["weights"], narrow.identity["weights"]
    wanted = (
        f"this prompt was learned on `tiny-bert`, and `narrow` has other weights: {theirs}, not {mine}\n\n"
        "hint: load `tiny-bert`, or fit the prompt again on `narrow`"
    )
    for work in (lambda: kept.predict(narrow, ["a"]), lambda: method("lora").fit(narrow, TASK, kept)):
        assert told(ArtifactError, work) == wanted


def test_a_difference_that_fits_by_its_number_alone() -> None:
    part = lora(BERT, rank=2)
    wrong = LoRA(part.where, 1.0, [torch.ones(2, 32)] * 4, [torch.ones(31, 2)] * 4)
    assert told(CannotAttach, lambda: toy_prompt().plus(lora=wrong).score(BERT, TASK.test[:1])) == (
        f"a difference for `{QUERY}` is 31 × 32, and tiny-bert has it 32 × 32\n\nhint: they belong to another model"
    )

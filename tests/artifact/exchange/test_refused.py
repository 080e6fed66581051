"""What can't be exported, and checkpoints that can't be taken over: each says what, and what would do."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from promptatlas.artifact.exchange.peft import SIDE, export, read
from promptatlas.data.example import Example
from promptatlas.errors import ArtifactError
from promptatlas.methods.p_tuning_v2 import PTuningV2
from promptatlas.parts.prefix import normal
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import biases, lora
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

LM = tiny("gpt2")


def soft(length: int = 3) -> Prompt:
    return toy_prompt().lead(soft=Vectors(torch.ones(length, 32)))


def placed(template: str) -> Prompt:
    prompt = soft()
    return replace(prompt, template=prompt.template.parse(template))


def refused(prompt: Prompt | Ensemble, folder: Path, lm: Any = LM) -> str:
    with pytest.raises(ArtifactError) as caught:
        export(prompt, lm, folder / "out")
    assert not (folder / "out").exists()
    return str(caught.value)


def test_an_ensemble_and_several_parts(tmp_path: Path) -> None:
    assert refused(Ensemble(prompts=(soft(), soft())), tmp_path) == (
        "PEFT can't express an ensemble: an adapter is one, and here 2 answer\n\n"
        "hint: export each of its prompts on its own"
    )
    assert refused(soft().plus(deep=normal(LM, 2, seed=0)), tmp_path) == (
        "PEFT can't express this prompt: an adapter is one thing that was learned, and there are `soft` (vectors), "
        "`deep` (prefix)\n\nhint: fit a prompt that learns one of them"
    )
    assert "nothing was learned" in refused(toy_prompt(), tmp_path)


@pytest.mark.parametrize(
    "template", ["{text} {@soft} {mask}", "{start}{@soft}{text} {mask}", "{@soft}{text}{@soft} {mask}"]
)
def test_vectors_that_don_t_lead_the_template(template: str, tmp_path: Path) -> None:
    assert refused(placed(template), tmp_path) == (
        f"PEFT can't express this prompt: its vectors stand inside the text, `{template}`, and PEFT puts them in front "
        "of it\n\nhint: fit with a template that begins with {@soft}"
    )


def test_tokens_values_and_no_vectors(tmp_path: Path) -> None:
    assert "is real tokens" in refused(toy_prompt().lead(found=Tokens((5, 6))), tmp_path)
    bert = tiny("bert")
    assert "no adapter like the part `bias` (values)" in refused(toy_prompt().plus(bias=biases(bert)), tmp_path, bert)
    assert "has no vectors" in refused(soft(0), tmp_path)


def test_prefixes_of_an_encoder_and_those_that_leave_positions(tmp_path: Path) -> None:
    t5 = tiny("t5")
    assert refused(toy_prompt().plus(prefix=normal(t5, 2, seed=0)), tmp_path, t5) == (
        "PEFT can't express this prefix: it has one of its own for `cross`, `decoder`, `encoder` attention, and PEFT "
        "puts one before the decoder's self-attention alone\n\n"
        "hint: learn a prefix of `decoder` alone, or vectors at the input (`prompt_tuning`)"
    )
    assert refused(toy_prompt().plus(prefix=normal(LM, 2, seed=0)), tmp_path) == (
        "PEFT can't express this prefix: it leaves text at its own positions, and PEFT moves text behind a prefix\n\n"
        "hint: learn one that does: `promptatlas fit p_tuning_v2 --set positions=shifted --set answer=words`"
    )
    modern = tiny("modernbert")
    assert "models like `tiny-modernbert` take none" in refused(
        toy_prompt().plus(prefix=normal(modern, 2, seed=0, positions="shifted")), tmp_path, modern
    )
    assert "length 0" in refused(toy_prompt().plus(prefix=normal(LM, 0, seed=0, positions="shifted")), tmp_path)


def test_segments_that_peft_leaves_out(tmp_path: Path) -> None:
    bert = tiny("bert")
    pair = placed("{@soft}{text}{sep}so {mask}")
    assert "has a second segment behind {sep}" in refused(pair, tmp_path, bert)
    export(pair, tiny("modernbert"), tmp_path / "fine")  # which knows no segments
    export(
        replace(pair, parts={"lora": lora(bert)}, template=pair.template.parse("{text}{sep}so {mask}")),
        bert,
        tmp_path / "lora",
    )


def test_the_hint_does_what_it_says(tmp_path: Path) -> None:
    tuned = PTuningV2(length=2, steps=1, positions="shifted", answer="words").fit(LM, toy(), toy_prompt())
    assert read(export(tuned, LM, tmp_path / "out"), LM) == tuned


def test_a_prompt_of_another_model(tmp_path: Path) -> None:
    tuned = PTuningV2(length=2, steps=1, positions="shifted", answer="words").fit(LM, toy(), toy_prompt())
    assert "learned on `tiny-gpt2`" in refused(tuned, tmp_path, tiny("qwen2"))
    folder = export(tuned, LM, tmp_path / "fine")
    with pytest.raises(ArtifactError, match="learned on `tiny-gpt2`"):
        read(folder, tiny("gpt2", seed=1))


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="holds other things and is left as it is: `letter"):
        export(soft(), LM, tmp_path)
    export(soft(), LM, tmp_path / "out")
    export(soft(4), LM, tmp_path / "out")  # in place of the other
    assert read(tmp_path / "out", LM) == soft(4)


PROMPT = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}
EMBEDDED = {"prompt_embeddings": torch.ones(2, 32)}
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}


def adapter(folder: Path, config: Mapping[str, Any] | str, tensors: Mapping[str, torch.Tensor] | None) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(text)
    if tensors is not None:
        save_file(dict(tensors), folder / "adapter_model.safetensors")
    return folder


def pair(name: str, inputs: int = 32, outputs: int = 96, rank: int = 2) -> dict[str, torch.Tensor]:
    return {f"base_model.model.{name}.lora_A.weight": torch.ones(rank, inputs),
            f"base_model.model.{name}.lora_B.weight": torch.ones(outputs, rank)}  # fmt: skip


C_ATTN = "transformer.h.0.attn.c_attn"


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ("{", EMBEDDED, "is not whole"),
        ("[" * 100_000, EMBEDDED, "is not whole"),
        ("[]", EMBEDDED, "no `peft_type`"),
        ({"peft_type": 3}, EMBEDDED, "no `peft_type`"),
        ({"peft_type": "IA3"}, EMBEDDED, "a PEFT adapter of the type `IA3` can't be taken over"),
        (PROMPT, None, "has no `adapter_model.safetensors`"),
        (PROMPT, {"other": torch.ones(2, 32)}, "has no `prompt_embeddings`"),
        (PROMPT, {"prompt_embeddings": torch.ones(2)}, "has the shape [2], not [vectors, width]"),
        (PROMPT, {"prompt_embeddings": torch.full((2, 32), torch.nan)}, "isn't all finite numbers"),
        (PROMPT, EMBEDDED | {"base_model.score.weight": torch.ones(2, 32)}, "beside its prompt: `base_model.score.w"),
        ({**PROMPT, "num_virtual_tokens": 4}, EMBEDDED, "has 2 rows, where 4 vectors are said to be"),
        ({**PROMPT, "num_virtual_tokens": "2"}, EMBEDDED, "`num_virtual_tokens` in `adapter_config.json` is '2'"),
        ({**PROMPT, "num_virtual_tokens": -1}, EMBEDDED, "is -1, not a number from 1 up"),
        (LORA, {}, "holds no differences"),
        (LORA, {f"{C_ATTN}.lora_A.weight": torch.ones(2, 32)}, f"two sides of the difference for `{C_ATTN}` don't fit"),
        (LORA, {f"{C_ATTN}.lora_magnitude_vector": torch.ones(2)}, "neither side of a low-rank difference"),
        (LORA, pair("transformer.h.7.attn.c_attn"), "has no such module"),
        (LORA, pair("transformer.wte", outputs=500), "`transformer.wte`, which is no projection"),
        (LORA, pair(C_ATTN, inputs=16), "is 96 × 16; in `tiny-gpt2` it would be 96 × 32"),
        ({**LORA, "use_dora": True}, pair(C_ATTN), "LoRA with `use_dora`"),
        ({**LORA, "init_lora_weights": "pissa"}, pair(C_ATTN), "changes the model's own weights"),
        ({**LORA, "lora_alpha": "1"}, pair(C_ATTN), "`lora_alpha` is '1', not a number"),
        ({**LORA, "alpha_pattern": {"(a+)+$": 3}}, pair(C_ATTN), "only names of modules are read here"),
    ],
)  # fmt: skip
def test_a_stranger_s_checkpoint(
    config: Mapping[str, Any] | str, tensors: Mapping[str, torch.Tensor] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError) as caught:
        read(adapter(tmp_path, config, tensors), LM)
    assert message in caught.value.message


def test_no_adapter_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no PEFT adapter: it has no `adapter_config.json`"):
        read(tmp_path, LM)
    with pytest.raises(ArtifactError, match="is no PEFT adapter: it is no folder"):
        read(tmp_path / "nowhere", LM)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    folder = adapter(tmp_path, PROMPT, None)
    (folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(ArtifactError) as caught:
        read(folder, LM)
    assert str(caught.value) == (
        f"`{folder}` has its tensors in `adapter_model.bin`, a pickle, which can run any code and isn't read\n\n"
        "hint: have who made it save it as `adapter_model.safetensors` (safe_serialization=True)"
    )
    assert not (tmp_path / "ran").exists()


def test_another_width_names_what_would_do(tmp_path: Path) -> None:
    folder = adapter(
        tmp_path / "a", {**PROMPT, "base_model_name_or_path": "gpt2"}, {"prompt_embeddings": torch.ones(2, 768)}
    )
    with pytest.raises(ArtifactError) as caught:
        read(folder, LM)
    assert str(caught.value) == (
        "the checkpoint's vectors are 768 wide, and it says it was made for `gpt2`; those of `tiny-gpt2` are 32\n\n"
        "hint: give --lm the model it was made for: one whose input vectors are 768 wide"
    )
    deep = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "num_layers": 2, "num_attention_heads": 4}
    with pytest.raises(ArtifactError) as caught:
        read(adapter(tmp_path / "b", deep, {"prompt_embeddings": torch.ones(2, 128)}), tiny("llama"))
    assert str(caught.value) == (
        "the checkpoint has 128 keys and values a position, for 2 layers of 4 heads; `tiny-llama` has 64, for 2 layers "
        "of 2 heads of 8\n\nhint: give --lm the model it was made for"
    )
    with pytest.raises(ArtifactError, match="for 2 layers of 4 heads; `tiny-llama` has 64"):  # as wide, cut otherwise
        read(adapter(tmp_path / "c", deep, {"prompt_embeddings": torch.ones(2, 64)}), tiny("llama"))


def test_a_checkpoint_that_came_alone(tmp_path: Path) -> None:
    folder = adapter(tmp_path, PROMPT, {"prompt_embeddings": torch.ones(4, 32).to(torch.bfloat16)})
    prompt = read(folder, LM)  # rows behind `num_virtual_tokens` are never used in PEFT
    assert str(prompt.template) == "{@soft}{text}{mask}"
    assert prompt.parts["soft"].tensors()["weight"].shape == (2, 32)
    (answer,) = prompt.predict(LM, [Example({"text": "the cat", "choices": ["good", "bad"]})])
    assert set(answer.probabilities) == {"good", "bad"}
    given = read(folder, LM, template="It is {mask}", words={"up": "good", "down": "bad"})
    assert (str(given.template), given.labels) == ("{@soft}It is {mask}", ("up", "down"))


def test_a_checkpoint_of_a_bare_body(tmp_path: Path) -> None:
    """Made on AutoModel, its modules have no `transformer.` in front."""
    tensors = {key: torch.randn(one.shape, generator=torch.Generator().manual_seed(0)) * 0.2
               for key, one in pair("h.0.attn.c_attn").items()}  # fmt: skip
    prompt = read(adapter(tmp_path, LORA, tensors), LM, template="{text} {mask}", words={"a": "good", "b": "bad"})
    down, up = tensors.values()
    weights = prompt.parts["lora"].overrides(LM)
    name = f"{C_ATTN}.weight"
    torch.testing.assert_close(weights[name], LM.parameters[name] + (up @ down).T)
    still = "transformer.h.1.attn.c_attn.weight"
    assert torch.equal(weights[still], LM.parameters[still])


def test_a_fresh_difference_is_none(tmp_path: Path) -> None:
    tensors = {key: one * ("lora_A" in key) for key, one in pair(C_ATTN).items()}
    weights = read(adapter(tmp_path, LORA, tensors), LM).parts["lora"].overrides(LM)
    assert all(torch.equal(one, LM.parameters[name]) for name, one in weights.items())


def test_a_side_folder_that_was_tampered_with(tmp_path: Path) -> None:
    folder = export(toy_prompt().plus(lora=lora(LM, rank=1)), LM, tmp_path / "out")
    (folder / SIDE / "prompt.json").write_text("{}")
    with pytest.raises(ArtifactError, match="is not a promptatlas prompt"):
        read(folder, LM)

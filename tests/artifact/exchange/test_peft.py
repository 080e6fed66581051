"""PEFT's adapters both ways, against the real `peft`, which scores as we do to 1e-5."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.small import saved_model

import promptatlas
from promptatlas.artifact.exchange.peft import export, read
from promptatlas.lm.local import LocalLM
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import LoRA, lora
from promptatlas.prompting import Prompt, Step, model
from promptatlas.testing.tasks import toy, toy_prompt

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -c constraints.txt promptatlas[peft]")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

FAMILIES = ("bert", "gpt2", "llama", "t5")
TASKS = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
AUTO = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM", "seq2seq": "AutoModelForSeq2SeqLM"}
EXAMPLES = toy().test[:6]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: saved_model(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def where(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def theirs(where: Path, lm: LocalLM) -> Any:
    """The same model, as transformers has it."""
    return getattr(transformers, AUTO[lm.kind]).from_pretrained(where, attn_implementation="sdpa").eval()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_peft(tuned: Any, lm: LocalLM, prompt: Prompt) -> torch.Tensor:
    """Log-probabilities of the labels, from PEFT's logits, each row on its own."""
    config = tuned.active_peft_config
    words = prompt.words.tokens(lm, prompt.template)
    ids = [words[label][0][0] for label in prompt.labels]
    found = []
    for row in prompt.reader(lm).encode(prompt.lines(lm, EXAMPLES)[0]):
        virtual = sum(span.end - span.start for span in row.spans if span.kind == "part")
        text = torch.tensor([row.ids[virtual:]])
        inputs = {"input_ids": text, "attention_mask": torch.ones_like(text)}
        at = row.slots[0].positions[0]
        if lm.kind == "seq2seq":
            inputs["decoder_input_ids"] = torch.tensor([row.feed])
        assert virtual in (0, getattr(config, "num_virtual_tokens", 0))
        with torch.no_grad():
            found.append(tuned(**inputs).logits[0, at, ids])
    return torch.stack(found).log_softmax(-1)


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def vectors(lm: LocalLM) -> Prompt:
    return toy_prompt().lead(soft=Vectors(random(5, lm.width)))


def p_tuned(lm: LocalLM) -> Prompt:
    step = Step(method="p_tuning", settings={}, lm=model(lm), task="")
    return replace(vectors(lm), history=(step,))


def prefixed(lm: LocalLM) -> Prompt:
    places = ["decoder"] if lm.kind == "seq2seq" else None
    return toy_prompt().plus(prefix=normal(lm, 4, seed=1, scale=2.0, places=places, positions="shifted"))


def lowered(lm: LocalLM) -> Prompt:
    part = lora(lm, rank=3, scale=0.7, places=("query", "value", "up", "down", "attention.out"), seed=2)
    up = [random(*one.shape, seed=at) for at, one in enumerate(part.up)]
    return toy_prompt().plus(lora=LoRA(part.where, part.scale, part.down, up))


MADE = {"PROMPT_TUNING": vectors, "P_TUNING": p_tuned, "PREFIX_TUNING": prefixed, "LORA": lowered}


@pytest.mark.parametrize("kind", MADE)
def test_peft_scores_what_we_export_as_we_do_and_back(where: Path, kind: str, tmp_path: Path) -> None:
    lm = promptatlas.load(where)
    prompt = MADE[kind](lm)
    folder = export(prompt, lm, tmp_path / "out")
    tuned = peft.PeftModel.from_pretrained(theirs(where, lm), folder)
    assert tuned.active_peft_config.peft_type == kind
    with torch.no_grad():
        mine = prompt.score(lm, EXAMPLES)
        assert (mine - toy_prompt().score(lm, EXAMPLES)).abs().max() > 1e-3  # what was learned makes a difference
        same(by_peft(tuned, lm, prompt), mine)
        again = read(folder, lm)
        same(again.score(lm, EXAMPLES), mine)
    assert again.template == prompt.template
    assert again.words == prompt.words
    assert again.history[-1].method == "import_peft"
    if kind != "LORA":  # a fused projection comes back with its shares' ranks together
        assert again == prompt


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_prefix_that_moves_nothing_is_turned_on_where_positions_are_rotary(family: str, tmp_path: Path) -> None:
    """PEFT's text stands behind the prefix; a rotary model sees distances alone, so the keys follow it."""
    where = saved_model(family, tmp_path / family)
    lm = promptatlas.load(where)
    assert lm.model.config.num_key_value_heads < lm.model.config.num_attention_heads
    prompt = toy_prompt().plus(prefix=normal(lm, 4, seed=1, scale=2.0, positions="unshifted"))
    folder = export(prompt, lm, tmp_path / "out")
    tuned = peft.PeftModel.from_pretrained(theirs(where, lm), folder)
    with torch.no_grad():
        mine = prompt.score(lm, EXAMPLES)
        same(by_peft(tuned, lm, prompt), mine)
        same(read(folder, lm).score(lm, EXAMPLES), mine)
        moved = toy_prompt().plus(prefix=Prefix(prompt.parts["prefix"].tensors(), positions="shifted"))
        assert (moved.score(lm, EXAMPLES) - mine).abs().max() > 1e-3  # as they are the keys would be others'


def prompt_tuning(lm: LocalLM) -> Any:
    return peft.PromptTuningConfig(task_type=TASKS[lm.kind], num_virtual_tokens=5)


def p_tuning(lm: LocalLM) -> Any:
    return peft.PromptEncoderConfig(task_type=TASKS[lm.kind], num_virtual_tokens=5, encoder_hidden_size=16)


def p_tuning_lstm(lm: LocalLM) -> Any:
    how = {"encoder_reparameterization_type": "LSTM", "encoder_num_layers": 1, "encoder_dropout": 0.0}
    return peft.PromptEncoderConfig(task_type=TASKS[lm.kind], num_virtual_tokens=5, encoder_hidden_size=16, **how)


def prefix_tuning(lm: LocalLM) -> Any:
    return peft.PrefixTuningConfig(task_type=TASKS[lm.kind], num_virtual_tokens=4)


def prefix_projection(lm: LocalLM) -> Any:
    how = {"prefix_projection": True, "encoder_hidden_size": 16}
    return peft.PrefixTuningConfig(task_type=TASKS[lm.kind], num_virtual_tokens=4, **how)


ATTENTION = {"bert": ["query", "key"], "gpt2": ["c_attn", "c_proj"], "llama": ["k_proj", "v_proj"], "t5": ["q", "wo"]}


def plain_lora(lm: LocalLM) -> Any:
    modules = ATTENTION[lm.model.config.model_type]
    return peft.LoraConfig(r=3, lora_alpha=5, target_modules=modules, init_lora_weights=False)


def other_lora(lm: LocalLM) -> Any:
    first, second = ATTENTION[lm.model.config.model_type]
    return peft.LoraConfig(
        r=4, lora_alpha=3, target_modules=[first, second], use_rslora=True, rank_pattern={first: 2},
        alpha_pattern={second: 6}, layers_to_transform=[1], init_lora_weights=False,
    )  # fmt: skip


CONFIGS: Sequence[Callable[[LocalLM], Any]] = (
    prompt_tuning, p_tuning, p_tuning_lstm, prefix_tuning, prefix_projection, plain_lora, other_lora,
)  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda one: one.__name__)
def test_we_score_what_peft_saved_as_it_does(where: Path, config: Callable[[LocalLM], Any], tmp_path: Path) -> None:
    lm = promptatlas.load(where)
    wanted = config(lm)
    if wanted.peft_type == "LORA" and lm.kind == "seq2seq":
        wanted.layers_to_transform = None  # PEFT tells layers by `layers.1`, and T5's are `block.1`
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tuned = peft.get_peft_model(theirs(where, lm), wanted).eval()
    tuned.save_pretrained(tmp_path / "theirs")
    tuned = peft.PeftModel.from_pretrained(theirs(where, lm), tmp_path / "theirs")
    template, words = str(toy_prompt().template), toy_prompt().words.words
    prompt = read(tmp_path / "theirs", lm, template=template, words=words)
    with torch.no_grad():
        mine = prompt.score(lm, EXAMPLES)
        same(by_peft(tuned, lm, prompt), mine)
        assert (mine - toy_prompt().score(lm, EXAMPLES)).abs().max() > 1e-4
    kept = promptatlas.open(promptatlas.save(prompt, tmp_path / "ours"))
    assert kept == prompt
    same(read(export(kept, lm, tmp_path / "again"), lm).score(lm, EXAMPLES), mine)


def test_a_model_with_its_own_key_size(tmp_path: Path) -> None:
    """T5 v1.1's kind, on which PEFT's own prefix tuning stumbles: ours loads in PEFT all the same."""
    config = transformers.T5Config.from_pretrained(saved_model("t5", tmp_path / "t5"), d_kv=4, num_decoder_layers=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    lm = promptatlas.load(tmp_path / "t5")
    prompt = prefixed(lm)
    folder = export(prompt, lm, tmp_path / "out")
    tuned = peft.PeftModel.from_pretrained(theirs(tmp_path / "t5", lm), folder)
    same(by_peft(tuned, lm, prompt), prompt.score(lm, EXAMPLES).detach())
    assert read(folder, lm) == prompt

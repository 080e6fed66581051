"""Keys turned on: what an unshifted prefix is to a text that stands behind it."""

from typing import Any

import numpy
import pytest
import torch
import transformers as hf

from promptatlas.lm.load import wrap
from promptatlas.lm.local import LocalLM
from promptatlas.lm.rotary import turned
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 600}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 100.0}


def made(config: Any) -> LocalLM:
    """A random model of this configuration, under Llama's tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForCausalLM.from_config(config)
    return wrap(model, tiny("llama").tokenizer.backend, name="made", kind="causal")


def llama(**rope: Any) -> LocalLM:
    return made(hf.LlamaConfig(**SIZE, num_key_value_heads=2, max_position_embeddings=160, rope_parameters=rope))


def test_keys_are_turned_as_the_formula_says() -> None:
    """The i-th pair of a head's d entries turns by m · base^(-2i/d); beside transformers, in complex numbers."""
    keys = torch.randn(2, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    pairs = keys.numpy()[..., :4] + 1j * keys.numpy()[..., 4:]
    angles = 5 * 10_000.0 ** (-2 * numpy.arange(4) / 8)
    wanted = pairs * numpy.exp(1j * angles)
    found = turned(llama(rope_type="default", rope_theta=10_000.0), keys, 5)
    assert found is not None
    numpy.testing.assert_allclose(found.numpy(), numpy.concatenate([wanted.real, wanted.imag], -1), atol=1e-5)


PARTIAL = {"rotary_pct": 0.5, "max_position_embeddings": 160}


@pytest.mark.parametrize(
    "lm",
    [
        lambda: tiny("llama"),
        lambda: tiny("qwen2"),
        lambda: llama(rope_type="linear", factor=2.0, rope_theta=100.0),
        lambda: llama(**YARN),
        lambda: made(hf.GPTNeoXConfig(**SIZE, **PARTIAL)),
    ],
    ids=["llama", "qwen2", "linear", "yarn", "half of a head"],
)
def test_a_text_behind_turned_keys_is_read_as_one_at_its_own_positions(lm: Any) -> None:
    model = lm()
    part = normal(model, 5, seed=1, scale=2.0)
    values = part.tensors()["self"]
    keys = turned(model, values[:, 0], 5)
    assert keys is not None
    behind = Prefix({"self": torch.stack([keys, values[:, 1]], 1)}, positions="shifted")
    with torch.no_grad():
        mine, theirs, as_they_are = (
            toy_prompt().plus(prefix=one).score(model, toy().test[:4])
            for one in (part, behind, Prefix(part.tensors(), positions="shifted"))
        )
    torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=0)
    assert (as_they_are - mine).abs().max() > 1e-4


@pytest.mark.parametrize(
    "lm",
    [
        lambda: tiny("gpt2"),
        lambda: tiny("opt"),
        lambda: tiny("modernbert"),
        lambda: tiny("t5"),
        lambda: llama(rope_type="dynamic", factor=2.0, rope_theta=100.0),
    ],
    ids=["a table", "another table", "an encoder", "distances", "angles that grow with the row"],
)
def test_where_positions_are_otherwise_there_are_none(lm: Any) -> None:
    assert turned(lm(), torch.zeros(2, 4, 3, 8), 3) is None

"""What a model would say that had learned nothing: its weights drawn anew, as values it is read with."""

from typing import Literal

import torch
from torch import Tensor

from promptatlas.lm.lm import LM
from promptatlas.parts.weights import Values

SCALE = 0.02  # deviation of the matrices of BERT and its kin before pretraining
What = Literal["all", "embeddings"]


def redrawn(lm: LM, what: What, *, seed: int) -> Values:
    """Weights as before pretraining: normal matrices, gains of 1, biases of 0. Not to be trained.

    Zhong, Friedman & Chen 2021, arXiv:2104.05240: what prompts reach on such a model they have learned from their
    training examples, and not recalled from the model.

    Args:
        lm: the model; it stays as it is.
        what: "all" weights, or the "embeddings" of the vocabulary alone (the output rows are the same where they are
            tied, and are drawn too where they aren't).
        seed: of the draw.
    """
    draw = torch.Generator().manual_seed(seed)
    table = lm.vectors.shape
    chosen = {name: one for name, one in lm.parameters.items() if what == "all" or one.shape == table}
    return Values({name: _drawn(name, one, draw) for name, one in chosen.items()}).requires_grad_(False)


def _drawn(name: str, one: Tensor, draw: torch.Generator) -> Tensor:
    if one.dim() > 1:
        return torch.randn(one.shape, generator=draw) * SCALE
    return torch.zeros(one.shape) if name.endswith("bias") else torch.ones(one.shape)

"""Claims about tensors, each with a sentence for when it doesn't hold."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from promptatlas.lm.ask import Reading
from promptatlas.lm.lm import LM

TOLERANCE = 1e-5  # in float32


def claim(holds: bool, sentence: str) -> None:
    """Raise AssertionError with the sentence where it doesn't hold."""
    if not holds:
        raise AssertionError(sentence)


def same(found: Tensor, wanted: Tensor, sentence: str, *, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError with the sentence and the largest difference, where two tensors differ."""
    claim(found.shape == wanted.shape, f"{sentence}: {tuple(found.shape)} against {tuple(wanted.shape)}")
    if not torch.allclose(found, wanted, rtol=tolerance, atol=tolerance):
        off = float((found - wanted).detach().abs().max())
        raise AssertionError(f"{sentence}: off by {off:.3g}, where {tolerance} is allowed")


def same_readings(found: Reading, wanted: Reading, sentence: str) -> None:
    """`same` of every read of two readings."""
    for one, other in zip(found, wanted, strict=True):
        same(one.values, other.values, sentence)
        if other.total is not None and one.total is not None:
            same(one.total, other.total, sentence)


def hashed(tensors: Mapping[str, Tensor]) -> str:
    """A hash of every bit of named tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint(lm: LM) -> str:
    """A hash of every bit of a model's parameters, and of whether any has got a gradient."""
    graded = sorted(name for name, one in lm.parameters.items() if one.grad is not None or one.requires_grad)
    return hashed(lm.parameters) + " ".join(graded)

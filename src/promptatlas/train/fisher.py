"""How much a loss notices each number of a part: the diagonal of the Fisher information, estimated."""

from collections.abc import Sequence

import torch
from torch import Tensor

from promptatlas.data.draw import batch_at
from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.loss import Batch, Loss, generator
from promptatlas.train.optim import Optim
from promptatlas.train.trainee import trainee


def fisher(
    prompt: Prompt, lm: LM, examples: Sequence[Example], loss: Loss, *, part: str, batch: int, seed: int,
    clip: float | None = 1.0,
) -> list[Tensor]:  # fmt: skip
    """The mean over batches of the squared gradient of the batch's mean loss, in one pass over the examples.

    Where examples of a batch pull in opposite directions, their gradients cancel: the estimate depends on the batch.

    Args:
        prompt: holds the part; nothing of it is changed.
        lm: the model.
        examples: with their labels.
        loss: whose gradients are taken.
        part: the part's name.
        batch: examples whose gradient is squared together; 1 is the estimate of textbooks.
        seed: of which examples stand together.
        clip: largest norm of a parameter's gradient before it is squared; None: any.

    Returns:
        A tensor a parameter, in their order and of their shape; zero where no gradient goes.

    Raises:
        SettingError: there is no such part, or it can't be trained.
    """
    under = trainee(prompt, lm, {part: Optim(lr=1.0)})
    sums = [torch.zeros_like(one) for one in under.parameters]
    batches = -(-len(examples) // batch)
    for step in range(batches):
        places = batch_at(len(examples), batch, step, seed)
        some = Batch(tuple(examples[at] for at in places), tuple(places), step, generator(seed, step), seed)
        mean = loss(under.prompt, lm, some).mean()
        grads = torch.autograd.grad(mean, under.parameters, allow_unused=True)
        for total, grad in zip(sums, grads, strict=True):
            if grad is not None:
                total += (grad * min(1.0, clip / (float(grad.norm()) + 1e-6) if clip is not None else 1.0)).square()
    return [total.cpu() / batches for total in sums]

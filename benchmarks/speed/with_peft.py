"""The same steps with PEFT, as its documentation writes the loop: padded, all logits, training mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

TASKS = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}


@dataclass(frozen=True)
class Sample:
    """A row as ids, what a decoder is fed, where the answer is read, and which label is right; JSON-like."""

    ids: Sequence[int]
    feed: Sequence[int]
    slot: int
    target: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows as tensors, as a collator makes them: once, before training."""

    inputs: dict[str, Tensor]
    slots: Tensor  # [rows], in the sequence that is read
    targets: Tensor  # [rows], which label


def collated(rows: Sequence[Sample], kind: str, pad: int) -> Batch:
    """Padded on the right."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[pad] * (longest - len(row.ids))] for row in rows])
    real = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows])
    inputs = {"input_ids": ids, "attention_mask": real}
    if kind == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([list(row.feed) for row in rows])
    return Batch(inputs, torch.tensor([row.slot for row in rows]), torch.tensor([row.target for row in rows]))


@dataclass(eq=False)
class Trained:
    """A PEFT model and what moves it.

    Attributes:
        model: the PEFT model.
        words: the ids of the labels' words.
        lead: positions in front of the logits' first real token.
        optimiser: of the part.
    """

    model: Any
    words: Tensor
    lead: int
    optimiser: torch.optim.Optimizer

    def step(self, batch: Batch) -> Tensor:
        """One step of training."""
        self.model.train()
        loss = nn.functional.cross_entropy(self.logits(batch), batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()

    def logits(self, batch: Batch) -> Tensor:
        """[rows, labels]: at the slot, out of the logits of all positions and the whole vocabulary."""
        logits: Tensor = self.model(**batch.inputs).logits
        at = torch.arange(len(batch.slots))
        return logits[at, batch.slots + self.lead][:, self.words]


def trained(model: Any, kind: str, method: str, length: int, words: Sequence[int], rate: float) -> Trained:
    """A model with a part of PEFT's to train.

    PEFT has no task type for masked language models: FEATURE_EXTRACTION passes the logits of one through. A seq2seq
    model gets its vectors at the encoder alone, as ours does.

    Raises:
        ImportError: there is no PEFT.
    """
    peft = import_module("peft")  # may not be there
    more: dict[str, Any] = {"num_transformer_submodules": 1} if kind == "seq2seq" else {}
    made = {"soft": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[method]
    config = made(task_type=TASKS[kind], num_virtual_tokens=length, **more)
    wrapped = peft.get_peft_model(model, config)
    optimiser = torch.optim.AdamW([one for one in wrapped.parameters() if one.requires_grad], lr=rate)
    lead = length if method == "soft" and kind != "seq2seq" else 0
    return Trained(wrapped, torch.tensor(list(words)), lead, optimiser)


def put(one: Trained, vectors: Tensor) -> None:
    """Let the part hold these vectors."""
    with torch.no_grad():
        one.model.prompt_encoder["default"].embedding.weight.copy_(vectors)

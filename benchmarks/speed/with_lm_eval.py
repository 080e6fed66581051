"""Few-shot scoring with lm-evaluation-harness, by its Hugging Face path: a request a question and label."""

from collections.abc import Sequence
from importlib import import_module
from logging import ERROR, getLogger
from typing import Any

import torch
from torch import Tensor


class Scored:
    """Its language model over ours."""

    def __init__(self, model: Any, tokenizer: Any, batch: int) -> None:
        """Wrap a model of transformers. Raises ImportError: there is no lm-eval."""
        harness = import_module("lm_eval.models.huggingface")  # may not be there
        getLogger("lm_eval").setLevel(ERROR)  # it warns of a model that is handed over, which it allows
        self.instance = import_module("lm_eval.api.instance").Instance
        self.lm = harness.HFLM(
            pretrained=model.eval(), tokenizer=tokenizer, backend="causal", batch_size=batch, device="cpu"
        )

    def logp(self, contexts: Sequence[str], answers: Sequence[str]) -> Tensor:
        """[questions, answers]: log-probabilities of each answer after each context."""
        asked = [
            self.instance(request_type="loglikelihood", doc={}, arguments=(context, f" {answer}"), idx=at)
            for context in contexts
            for at, answer in enumerate(answers)
        ]
        found = self.lm.loglikelihood(asked, disable_tqdm=True)
        return torch.tensor([one for one, _ in found]).reshape(len(contexts), len(answers))

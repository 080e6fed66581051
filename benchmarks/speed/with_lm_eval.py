"""Few-shot scoring with lm-evaluation-harness, by its Hugging Face path: a request a question and label."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Scored:
    """Its language model over ours."""

    def __init__(self, model: Any, tokenizer: Any, batch: int) -> None:
        """Wrap a model of transformers. Raises ImportError: there is no lm-eval."""
        from lm_eval.api.instance import Instance  # noqa: PLC0415 - may not be there
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415

        self.instance = Instance
        self.lm = HFLM(pretrained=model.eval(), tokenizer=tokenizer, backend="causal", batch_size=batch, device="cpu")

    def logp(self, contexts: Sequence[str], answers: Sequence[str]) -> Tensor:
        """[questions, answers]: log-probabilities of each answer after each context."""
        asked = [
            self.instance(request_type="loglikelihood", doc={}, arguments=(context, f" {answer}"), idx=at)
            for context in contexts
            for at, answer in enumerate(answers)
        ]
        found = self.lm.loglikelihood(asked, disable_tqdm=True)
        return torch.tensor([one for one, _ in found]).reshape(len(contexts), len(answers))

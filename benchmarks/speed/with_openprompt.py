"""Soft-prompt training with OpenPrompt 1.0.1, in an environment of its own; told by lines what to do, answers by lines.

    python -m benchmarks.speed.with_openprompt FILE

FILE is JSON: `model` and `vocabulary` are paths, `batches` lists of [text, label's index], `text` the template,
`words` the labels' words, `length`, `most` (positions that every row is padded to), `rate`, and `longest` and
`shortest` say which batch is. Each line on stdin is `operations N`, `seconds N` (of the batch of that number) or
`peak`; each answer is JSON.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.count import Here, peak, touch
from torch import nn
from transformers import BertForMaskedLM, BertTokenizer


class Trained:
    """An OpenPrompt model and its batches."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        """Load the model, wrap and tokenise all examples."""
        library, prompts = import_module("openprompt"), import_module("openprompt.prompts")  # only in this environment
        self.told, self.library = told, library
        self.tokenizer = BertTokenizer(told["vocabulary"], do_lower_case=True)
        plm = BertForMaskedLM.from_pretrained(told["model"])
        touch(plm)
        self.template = prompts.SoftTemplate(plm, self.tokenizer, text=told["text"], num_tokens=told["length"])
        verbalizer = prompts.ManualVerbalizer(
            self.tokenizer, num_classes=len(told["words"]), label_words=[[one] for one in told["words"]]
        )
        self.model = library.PromptForClassification(
            plm=plm, template=self.template, verbalizer=verbalizer, freeze_plm=True
        )
        self.optimiser = torch.optim.AdamW(
            [one for one in self.template.parameters() if one.requires_grad], told["rate"]
        )
        self.batches = [self._batch(one) for one in told["batches"]]
        self.model.train()

    def _batch(self, some: list[list[Any]]) -> Any:
        data, wrapper = import_module("openprompt.data_utils"), import_module("openprompt.plms.mlm")
        examples = [data.InputExample(guid=at, text_a=text, label=label) for at, (text, label) in enumerate(some)]
        loader = self.library.PromptDataLoader(
            dataset=examples, template=self.template, tokenizer=self.tokenizer,
            tokenizer_wrapper_class=wrapper.MLMTokenizerWrapper,
            max_seq_length=self.told["most"], batch_size=len(some), shuffle=False,
        )  # fmt: skip
        (batch,) = loader
        return batch

    def step(self, at: int) -> None:
        """One step of training."""
        batch = dict(self.batches[at])
        loss = nn.functional.cross_entropy(self.model(batch), batch["label"])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()

    def lengths(self) -> list[list[int]]:
        """Real positions of every row of every batch, for the other side to compare."""
        return [batch["attention_mask"].sum(1).tolist() for batch in self.batches]


def main() -> None:
    """Answer until there are no more lines."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    one = Trained(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    side = Here(one.step)
    named = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("openprompt", "transformers", "torch"))
    answer({"lengths": one.lengths(), "versions": named})
    for line in sys.stdin:
        what, _, at = line.strip().partition(" ")
        if what == "peak":
            one.step(one.told["shortest"])  # what a library keeps after its first use is not the step's
            answer(peak(lambda: one.step(one.told["longest"])))
        else:
            answer(side.operations(int(at)) if what == "operations" else side.seconds(int(at)))


def answer(value: object) -> None:
    """A line."""
    sys.stdout.write(f"ANSWER {json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

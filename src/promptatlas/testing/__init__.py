"""For tests: what every language model, part and method has to keep, and tiny models, tasks and an endpoint for it."""

from promptatlas.testing.check_lm import check_lm
from promptatlas.testing.contract import check_method, check_part
from promptatlas.testing.endpoint import endpoint
from promptatlas.testing.tasks import (
    toy,
    toy_pairs,
    toy_pairs_prompt,
    toy_prompt,
    toy_tags,
    toy_tags_prompt,
    toy_texts,
    toy_texts_prompt,
)
from promptatlas.testing.tiny import names, tiny

__all__ = [
    "check_lm",
    "check_method",
    "check_part",
    "endpoint",
    "names",
    "tiny",
    "toy",
    "toy_pairs",
    "toy_pairs_prompt",
    "toy_prompt",
    "toy_tags",
    "toy_tags_prompt",
    "toy_texts",
    "toy_texts_prompt",
]

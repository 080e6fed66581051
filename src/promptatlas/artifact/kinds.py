"""Names of saved components -> their classes, found when they are first asked for.

Another package adds a kind with an entry point; its name says which role it plays:

    [project.entry-points."promptatlas.kinds"]
    "parts.my_part" = "my_package.my_part:MyPart"
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

from promptatlas.errors import ArtifactError, near

Role = Literal["parts", "words", "demos", "calibration", "view"]

GROUP = "promptatlas.kinds"

KINDS: Mapping[Role, Mapping[str, str]] = {
    "parts": {
        "vectors": "promptatlas.parts.vectors:Vectors",
        "tokens": "promptatlas.parts.tokens:Tokens",
        "prefix": "promptatlas.parts.prefix:Prefix",
        "perturbation": "promptatlas.parts.perturb:Perturbation",
        "reparametrised": "promptatlas.parts.reparam:MLPPrefix",
        "encoded": "promptatlas.parts.reparam:Encoded",
        "values": "promptatlas.parts.weights:Values",
        "lora": "promptatlas.parts.weights:LoRA",
        "scale": "promptatlas.parts.scale:Scale",
        "child": "promptatlas.parts.child:Child",
        "gates": "promptatlas.parts.gates:Gates",
        "diff": "promptatlas.parts.diff:Diff",
        "sparse": "promptatlas.parts.diff:Sparse",
        "adapters": "promptatlas.parts.adapters:Adapters",
        "head": "promptatlas.parts.head:Head",
        "label_vectors": "promptatlas.parts.head:LabelVectors",
        "mix": "promptatlas.parts.mix:Mix",
    },
    "words": {
        "words": "promptatlas.score.words:Words",
        "slot_words": "promptatlas.score.slots:SlotWords",
        "classifier": "promptatlas.score.soft:Classifier",
        "label_vectors": "promptatlas.score.soft:LabelVectors",
        "own": "promptatlas.score.own:Own",
        "phrases": "promptatlas.score.phrases:Phrases",
    },
    "demos": {
        "none": "promptatlas.demos.pick:NoDemos",
        "fixed": "promptatlas.demos.pick:Fixed",
        "random": "promptatlas.demos.pick:Random",
        "nearest": "promptatlas.demos.nearest:Nearest",
        "diverse": "promptatlas.demos.diverse:Diverse",
        "sampled": "promptatlas.demos.sampled:Sampled",
        "told": "promptatlas.demos.told:Told",
    },
    "calibration": {
        "divide": "promptatlas.score.calibrate:Divide",
        "pmi": "promptatlas.score.calibrate:PMI",
        "opening": "promptatlas.score.opening:Opening",
        "prototypes": "promptatlas.score.prototypes:Prototypes",
        "temper": "promptatlas.score.temper:Temper",
    },
    "view": {
        "one": "promptatlas.data.view:One",
        "chains": "promptatlas.score.chains:Chains",
        "choices": "promptatlas.data.view:Choices",
        "descriptions": "promptatlas.data.descriptions:Descriptions",
        "interval": "promptatlas.data.interval:Interval",
        "tags": "promptatlas.data.view:Tags",
    },
}


@runtime_checkable
class Component(Protocol):
    """What is saved by its kind. The way back is its class's `build(config, tensors)`."""

    kind: ClassVar[str]
    version: ClassVar[int]

    def config(self) -> dict[str, Any]:
        """JSON fields that, with the tensors, rebuild it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What was learned, by name; detached, on the CPU."""


def kinds(role: Role) -> tuple[str, ...]:
    """Every kind there is of one role: our own, and those of entry points."""
    return tuple(sorted(KINDS[role].keys() | _added(role).keys()))


def find(role: Role, kind: str) -> Any:
    """The class of a kind, a `Component`.

    Raises:
        ArtifactError: there is no such kind (near names), or its class can't be imported.
    """
    target = KINDS[role].get(kind) or _added(role).get(kind)
    if target is None:
        raise ArtifactError(f"`{kind}` is no kind of {role} that is known here", hint=near(kind, kinds(role)))
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ArtifactError(f"the kind `{kind}` of {role} can't be imported from `{target}`: {error}") from error


@cache
def _added(role: Role) -> Mapping[str, str]:
    names = ((point.name.partition("."), point.value) for point in entry_points(group=GROUP))
    return {kind: value for (owner, _, kind), value in names if owner == role}

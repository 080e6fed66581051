"""The Part protocol: what a learned or found thing must offer to touch a model at one kind of site.

A part is one of five kinds, told by `site`, and offers the one function of that kind:

    inputs        length: int; and ids (real tokens) or vectors(lm, rows): [length, width] or [rows, length, width]
    attention     prefix(lm) -> {place: [(K, V), ...] a layer}, each [heads, length, dim]
    weights       overrides(lm) -> {parameter name: tensor}
    activations   after(lm) -> {Place: function(output) -> output}
    head          called by the verbalizer that owns it
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from promptatlas.lm.lm import LM
    from promptatlas.lm.places import Place
    from promptatlas.lm.row import Row

Site = Literal["inputs", "attention", "weights", "activations", "head"]


@runtime_checkable
class Part(Protocol):
    """Something that touches the model at one kind of site. Trainable ones are torch modules, found ones values."""

    kind: ClassVar[str]
    version: ClassVar[int]
    site: ClassVar[Site]

    def config(self) -> dict[str, Any]:
        """JSON fields that, with the tensors, rebuild the part."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What was learned, by name; detached, on the CPU."""

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Part":
        """The part again, from what `config` and `tensors` gave."""


class InputsPart(Part, Protocol):
    """Vectors spliced among the input vectors, or real tokens."""

    @property
    def length(self) -> int:
        """Positions it takes."""

    @property
    def ids(self) -> tuple[int, ...] | None:
        """The tokens it is, where it is real tokens; None where it is vectors."""

    def vectors(self, lm: "LM", rows: Sequence["Row"]) -> Tensor:
        """[length, width], or [rows, length, width] where it is made from each row."""


class AttentionPart(Part, Protocol):
    """Keys and values every layer sees in front of its own."""

    @property
    def shift(self) -> int:
        """How many positions further on the text behind it stands; 0 where the text keeps its own."""

    def prefix(self, lm: "LM") -> Mapping[str, Sequence[tuple[Tensor, Tensor]]]:
        """Of each place ("self", or "encoder", "decoder", "cross") a (K, V) a layer, each [heads, length, dim]."""


class WeightsPart(Part, Protocol):
    """Other values for some of the model's parameters."""

    def overrides(self, lm: "LM") -> Mapping[str, Tensor]:
        """Parameter name -> tensor, of the shape the model has."""


class ActivationsPart(Part, Protocol):
    """Functions on what modules put out."""

    def after(self, lm: "LM") -> "Mapping[Place, Callable[[Tensor], Tensor]]":
        """Place -> function from the module's output to what goes on."""

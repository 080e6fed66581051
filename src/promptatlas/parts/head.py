"""Heads: a linear classifier of states, and learned rows in place of the vocabulary's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach
from promptatlas.lm.ask import Against, Job, Tokens
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Site
from promptatlas.text.runs import SlotRun, TextRun


class Head(nn.Module):
    """A linear classifier: weight [labels, hidden], bias [labels]. `score.soft.Classifier` reads states through it."""

    kind: ClassVar[str] = "head"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(self, weight: Float[Tensor, "labels hidden"], bias: Float[Tensor, " labels"]) -> None:
        """A copy of both, to be trained."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())
        self.bias = nn.Parameter(bias.detach().clone().float().cpu())

    def forward(self, states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows labels"]:
        """Label logits of states. Raises CannotAttach for states of another width than it was learned on."""
        if states.shape[-1] != self.weight.shape[1]:
            raise CannotAttach(
                f"a head of states {self.weight.shape[1]} wide was given states {states.shape[-1]} wide",
                hint="it was learned on another model",
            )
        return nn.functional.linear(states, self.weight.to(states.device), self.bias.to(states.device))

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Weight and bias."""
        return {"weight": self.weight.detach().cpu(), "bias": self.bias.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Head":
        """The part again."""
        return cls(tensors["weight"], tensors["bias"])


def head(lm: LM, labels: int, *, seed: int, scale: float = 0.02, layers: int = 1) -> Head:
    """Normal random weights of deviation `scale`, zero biases; over `layers` layers' states side by side."""
    generator = torch.Generator().manual_seed(seed)
    return Head(torch.randn(labels, lm.hidden * layers, generator=generator) * scale, torch.zeros(labels))


class LabelVectors(nn.Module):
    """Learned rows for the output projection, one a label: weight [labels, head], bias [labels]."""

    kind: ClassVar[str] = "label_vectors"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(self, weight: Float[Tensor, "labels head"], bias: Float[Tensor, " labels"]) -> None:
        """A copy of both, to be trained."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())
        self.bias = nn.Parameter(bias.detach().clone().float().cpu())

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Weight and bias."""
        return {"weight": self.weight.detach().cpu(), "bias": self.bias.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "LabelVectors":
        """The part again."""
        return cls(tensors["weight"], tensors["bias"])


@dataclass(frozen=True, eq=False)
class Said:
    """A label's row as an input vector, where input and output vectors are one table: the label itself, said.

    It is of use while the rows are trained, and is not saved with a prompt: the rows are.
    """

    rows: LabelVectors
    label: int

    kind: ClassVar[str] = "said"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "inputs"
    length: ClassVar[int] = 1
    ids: ClassVar[None] = None

    def vectors(self, lm: LM, rows: Sequence[Row]) -> Float[Tensor, "1 width"]:
        """The label's row; gradients reach it."""
        return self.rows.weight[self.label : self.label + 1]

    def config(self) -> dict[str, Any]:
        """Which label."""
        return {"label": self.label}

    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the rows."""
        return self.rows.tensors()

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Said":
        """The part again."""
        return cls(LabelVectors.build({}, tensors), config["label"])


def of_rows(lm: LM, tokens: Sequence[Sequence[int]]) -> LabelVectors:
    """A label's row as the mean of the output projection's rows of its tokens, and its bias as the mean of theirs.

    Labels of one token each score as those tokens' own logits do. A model's bias has no name that all families share:
    it is what its logits have beyond the product of row and state.
    """
    ids = tuple(dict.fromkeys(one for some in tokens for one in some))
    rows = lm.outputs[list(ids)].float()
    (row,) = lm.encode([(TextRun("a"), SlotRun())], {})
    with torch.no_grad():
        ((logits, bare),) = lm.read([Job(row, (Tokens(ids), Against(rows)))])
    bias = (logits.values - bare.values)[0].cpu()
    places = [[ids.index(one) for one in some] for some in tokens]
    means = torch.stack([rows[at].mean(0).cpu() for at in places])
    return LabelVectors(means, torch.stack([bias[at].mean() for at in places]))


def random_rows(lm: LM, labels: int, *, seed: int) -> LabelVectors:
    """Uniform rows and biases up to 1 over the root of the width, as a linear layer of torch starts."""
    draw = torch.Generator().manual_seed(seed)
    most = lm.head**-0.5
    weight, bias = ((torch.rand(*shape, generator=draw) * 2 - 1) * most for shape in ((labels, lm.head), (labels,)))
    return LabelVectors(weight, bias)

"""Parts trained through a small network and kept without it: a prefix behind an MLP, vectors behind an LSTM."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part, Site
from promptatlas.parts.prefix import Prefix, known_dropout, known_positions, layered, moved, normal, roomy, sizes
from promptatlas.parts.vectors import Vectors, checked, digest

Kind = Literal["lstm", "wide_lstm", "mlp"]
Sizes = Mapping[str, tuple[int, int, int]]  # place -> layers, heads, dim


class MLPPrefix(nn.Module):
    """A prefix whose keys and values an MLP makes of a small table, at each place with a table and MLP of its own.

    P[i] = W₂ tanh(W₁ P'[i] + b₁) + b₂, with P' [length, width] and the MLP shared by all positions (Li & Liang 2021,
    arXiv:2101.00190). Its columns are read as [layers, 2, heads, dim]. `flat` is what is kept of it.
    """

    kind: ClassVar[str] = "reparametrised"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "attention"

    def __init__(
        self, shapes: Sizes, *, length: int, width: int, mid: int, positions: str = "unshifted", dropout: float = 0.0
    ) -> None:
        """Tables drawn from N(0, 1) and MLPs as torch begins them, from torch's global generator: see `mlp_prefix`."""
        super().__init__()
        self.shapes = {place: tuple(shape) for place, shape in shapes.items()}
        self.positions, self.dropout = known_positions(positions), nn.Dropout(known_dropout(dropout))
        self.tables = nn.ParameterDict({place: nn.Parameter(torch.randn(length, width)) for place in shapes})
        self.mlps = nn.ModuleDict(
            {
                place: nn.Sequential(nn.Linear(width, mid), nn.Tanh(), nn.Linear(mid, layers * 2 * heads * dim))
                for place, (layers, heads, dim) in shapes.items()
            }
        )
        self.eval()  # nothing is left out but where the training loop says so

    @property
    def length(self) -> int:
        """Positions of the prefix."""
        return next(iter(self.tables.values())).shape[0] if self.tables else 0

    @property
    def shift(self) -> int:
        """How many positions further on the text stands; see `Prefix`."""
        return moved(self.length, self.positions, self.shapes)

    def places(self) -> dict[str, Tensor]:
        """Keys and values of each place: [layers, 2, heads, length, dim]."""
        made = {}
        for place, (layers, heads, dim) in self.shapes.items():
            flat = self.mlps[place](self.tables[place])  # [length, layers * 2 * heads * dim]
            made[place] = flat.view(self.length, layers, 2, heads, dim).permute(1, 2, 3, 0, 4)
        return made

    def prefix(self, lm: LM) -> Mapping[str, Sequence[tuple[Tensor, Tensor]]]:
        """(K, V) a layer, each [heads, length, dim], of each place. Raises CannotAttach where the model has others."""
        return layered(lm, {place: self.dropout(one) for place, one in self.places().items()})

    def flat(self) -> Prefix:
        """The prefix it makes, with table and MLP dropped."""
        with torch.no_grad():
            return Prefix(self.places(), positions=self.positions)

    def config(self) -> dict[str, Any]:
        """Shapes, where text stands, dropout."""
        shapes = {place: list(shape) for place, shape in self.shapes.items()}
        return {"shapes": shapes, "positions": self.positions, "dropout": self.dropout.p}

    def tensors(self) -> Mapping[str, Tensor]:
        """Tables and MLPs."""
        return {name: one.detach().cpu() for name, one in self.state_dict().items()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "MLPPrefix":
        """The part again."""
        shapes = {place: (int(one[0]), int(one[1]), int(one[2])) for place, one in config["shapes"].items()}
        length, width = tensors[f"tables.{next(iter(shapes))}"].shape
        mid = tensors[f"mlps.{next(iter(shapes))}.0.bias"].shape[0]
        with torch.random.fork_rng(devices=[]):  # what is drawn here is written over
            made = cls(shapes, length=length, width=width, mid=mid, positions=config["positions"],
                       dropout=config["dropout"])  # fmt: skip
        made.load_state_dict(dict(tensors))
        return made


def mlp_prefix(
    lm: LM, length: int, *, mid: int, seed: int, positions: str = "unshifted", dropout: float = 0.0
) -> MLPPrefix:
    """A prefix behind an MLP, its table as wide as the model's states, at every place of the model's attention.

    Raises:
        CannotAttach: a family without a way in for prefixes.
        SettingError: a length below 0 or that leaves no room, or a middle below 1.
    """
    if mid < 1:
        raise SettingError(f"an MLP can't be {mid} wide in the middle", hint="use 1 or more")
    shapes = sizes(lm, length, None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = MLPPrefix(shapes, length=length, width=lm.hidden, mid=mid, positions=positions, dropout=dropout)
    roomy(lm, made.flat())
    return made


def fitted(part: MLPPrefix, goal: Prefix, *, steps: int = 500, lr: float = 1e-4) -> MLPPrefix:
    """The part with its MLPs fitted to a prefix by mean squared error, its tables left as they are.

    Li & Liang's released code: Adam at 1e-4 for 500 steps, before the training itself.
    """
    made = MLPPrefix.build(part.config(), part.tensors())
    wanted = {place: one.detach() for place, one in goal.places.items()}
    optimiser = torch.optim.Adam(made.mlps.parameters(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        terms = [(one - wanted[place]).square().mean() for place, one in made.places().items()]
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    made.zero_grad()
    return made


def started(
    lm: LM, length: int, *, mid: int, seed: int, scale: float = 1.0, positions: str = "unshifted", dropout: float = 0.0
) -> "Prefix | MLPPrefix":
    """A prefix to be trained: behind an MLP `mid` wide, or plain random numbers of deviation `scale` where that is 0.

    Raises:
        CannotAttach: a family without a way in for prefixes.
        SettingError: a length below 0, or that leaves no room.
    """
    if mid:
        return mlp_prefix(lm, length, mid=mid, seed=seed, positions=positions, dropout=dropout)
    return normal(lm, length, seed=seed, scale=scale, positions=positions, dropout=dropout)


def flat(part: Part) -> Prefix:
    """What is kept of a prefix, however it is trained."""
    return cast(Prefix | MLPPrefix, part).flat()


def origin(part: Part) -> dict[str, str | int]:
    """What a history notes of the prefix that training starts from: its hash, and the width of its MLP or 0."""
    mid = next(iter(part.mlps.values()))[0].out_features if isinstance(part, MLPPrefix) else 0  # type: ignore[index]
    return {"start": digest(part), "mlp": int(mid)}


class Encoder(nn.Module):
    """P-tuning's prompt encoder: a table Z [length, width] to vectors [length, width].

    Liu et al. 2021, arXiv:2103.10385; sizes by the released code. "lstm": two layers of a bidirectional LSTM of half
    the width a direction, then linear, ReLU, linear; "wide_lstm": the whole width a direction; "mlp": no LSTM.
    """

    def __init__(self, kind: Kind, *, length: int, width: int) -> None:
        """Z drawn from N(0, 1), the rest as torch begins it, from torch's global generator: see `encoded`."""
        super().__init__()
        if kind == "lstm" and width % 2:
            raise SettingError(f"an LSTM of half the width {width} a direction can't be", hint='use "wide_lstm"')
        self.kind = kind
        self.table = nn.Parameter(torch.randn(length, width))
        size = {"lstm": width // 2, "wide_lstm": width, "mlp": 0}[kind]
        self.lstm = nn.LSTM(width, size, num_layers=2, bidirectional=True, batch_first=True) if size else None
        self.mlp = nn.Sequential(nn.Linear(2 * size or width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self) -> Float[Tensor, "length width"]:
        """Vectors of all pseudo tokens."""
        found: Tensor = self.mlp(self.table if self.lstm is None else self.lstm(self.table[None])[0][0])
        return found


class Encoded(nn.Module):
    """A stretch of an encoder's vectors, wherever the template names the part; several parts may share one encoder."""

    kind: ClassVar[str] = "encoded"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "inputs"
    ids: ClassVar[None] = None

    def __init__(self, encoder: Encoder, start: int, stop: int) -> None:
        """Vectors [start, stop) of what the encoder, which is not copied, makes."""
        super().__init__()
        self.encoder, self.start, self.stop = encoder, start, stop

    @property
    def length(self) -> int:
        """Positions it takes."""
        return self.stop - self.start

    def vectors(self, lm: LM, rows: Sequence[Row]) -> Float[Tensor, "length width"]:
        """The same for every row. Raises CannotAttach where they are of another width than the model's."""
        width = self.encoder.table.shape[1]
        if width != lm.width:
            raise CannotAttach(
                f"vectors {width} wide don't fit {lm.name}, whose are {lm.width} wide",
                hint="they were learned on another model",
            )
        found: Tensor = self.encoder()
        return found[self.start : self.stop]

    def flat(self) -> Vectors:
        """The vectors alone, the encoder dropped."""
        with torch.no_grad():
            return Vectors(self.encoder()[self.start : self.stop])

    def config(self) -> dict[str, Any]:
        """The encoder's kind, and which stretch of its vectors."""
        return {"encoder": self.encoder.kind, "start": self.start, "stop": self.stop}

    def tensors(self) -> Mapping[str, Tensor]:
        """The encoder's."""
        return {name: one.detach().cpu() for name, one in self.encoder.state_dict().items()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Encoded":
        """The part again, with an encoder of its own."""
        length, width = tensors["table"].shape
        with torch.random.fork_rng(devices=[]):  # what is drawn here is written over
            encoder = Encoder(config["encoder"], length=length, width=width)
        encoder.load_state_dict(dict(tensors))
        return cls(encoder, config["start"], config["stop"])


def encoded(lm: LM, kind: Kind, lengths: Mapping[str, int], *, seed: int) -> dict[str, Encoded]:
    """A part a name, that many vectors each, all of one sequence in this order through one encoder.

    Raises:
        SettingError: no vectors at all or at some place, or more than leave room; a width the encoder can't have.
    """
    if not lengths or min(lengths.values()) < 1:
        raise SettingError(
            f"an encoder of no vectors: {dict(lengths)}", hint="use 1 or more, or a template without parts"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(kind, length=checked(lm, sum(lengths.values())), width=lm.width)
    made, at = {}, 0
    for name, length in lengths.items():
        made[name] = Encoded(encoder, at, at + length)
        at += length
    return made

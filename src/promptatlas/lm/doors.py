"""The five doors into a model: splice, prefix, override, hook, narrow.

Hooks are installed once, when a model is loaded, and read a context variable: a model may serve several threads, and a
pass without anything in flight is the plain model. What swaps tensors takes the model's one lock.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import signature
from threading import RLock
from typing import Any, cast

import torch
from torch import Tensor, nn

from promptatlas.lm import byhand
from promptatlas.lm.sheet import Pack


@dataclass
class Splice:
    """Vectors to put among the input vectors: `table[index]` wherever `where` holds."""

    table: Tensor  # [vectors, width]
    index: Tensor  # [rows, length]
    where: Tensor  # [rows, length]
    done: bool = False  # the row goes in once; a generating pass comes back with single tokens


@dataclass
class Prefixes:
    """Keys and values in front, a layer: [rows or 1, heads, length, dim] each, and which of them a row sees."""

    layers: Sequence[tuple[Tensor, Tensor]]
    seen: Tensor | None  # [rows, length]; None: every row sees all
    count: int = 0  # attention calls so far, where layers share one module


@dataclass
class Points:
    """What the head is to compute: columns (a choice of the vocabulary, learned rows) at points of the batch."""

    rows: Tensor  # [points]
    positions: Tensor  # [points]
    ids: Tensor | None  # [asked]; None: nothing of the vocabulary, unless `all_ids`
    all_ids: bool
    against: Sequence[tuple[Tensor, Tensor | None, Tensor]] = ()  # rows, biases, which points they are for
    chosen: Tensor | None = None  # [points]; a token a point whose log-probability is all that is wanted
    states: Tensor | None = None  # filled in: what entered the head at the points
    logp: Tensor | None = None  # filled in: [points], where tokens were chosen


@dataclass
class Flight:
    """What is in flight through a model in one pass."""

    splice: Splice | None = None
    prefixes: Mapping[str, Prefixes] = field(default_factory=dict)
    points: Points | None = None
    after: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    pack: Pack | None = None  # how lines lie in one row (the decoder's, in a seq2seq model)
    positions: Tensor | None = None  # [1, total], for models that aren't told them
    cross: Pack | None = None  # the same of the encoder's states that a decoder looks at
    # filled in: keys and values of each layer, [rows, heads, length, dim]; the pass ends once there are `enough`
    record: list[tuple[Tensor, Tensor]] | None = None
    enough: int = 0
    layers: Any = None  # see `blocks.Layers`
    keep: bool = False  # whether the body's last states are wanted
    shift: int = 0  # positions the text is moved by, to stand behind a prefix that counts as so many
    kept: Tensor | None = None  # filled in: [rows, length, hidden]


class Stopped(Exception):
    """A pass ended early, as it was to."""


FLIGHT: ContextVar[Flight | None] = ContextVar("FLIGHT", default=None)
RECORD: ContextVar[list[tuple[nn.Module, Tensor, int]] | None] = ContextVar("RECORD", default=None)


@contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Passes inside the block carry `flight`."""
    token = FLIGHT.set(flight)
    try:
        yield flight
    finally:
        FLIGHT.reset(token)


def install_splice(embedding: nn.Module) -> None:
    """Let passes replace input vectors at chosen positions; ids go on into the model as they are."""

    def spliced(_module: nn.Module, _args: tuple[Any, ...], out: Tensor) -> Tensor:
        flight = FLIGHT.get()
        splice = flight.splice if flight else None
        if splice is None or splice.done:
            return out
        splice.done = True
        return torch.where(
            splice.where[..., None], nn.functional.embedding(splice.index, splice.table).to(out.dtype), out
        )

    embedding.register_forward_hook(spliced)


def install_head(head: nn.Module, extra: Tensor | None) -> None:
    """Let passes read the output projection at chosen points against chosen rows.

    The model's own post-processing still runs on what comes out, a [1, points, columns] tensor. `extra` is a bias a
    family adds behind the projection over the whole vocabulary; it is added here instead.
    """
    plain = head.forward

    def some(states: Tensor, ids: Tensor) -> Tensor:
        weight, bias = cast(Tensor, head.weight), cast(Tensor | None, head.bias)
        found = nn.functional.linear(states, weight[ids], None if bias is None else bias[ids])
        return found if extra is None else found + extra[ids]

    def narrowed(states: Tensor) -> Tensor:
        flight = FLIGHT.get()
        points = flight.points if flight else None
        if points is None:
            out: Tensor = plain(states)
            return out if extra is None else out + extra
        at = states[points.rows, points.positions]  # [points, head]
        points.states = at
        if points.chosen is not None:
            weight, bias = cast(Tensor, head.weight), cast(Tensor | None, head.bias)
            added = extra if bias is None else bias if extra is None else bias + extra
            points.logp = byhand.chosen(at, weight, added, points.chosen)
            return at[:, :0][None]
        columns = []
        if points.all_ids:
            columns.append(plain(at) if extra is None else plain(at) + extra)
        elif points.ids is not None:
            columns.append(some(at, points.ids))
        if points.against:
            columns.append(_learned(at, points.against))
        return (torch.cat(columns, -1) if columns else at[:, :0])[None]  # [1, points, columns]

    head.forward = narrowed


def _learned(at: Tensor, against: Sequence[tuple[Tensor, Tensor | None, Tensor]]) -> Tensor:
    """[points, most rows]: every point against the learned rows that are for it alone."""
    found = [
        nn.functional.linear(at if len(which) == len(at) else at[which], vectors.to(at.dtype), bias)
        for vectors, bias, which in against
    ]
    if len(found) == 1 and len(found[0]) == len(at):
        return found[0]
    most = max(one.shape[1] for one in found)
    rows = torch.cat([nn.functional.pad(one, (0, most - one.shape[1])) for one in found])
    return at.new_zeros(len(at), most).index_copy(0, torch.cat([which for _, _, which in against]), rows.to(at.dtype))


def install_positions(model: nn.Module) -> bool:
    """Let packed passes say where tokens stand to models that would count them themselves.

    Returns whether the model goes by a bias of distances, made for all pairs of positions.
    """
    biased = False
    for module in model.modules():
        if hasattr(module, "compute_bias") and hasattr(module, "relative_attention_bias"):
            module.__dict__["compute_bias"] = _distances(cast(Callable[..., Tensor], module.compute_bias))
            biased = True
        elif isinstance(module, nn.Embedding) and "position_ids" in signature(module.forward).parameters:
            module.forward = _positions(module.forward)  # type: ignore[method-assign]
    return biased


def _distances(plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def biased(queries: int, keys: int, device: Any = None, past_seen_tokens: Any = 0) -> Tensor:
        flight = FLIGHT.get()
        pack = flight.pack if flight else None
        shift = flight.shift if flight else 0
        if pack is None:
            return plain(queries, keys + shift, device=device, past_seen_tokens=past_seen_tokens + shift)
        longest = pack.index.shape[1]
        bias = plain(longest, longest + shift, device=device, past_seen_tokens=shift)
        if pack.depths is None:
            return bias  # [1, heads, longest, shift + longest]
        front = torch.arange(shift, device=bias.device).expand(len(pack.depths), -1)
        seen = torch.cat([front, pack.depths + shift], -1)
        return bias[0].permute(1, 2, 0)[pack.depths[:, :, None], seen[:, None, :]].permute(0, 3, 1, 2)

    return biased


def _positions(plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def placed(*args: Any, **settings: Any) -> Tensor:
        flight = FLIGHT.get()
        if flight is None or flight.positions is None:
            return plain(*args, **settings)
        return plain(args[0], position_ids=flight.positions[0] + flight.shift)

    return placed


def install_body(body: nn.Module, reserved: int) -> None:
    """Let passes move the text's positions, and keep the body's last states, which the head alone sees otherwise.

    `reserved` is what positions count from where the model counts them itself.
    """

    def moved(_module: nn.Module, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        flight = FLIGHT.get()
        if flight is None or not flight.shift or not movable:
            return None
        positions = settings.get("position_ids")
        if positions is None:
            ids = args[0] if args else settings["input_ids"]
            past = settings.get("past_key_values")
            first = reserved + (past.get_seq_length() if past is not None else 0)
            positions = torch.arange(first, first + ids.shape[1], device=ids.device)[None]
        return args, settings | {"position_ids": positions + flight.shift}

    def kept(_module: nn.Module, _args: tuple[Any, ...], out: Any) -> None:
        flight = FLIGHT.get()
        if flight and flight.keep:
            flight.kept = out[0]

    movable = "position_ids" in signature(body.forward).parameters
    body.register_forward_pre_hook(moved, with_kwargs=True)
    body.register_forward_hook(kept)


def install_after(name: str, module: nn.Module) -> None:
    """Let passes act on what a module puts out (a tensor, or a tuple that starts with one)."""

    def acted(_module: nn.Module, _args: tuple[Any, ...], out: Any) -> Any:
        flight = FLIGHT.get()
        act = flight.after.get(name) if flight else None
        if act is None:
            return out
        return (act(out[0]), *out[1:]) if isinstance(out, tuple) else act(out)

    module.register_forward_hook(acted)


class Weights:
    """A model's parameters by name, every place each stands in (ties), and the lock that guards swapping them."""

    def __init__(self, model: nn.Module) -> None:
        """Find every name and place of every parameter."""
        self.lock = RLock()
        places: dict[int, list[tuple[nn.Module, str]]] = {}
        self.names: dict[str, nn.Parameter] = dict(model.named_parameters())
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    places.setdefault(id(parameter), []).append((module, name))
        self.places = {name: places[id(parameter)] for name, parameter in self.names.items()}

    @contextmanager
    def swapped(self, overrides: Mapping[str, Tensor]) -> Iterator[None]:
        """Other values for some parameters inside the block; gradients reach them.

        An attribute of the instance hides the module's parameter, so nothing of the model is written to. Every pass
        holds the lock, one that swaps nothing too: it must not meet another thread's values.
        """
        with self.lock:
            try:
                for name, tensor in overrides.items():
                    for module, attribute in self.places[name]:
                        module.__dict__[attribute] = tensor
                yield
            finally:
                for name in overrides:
                    for module, attribute in self.places[name]:
                        module.__dict__.pop(attribute, None)

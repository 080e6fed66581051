"""A language model of this machine, over transformers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach
from promptatlas.lm import encode as encoding
from promptatlas.lm import engine, room, ways
from promptatlas.lm.ask import Decode, Hidden, Job, Reading, Text
from promptatlas.lm.attention import Attention, find
from promptatlas.lm.blocks import install
from promptatlas.lm.cost import Spent
from promptatlas.lm.doors import (
    Flight,
    Points,
    Weights,
    flying,
    install_after,
    install_body,
    install_head,
    install_positions,
    install_splice,
)
from promptatlas.lm.family import Family
from promptatlas.lm.generate import generate
from promptatlas.lm.kept import Kept
from promptatlas.lm.kind import Layout
from promptatlas.lm.lm import Kind
from promptatlas.lm.places import Spot, spots
from promptatlas.lm.row import Row
from promptatlas.lm.shift import check_shift, shift
from promptatlas.lm.site import ActivationsPart, InputsPart, Part, WeightsPart
from promptatlas.lm.tokens import Tokenizer
from promptatlas.text.runs import Before, Runs, TextRun

CHUNK = 1024  # jobs a stream holds at a time
KEPT = 1 << 28  # bytes of what outlives a read


class LocalLM:
    """An LM over a transformers model; see `lm.LM` for the five verbs.

    The model is frozen and in evaluation mode for good.

    Attributes:
        budget: positions of one pass, padding counted; from the free memory where it isn't given.
        left: pad causal rows on the left.
        checkpointing: where gradients are wanted, keep what enters each layer alone, and run layers again for the rest:
            less memory for more time.
        kept: what outlives a read; its `limit` is in bytes.
        spent: what the model has been made to read so far.
        reach: how many tokens every layer looks back at least.
        biased: whether it goes by a bias of distances between all pairs of positions.
    """

    def __init__(
        self, model: Any, tokenizer: Tokenizer, *, name: str, kind: Kind, family: Family, layout: Layout, window: int,
        weights_hash: Any, budget: int | None = None, left: bool = False, checkpointing: bool = False,
    ) -> None:  # fmt: skip
        """Install the doors; use `load` rather than this."""
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer, self.name, self.window = tokenizer, name, window
        self.kind: Kind = kind
        self.left = left and kind == "causal"
        self.family, self.layout, self._weights_hash = family, layout, weights_hash
        self._rows = encoding.Rows()
        self.kept, self.spent, self.checkpointing = Kept(KEPT), Spent(), checkpointing
        self.reach = ways.reach(model.config)
        # an encoder may embed by a module of its own, tied to the model's by its weight alone
        self._embedding: Any = (model.get_encoder() if kind == "seq2seq" else model).get_input_embeddings()
        self._head: Any = model.get_output_embeddings()
        self.width: int = self._embedding.weight.shape[1]
        self.head: int = self._head.weight.shape[1]
        # OPT-350m projects its states
        self.hidden = int(getattr(model.config, "word_embed_proj_dim", model.config.hidden_size))
        self.weights = Weights(model)
        self._scale = _scale(self._embedding, tokenizer.filler)
        self._hooked: set[str] = set()
        self.budget = room.budget(self) if budget is None else budget
        install_splice(self._embedding)
        install_body(self.body, family.reserved if kind == "masked" else 0)
        self.biased = install_positions(model)
        extra = getattr(model, "final_logits_bias", None)
        if extra is not None:  # as wide as the vocabulary, added behind the head: the head adds it, the model a zero
            model.final_logits_bias = extra.new_zeros(1, 1)
            extra = extra[0]
        install_head(self._head, extra)

    @cached_property
    def device(self) -> torch.device:
        """Where the model is."""
        return _own_weight(self._head).device

    @property
    def dtype(self) -> str:
        """Of the weights."""
        return str(self._head.weight.dtype).removeprefix("torch.")

    @cached_property
    def can(self) -> frozenset[str]:
        """What the model offers; "prefix" and "generate" depend on the family."""
        offers = {"logits", "vocabulary", "vectors", "hidden", "gradient", "weights"}
        offers |= {"generate"} if self.kind != "masked" else set()
        offers |= {"prefix"} if self.attention.layers else set()
        return frozenset(offers)

    @cached_property
    def body(self) -> nn.Module:
        """The model without its head: what hands on the last states (a seq2seq model's encoder is asked on its own)."""
        return cast(nn.Module, self.model.get_decoder() if self.kind == "causal" else self.model.base_model)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Hashes of weights and tokenizer."""
        return {"weights": self._weights_hash(), "tokenizer": self.tokenizer.hash}

    @cached_property
    def attention(self) -> Attention:
        """Attention layers by place, as prefixes need them; found by one tiny pass."""
        return find(self)

    @cached_property
    def fast(self) -> ways.Found:
        """Which fast ways of reading this model may take, and why not the others."""
        with self.weights.lock:
            mine = self.spent, self.kept
            self.spent, self.kept = Spent(), Kept(KEPT)  # what is tried out counts for nothing
            try:
                return ways.find(self, engine.read_by)
            finally:
                self.spent, self.kept = mine

    @cached_property
    def blocks(self) -> list[str]:
        """Names of the model's layers; none where they can't be told apart."""
        return install(self) if self.attention.layers else []

    @cached_property
    def bare(self) -> bool:
        """Whether logits are what the head puts out: nothing is done to them behind it (a cap, a scale)."""
        one = torch.tensor([[self.tokenizer.filler]], device=self.device)
        fed = {"decoder_input_ids": one} if self.kind == "seq2seq" else {}
        zero = one[0] * 0
        points = Points(zero, zero, None, all_ids=True)
        with torch.no_grad(), self.weights.swapped({}):
            with flying(Flight(points=points)):
                out = self.model(input_ids=one, **fed).logits[0]
            return bool(torch.equal(out, self._head(points.states)))

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of the tokenizer's own marks."""
        return self.tokenizer.special

    @cached_property
    def mask(self) -> int | None:
        """Id of the mask token."""
        return self.tokenizer.mask

    @cached_property
    def vectors(self) -> Float[Tensor, "vocab width"]:
        """The input vectors, as they enter the model (scaled where the family scales them)."""
        weight = _own_weight(self._embedding)
        return weight if self._scale is None else weight * self._scale

    @cached_property
    def outputs(self) -> Float[Tensor, "vocab head"]:
        """The rows of the output projection."""
        return _own_weight(self._head)

    @cached_property
    def parameters(self) -> Mapping[str, Tensor]:
        """The model's parameters by name."""
        return self.weights.names

    def prefixes(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """Attention a prefix can stand before; see `lm.LM.prefixes`."""
        if not self.attention.layers:
            why = self.family.prefix or "its attention is not reached through the attention interface"
            raise CannotAttach(
                f"a prefix can't be put before the attention of {self.model.config.model_type}: {why}",
                hint="use vectors at the input (`prompt_tuning`), or another family of model",
            )
        return self.attention.layers

    def places(self, what: str) -> list[Spot]:
        """Where projections of one name stand among the parameters, layer by layer: see `places`."""
        return spots(self.weights.names, self.model, what)

    def encode(
        self, runs: Sequence[Runs], parts: Mapping[str, Part], *, widths: Mapping[str, int] | None = None, room: int = 0
    ) -> list[Row]:
        """Rows of these runs; see `lm.LM.encode`. The same runs again are not tokenised again."""
        inputs = {name: cast(InputsPart, part) for name, part in parts.items() if part.site == "inputs"}
        lengths = {name: encoding.taken(part) for name, part in inputs.items()}
        # these write the answer after the text, in the same window
        free = self.window - (room if self.kind == "causal" or self.layout.fill == "infill" else 0)
        free -= shift(parts) if self.kind != "seq2seq" else 0
        return self._rows.encode(runs, self.tokenizer, self.layout, lengths, widths=widths or {}, window=free)

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        """A reading a job, in order; see `lm.LM.read`."""
        self._check(jobs)
        return engine.read(self, jobs)

    def stream(self, jobs: Iterable[Job]) -> Iterator[Reading]:
        """The same over any number of jobs, in constant memory."""
        rest = iter(jobs)
        while chunk := list(islice(rest, CHUNK)):
            yield from self.read(chunk)

    def generate(self, jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
        """Texts a job; see `lm.LM.generate`."""
        self._check(jobs)
        return generate(self, jobs, how)

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
        """Mean last state, unit length, on the CPU; zeros for an empty text."""
        rows = self.encode([(TextRun(text, field="text"),) for text in texts], {})
        with torch.no_grad():
            states = [
                read[0].values[0].float().cpu() for read in self.stream(Job(row, (Hidden(at="mean"),)) for row in rows)
            ]
        if not states:
            return torch.zeros(0, self.hidden)
        full = torch.tensor([bool(self.tokens(text)) for text in texts])[:, None]
        return nn.functional.normalize(torch.stack(states), dim=-1) * full

    def word(self, word: str, before: Before) -> tuple[int, ...]:
        """The tokens of a word in place."""
        return self.tokenizer.word(word, before)

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text on its own."""
        return self.tokenizer.tokens(text)

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self.tokenizer.text(ids)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The tokenizer's own spelling of each token."""
        return self.tokenizer.pieces(ids)

    def _check(self, jobs: Sequence[Job]) -> None:
        if any(part.site == "attention" for job in jobs for part in job.parts.values()):
            self.prefixes()
        for parts in {id(job.parts): job.parts for job in jobs}.values():
            check_shift(self, parts)

    def touching(self, parts: Mapping[str, Part]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Overrides and hooks of the parts, checked against each other and the model."""
        overrides: dict[str, Tensor] = {}
        after: dict[str, Any] = {}
        for name, part in parts.items():
            if part.site == "weights":
                more = cast(WeightsPart, part).overrides(self)
                clash = sorted(overrides.keys() & more.keys())
                if clash:
                    raise CannotAttach(
                        f"part `{name}` and another part both replace `{clash[0]}`", hint="keep one of them"
                    )
                overrides |= {key: value.to(self.device) for key, value in more.items()}
            if part.site == "activations":
                for place, act in cast(ActivationsPart, part).after(self).items():
                    if place.module in after:
                        raise CannotAttach(
                            f"part `{name}` and another part both act on `{place.module}`", hint="keep one of them"
                        )
                    after[self._hook(place.module)] = act
        return overrides, after

    def _hook(self, module: str) -> str:
        with self.weights.lock:  # two threads must not both install it
            if module not in self._hooked:
                install_after(module, self.model.get_submodule(module))
                self._hooked.add(module)
        return module


def _own_weight(module: nn.Module) -> Tensor:
    """The model's own weight, also while another value stands in its place."""
    return cast(Tensor, module._parameters["weight"]).detach()


def _scale(embedding: nn.Module, token: int) -> float | None:
    """What a family multiplies its input vectors by as they leave the embedding; None where nothing."""
    weight = _own_weight(embedding)
    with torch.no_grad():
        out = embedding(torch.tensor([[token]], device=weight.device))[0, 0]
    scale = float(out.float().norm() / weight[token].float().norm())
    return scale if abs(scale - 1) > 1e-3 else None

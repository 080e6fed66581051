"""The examples of a pool that are nearest to a query, by the vectors of their texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, get_args
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.pool import Pool, check_count, from_json, to_json
from promptatlas.demos.room import Drop
from promptatlas.errors import DataError, NeedsError, SettingError, near
from promptatlas.lm.lm import LM

Metric = Literal["cosine", "euclidean"]
Order = Literal["nearest_first", "nearest_last"]
CHUNK = 512  # queries compared with the whole pool at a time
DECIMALS = 9  # what differs by less is a tie
EMBED = "embed the pool with the model that is asked: Nearest.over(lm, examples, k=...)"


class Neighbours(NamedTuple):
    """The nearest first: where in the pool they are, and how near: cosines, or negative distances (more is nearer)."""

    indices: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """The k examples nearest to each query (Liu et al. 2021, arXiv:2101.06804). Ties go to the one earlier in the pool.

    Attributes:
        pool: what is chosen from.
        vectors: of the pool's texts.
        k: how many; fewer only where too many of the pool are left out.
        metric: "cosine" (0 for a text without a vector), or "euclidean".
        order: "nearest_first" puts the nearest farthest from the query, as the paper does, "nearest_last" next to it.
        fields: whose texts, joined by blanks, were embedded.
        encoder: name and hashes of the model that did it; it has to be the one that is asked. Empty: any.
        dedupe: leave out what says the same as the query or as an earlier one.
    """

    kind: ClassVar[str] = "nearest"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = False

    pool: tuple[Example, ...]
    vectors: Float[Tensor, "examples hidden"]
    k: int
    metric: Metric = "cosine"
    order: Order = "nearest_first"
    fields: tuple[str, ...]
    encoder: Mapping[str, str] = field(default_factory=dict)
    dedupe: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that can't be met."""
        check_count(self.k, len(self.pool))
        for name, value, values in (("metric", self.metric, get_args(Metric)), ("order", self.order, get_args(Order))):
            if value not in values:
                raise SettingError(f"`{name}` can't be `{value}`", hint=near(value, values))
        if len(self.vectors) != len(self.pool):
            raise SettingError(f"{len(self.vectors)} vectors for {len(self.pool)} examples", hint="give one an example")

    @classmethod
    def over(
        cls,
        lm: LM,
        examples: Sequence[Example],
        *,
        k: int,
        metric: Metric = "cosine",
        order: Order = "nearest_first",
        fields: Sequence[str] | None = None,
        dedupe: bool = False,
    ) -> "Nearest":
        """Over these examples, embedded by the model; by all their fields of text where `fields` isn't given.

        Raises:
            SettingError: k is more than there are examples.
            DataError: an example lacks a field.
        """
        check_count(k, len(examples))
        names = tuple(fields) if fields is not None else _fields_of_text(examples)
        vectors = _embedded(lm, [_joined(example, names) for example in examples])
        encoder = {"name": lm.name, **lm.identity}
        return cls(
            pool=tuple(examples), vectors=vectors, k=k, metric=metric, order=order, fields=names, encoder=encoder,
            dedupe=dedupe,
        )  # fmt: skip

    @property
    def drop(self) -> Drop:
        """The end where the least similar stand."""
        return "last" if self.order == "nearest_first" else "first"

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """Each query's nearest, in the order shown."""
        step = 1 if self.order == "nearest_first" else -1
        return [[self.pool[i] for i in found.indices[::step]] for found in self.neighbours(lm, examples)]

    def neighbours(self, lm: LM, examples: Sequence[Example]) -> list[Neighbours]:
        """Each query's nearest and how near they are, so that one may ask for more than nearness in rank.

        Raises:
            NeedsError: another model embedded the pool.
            DataError: a query lacks a field.
        """
        if self.k == 0 or not examples:
            return [Neighbours((), ()) for _ in examples]
        self._check(lm)
        texts = [_joined(example, self.fields) for example in examples]
        left_out = [self._left_out(example, text) for example, text in zip(examples, texts, strict=True)]
        rows = self._similarities(self._fitting(lm, _embedded(lm, texts)))
        return [self._nearest(row, some) for row, some in zip(rows, left_out, strict=True)]

    def config(self) -> dict[str, Any]:
        """Its fields, but for the vectors."""
        return {
            "pool": [to_json(one) for one in self.pool],
            "k": self.k,
            "metric": self.metric,
            "order": self.order,
            "fields": list(self.fields),
            "encoder": dict(self.encoder),
            "dedupe": self.dedupe,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """The vectors."""
        return {"vectors": self.vectors}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Nearest":
        """The same again."""
        pool, fields = tuple(from_json(one) for one in config["pool"]), tuple(config["fields"])
        return cls(**{**config, "pool": pool, "fields": fields, "vectors": tensors["vectors"]})

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.pool)

    @cached_property
    def _by_text(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        for i, example in enumerate(self.pool):
            found.setdefault(_joined(example, self.fields), []).append(i)
        return found

    @cached_property
    def _repeated(self) -> frozenset[int]:
        return frozenset(i for some in self._by_text.values() for i in some[1:])

    @cached_property
    def _compared(self) -> Float[Tensor, "examples hidden"]:
        return self._to_compare(self.vectors)

    def _to_compare(self, vectors: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples hidden"]:
        """In float64, and under "cosine" of unit length: then the cosine of nothing is 0."""
        wide = vectors.double()
        if self.metric == "euclidean":
            return wide
        if (wide == 0).all(-1).any():
            warn("a text has no vector, so its cosine to every other is 0; is it empty?", stacklevel=2)
        return torch.nn.functional.normalize(wide, dim=-1, eps=1e-12)

    def _similarities(self, queries: Float[Tensor, "examples hidden"]) -> Iterator[Float[Tensor, " pool"]]:
        """Of each query to the whole pool."""
        for chunk in torch.split(self._to_compare(queries), CHUNK):
            if self.metric == "cosine":
                similar = chunk @ self._compared.T
            else:
                similar = -torch.cdist(chunk, self._compared, compute_mode="donot_use_mm_for_euclid_dist")
            yield from similar.round(decimals=DECIMALS)

    def _left_out(self, query: Example, text: str) -> frozenset[int]:
        own = self._pool.own(query)
        return own.union(self._by_text.get(text, ()), self._repeated) if self.dedupe else own

    def _nearest(self, similar: Float[Tensor, " pool"], left_out: frozenset[int]) -> Neighbours:
        similar[list(left_out)] = -torch.inf
        count = min(self.k, len(self.pool) - len(left_out))
        if count == 0:
            return Neighbours((), ())
        near_enough = (similar >= similar.topk(count).values[-1]).nonzero()[
            :, 0
        ]  # more than `count` where there are ties
        ranked, order = similar[near_enough].sort(descending=True, stable=True)
        return Neighbours(tuple(near_enough[order[:count]].tolist()), tuple(ranked[:count].tolist()))

    def _check(self, lm: LM) -> None:
        if any(self.encoder.get(what, lm.identity[what]) != lm.identity[what] for what in ("weights", "tokenizer")):
            raise NeedsError(f"{self._embedded_by}, and this model is `{lm.name}`", hint=EMBED)

    def _fitting(self, lm: LM, queries: Float[Tensor, "examples width"]) -> Float[Tensor, "examples width"]:
        if queries.shape[1] != self.vectors.shape[1]:
            widths = f"{self.vectors.shape[1]} numbers a text, where `{lm.name}` gives {queries.shape[1]}"
            raise NeedsError(f"{self._embedded_by} as {widths}", hint=EMBED)
        return queries

    @property
    def _embedded_by(self) -> str:
        return f"the pool of demonstrations was embedded by `{self.encoder.get('name', 'another model')}`"


def _embedded(lm: LM, texts: Sequence[str]) -> Float[Tensor, "examples hidden"]:
    """A vector a text; equal texts are embedded once, so that theirs are equal to the last bit."""
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return lm.embed(list(distinct))[[distinct[text] for text in texts]]


def _fields_of_text(examples: Sequence[Example]) -> tuple[str, ...]:
    return tuple(name for name, value in examples[0].fields.items() if isinstance(value, str)) if examples else ()


def _joined(example: Example, names: Sequence[str]) -> str:
    return " ".join(_text(example, name) for name in names)


def _text(example: Example, name: str) -> str:
    value = example.fields.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    what = "no text in field" if name in example.fields else "no field"
    raise DataError(
        f"an example has {what} `{name}`, by which neighbours are looked for", hint=near(name, example.fields)
    )

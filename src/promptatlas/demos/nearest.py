"""The examples of a pool that are nearest to a query, by the vectors of their texts or the words they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, get_args
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.encoder import by_name, embedded, found, identified, same
from promptatlas.demos.lexical import Lexical
from promptatlas.demos.pool import Pool, check_count, from_json, in_turns, to_json
from promptatlas.demos.room import Drop
from promptatlas.demos.said import said, text_fields
from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.lm.lm import LM

Metric = Literal["cosine", "euclidean", "bm25"]
Order = Literal["nearest_first", "nearest_last"]
CHUNK = 512  # queries compared with the whole pool at a time
DECIMALS = 9  # what differs by less is a tie
EMBED = "embed the pool with the model that is asked: Nearest.over(lm, examples, k=...)"


class Neighbours(NamedTuple):
    """The nearest first: where in the pool, and how near: cosines, negative distances or BM25 (more is nearer)."""

    indices: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """The k examples nearest to each query (Liu et al. 2021, arXiv:2101.06804). Ties go to the one earlier in the pool.

    Attributes:
        pool: what is chosen from.
        vectors: of the pool's texts; under "bm25" of no number each, and the words are counted again when loaded.
        k: how many; fewer only where too many of the pool are left out.
        metric: "cosine" (0 for a text without a vector) or "euclidean" of vectors, or "bm25" of shared words.
        order: "nearest_first" puts the nearest farthest from the query, as the paper does, "nearest_last" next to it.
        fields: whose texts, joined by blanks, were embedded.
        encoder: name and hashes of the model that embedded them. Empty: any.
        apart: whether that is another model than the one that is asked, to be loaded by its name.
        balanced: the nearest of each target in turns, as many of each as can be.
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
    apart: bool = False
    balanced: bool = False
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
        by: str = "",
        balanced: bool = False,
        dedupe: bool = False,
    ) -> "Nearest":
        """Over these examples, embedded by the model; by all their fields of text where `fields` isn't given.

        With `by` another language model embeds, given by name or folder; "bm25" embeds nothing.

        Raises:
            SettingError: k is more than there are examples, or a model that is to embed under "bm25".
            DataError: an example lacks a field.
            LoadError: there is no model `by`.
        """
        check_count(k, len(examples))
        if by and metric == "bm25":
            raise SettingError(f"`{by}` embeds nothing under metric=bm25", hint="leave the encoder or the metric out")
        names = tuple(fields) if fields is not None else text_fields(examples)
        texts = [said(example, names) for example in examples]
        vectors, known = torch.zeros(len(texts), 0), dict[str, str]()
        if metric != "bm25":
            embedding = by_name(by, str(lm.device)) if by else lm
            vectors, known = embedded(embedding, texts), identified(embedding)
        return cls(
            pool=tuple(examples), vectors=vectors, k=k, metric=metric, order=order, fields=names, encoder=known,
            apart=bool(by), balanced=balanced, dedupe=dedupe,
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
        return [self._nearest(row) for row in self.similarities(lm, examples)]

    def similarities(self, lm: LM, examples: Sequence[Example]) -> Iterator[Float[Tensor, " pool"]]:
        """Of each query to the whole pool, in float64; -inf to what isn't shown to it: itself, and what repeats.

        Raises:
            NeedsError: another model embedded the pool.
            DataError: a query lacks a field.
        """
        texts = [said(example, self.fields) for example in examples]
        left_out = [self._left_out(example, text) for example, text in zip(examples, texts, strict=True)]
        for similar, some in zip(self._rows(lm, texts), left_out, strict=True):
            similar[list(some)] = -torch.inf
            yield similar

    def among(self, at: int) -> Float[Tensor, " pool"]:
        """Of the vector of one example of the pool to those of all."""
        return self._to_all(self._compared[at : at + 1])[0]

    def only(self, places: Sequence[int], k: int) -> "Nearest":
        """The k nearest among these examples of the pool alone."""
        pool = tuple(self.pool[at] for at in places)
        return replace(self, pool=pool, vectors=self.vectors[list(places)], k=k)

    def config(self) -> dict[str, Any]:
        """Its fields, but for the vectors."""
        return {
            "pool": [to_json(one) for one in self.pool],
            "k": self.k,
            "metric": self.metric,
            "order": self.order,
            "fields": list(self.fields),
            "encoder": dict(self.encoder),
            "apart": self.apart,
            "balanced": self.balanced,
            "dedupe": self.dedupe,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """The vectors, where there are any."""
        return {} if self.metric == "bm25" else {"vectors": self.vectors}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Nearest":
        """The same again."""
        pool, fields = tuple(from_json(one) for one in config["pool"]), tuple(config["fields"])
        vectors = torch.zeros(len(pool), 0) if config["metric"] == "bm25" else tensors["vectors"]
        return cls(**{**config, "pool": pool, "fields": fields, "vectors": vectors})

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.pool)

    @cached_property
    def _by_text(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        for i, example in enumerate(self.pool):
            found.setdefault(said(example, self.fields), []).append(i)
        return found

    @cached_property
    def _repeated(self) -> frozenset[int]:
        return frozenset(i for some in self._by_text.values() for i in some[1:])

    @cached_property
    def _compared(self) -> Float[Tensor, "examples hidden"]:
        return self._to_compare(self.vectors)

    @cached_property
    def _lexical(self) -> Lexical:
        return Lexical([said(example, self.fields) for example in self.pool])

    def _to_compare(self, vectors: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples hidden"]:
        """In float64, and under "cosine" of unit length: then the cosine of nothing is 0."""
        wide = vectors.double()
        if self.metric == "euclidean":
            return wide
        if (wide == 0).all(-1).any():
            warn("a text has no vector, so its cosine to every other is 0; is it empty?", stacklevel=2)
        return torch.nn.functional.normalize(wide, dim=-1, eps=1e-12)

    def _rows(self, lm: LM, texts: Sequence[str]) -> Iterator[Float[Tensor, " pool"]]:
        """Of each text to the whole pool."""
        if self.metric == "bm25":
            yield from (self._lexical.scores(text).round(decimals=DECIMALS) for text in texts)
            return
        for chunk in torch.split(self._to_compare(self._fitting(lm, texts)), CHUNK):
            yield from self._to_all(chunk)

    def _to_all(self, queries: Float[Tensor, "examples hidden"]) -> Float[Tensor, "examples pool"]:
        if self.metric == "cosine":
            return (queries @ self._compared.T).round(decimals=DECIMALS)
        far = torch.cdist(queries, self._compared, compute_mode="donot_use_mm_for_euclid_dist")
        return (-far).round(decimals=DECIMALS)

    def _left_out(self, query: Example, text: str) -> frozenset[int]:
        own = self._pool.own(query)
        return own.union(self._by_text.get(text, ()), self._repeated) if self.dedupe else own

    def _nearest(self, similar: Float[Tensor, " pool"]) -> Neighbours:
        there = int((similar > -torch.inf).sum())
        count = min(self.k, there)
        if count == 0:
            return Neighbours((), ())
        least = similar.topk(there if self.balanced else count).values[-1]
        near_enough = (similar >= least).nonzero()[:, 0]  # more than `count` where there are ties
        ranked = near_enough[similar[near_enough].sort(descending=True, stable=True).indices].tolist()
        if self.balanced:
            ranked = sorted(in_turns(self._grouped(ranked))[:count], key=ranked.index)
        return Neighbours(tuple(ranked[:count]), tuple(similar[ranked[:count]].tolist()))

    def _grouped(self, places: Sequence[int]) -> list[list[int]]:
        """Places in the pool by target, that of the first one first."""
        groups: dict[object, list[int]] = {}
        for at in places:
            groups.setdefault(self.pool[at].target, []).append(at)
        return list(groups.values())

    def _fitting(self, lm: LM, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
        """The queries' vectors, by the model that embedded the pool."""
        by = f"the pool of demonstrations was embedded by `{self.encoder.get('name', 'another model')}`"
        if not (self.apart or same(self.encoder, lm)):
            raise NeedsError(f"{by}, and this model is `{lm.name}`", hint=EMBED)
        embedding = found(self.encoder, lm) if self.apart else lm
        queries = embedded(embedding, texts)
        if queries.shape[1] != self.vectors.shape[1]:
            widths = f"{self.vectors.shape[1]} numbers a text, where `{embedding.name}` gives {queries.shape[1]}"
            raise NeedsError(f"{by} as {widths}", hint=EMBED)
        return queries

"""What a model is asked for label words, worked out once: which query reads which words, and where scores then are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Given, Order, Query, Reading, Tokens

Ids = tuple[int, ...]
Several = Literal["parallel", "widest", "confident", "left_to_right"]


@dataclass(frozen=True, eq=False)
class Block:
    """Words read by one query.

    Attributes:
        ids: the tokens asked for; of a word on its own, its tokens.
        at: of each token of each word, its column in `ids`, -1 behind a word's last token; None where one word is given
            as the answer.
        width: masks it is read in.
        order: in which a given answer's tokens are.
    """

    ids: Ids
    at: Int[Tensor, "tokens words"] | None
    width: int = 1
    order: Order = "parallel"

    def query(self, *, mass: bool) -> Query:
        """What is asked; with `mass`, log-probabilities can be told from it."""
        if self.at is None:
            return Query(asks=(Given(),), width=self.width, answer=self.ids, order=self.order)
        return Query(asks=(Tokens(self.ids, mass=mass),), width=self.width)

    def scores(self, readings: Sequence[Reading], *, mass: bool, mean: bool) -> Float[Tensor, "examples words"]:
        """A score a word: its token's logit, or with `mass` its tokens' log-probabilities summed (or their mean)."""
        values = torch.stack([reading[0].values for reading in readings])  # [examples, slots * tokens, asked]
        if self.at is None:
            there = values.new_ones(len(self.ids), 1, dtype=torch.bool)
            by_token = values.transpose(1, 2)  # [examples, tokens, 1]
        else:
            if values.shape[1] != len(self.at):
                slots = values.shape[1] // len(self.at)
                hint = "leave one {mask} in it"
                raise WordError(f"label words are read at one slot, and the template has {slots}", hint=hint)
            if mass:
                values = values - torch.stack([total_of(reading) for reading in readings])[..., None]
            at = self.at.to(values.device)
            there = at >= 0
            by_token = values.gather(2, at.clamp(min=0).expand(len(values), -1, -1))  # [examples, tokens, words]
        scores = by_token.masked_fill(~there, 0.0).sum(1)
        return scores / there.sum(0) if mean else scores


@dataclass(frozen=True, eq=False)
class Plan:
    """What one model is asked for these words.

    Attributes:
        tokens: label -> the tokens of each of its words.
        blocks: words by query; their columns side by side are what `place` points into.
        place: of each label's distinct words, the column; -1 where it has no more.
        weights: of each label's distinct words; 0 where it has no more.
        one_token: whether every word is one token, so that plain logits can be folded.
        raw: the queries for logits.
        massed: the queries for log-probabilities.
    """

    tokens: Mapping[str, tuple[Ids, ...]]
    blocks: tuple[Block, ...]
    place: Int[Tensor, "labels words"]
    weights: Float[Tensor, "labels words"]
    one_token: bool
    raw: tuple[Query, ...]
    massed: tuple[Query, ...]


def plan(
    tokens: Mapping[str, tuple[Ids, ...]], weights: Mapping[str, tuple[float, ...]] | None, kind: str, several: Several
) -> Plan:
    """Queries and places for words of these tokens, in a model of this kind; `several`: see `Words`."""
    distinct: dict[str, dict[Ids, float]] = {}  # label -> tokens -> weight: words that are the same tokens count once
    for label, some in tokens.items():
        kept = distinct.setdefault(label, {})
        for ids, weight in zip(some, weights[label] if weights else [1.0] * len(some), strict=True):
            kept[ids] = max(weight, kept.get(ids, 0.0))
    blocks, columns = _blocks([ids for kept in distinct.values() for ids in kept], kind, several)
    most = max(map(len, distinct.values()))
    return Plan(
        tokens=tokens,
        blocks=blocks,
        place=torch.tensor([[columns[ids] for ids in kept] + [-1] * (most - len(kept)) for kept in distinct.values()]),
        weights=torch.tensor([[*kept.values()] + [0.0] * (most - len(kept)) for kept in distinct.values()]),
        one_token=all(len(ids) == 1 for ids in columns),
        raw=tuple(block.query(mass=False) for block in blocks),
        massed=tuple(block.query(mass=True) for block in blocks),
    )


def _blocks(words: Sequence[Ids], kind: str, several: Several) -> tuple[tuple[Block, ...], dict[Ids, int]]:
    """Words by the query that reads them, and the column each is then in."""
    lengths: dict[int, list[Ids]] = {}
    for ids in words:
        lengths.setdefault(0 if kind == "masked" and several == "widest" else len(ids), []).append(ids)
    blocks: list[Block] = []
    order: list[Ids] = []
    for length, some in sorted(lengths.items()):
        order += some
        if length > 1 and kind != "masked":  # what is read at a token depends on those before it: a row a word
            blocks += [Block(ids, None) for ids in some]
        elif length > 1 and (several == "confident" or several == "left_to_right"):  # here, on those already written
            blocks += [Block(ids, None, length, several) for ids in some]
        else:
            blocks.append(_together(some))
    return tuple(blocks), {ids: at for at, ids in enumerate(order)}


def _together(words: Sequence[Ids]) -> Block:
    """Words that one query reads, in as many masks as the longest has tokens."""
    column = {token: at for at, token in enumerate(dict.fromkeys(token for ids in words for token in ids))}
    most = max(map(len, words))
    at = [[column[ids[n]] if n < len(ids) else -1 for ids in words] for n in range(most)]
    return Block(tuple(column), torch.tensor(at), most)


def total_of(reading: Reading) -> Tensor:
    """The vocabulary's log-sum at each slot. Raises SettingError where it wasn't asked for."""
    total = reading[0].total
    if total is None:
        raise SettingError("these readings can't tell probabilities", hint="give `queries` and `fold` one `mass`")
    return total

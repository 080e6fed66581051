"""What a model is asked for label words, worked out once: which query reads which words, and where scores then are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Given, Query, Reading, Tokens

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Words read by one query.

    Attributes:
        ids: the tokens asked for; of a word on its own, its tokens.
        at: of each token of each word, its column in `ids`; None where one word is given as the answer.
    """

    ids: Ids
    at: Int[Tensor, "tokens words"] | None

    def query(self, *, mass: bool) -> Query:
        """What is asked; with `mass`, log-probabilities can be told from it."""
        if self.at is None:
            return Query(asks=(Given(),), answer=self.ids)
        return Query(asks=(Tokens(self.ids, mass=mass),), width=len(self.at))

    def scores(self, readings: Sequence[Reading], *, mass: bool, mean: bool) -> Float[Tensor, "examples words"]:
        """A score a word: its token's logit, or with `mass` its tokens' log-probabilities summed (or their mean)."""
        values = torch.stack([reading[0].values for reading in readings])  # [examples, slots * tokens, asked]
        if self.at is None:
            by_token = values.transpose(1, 2)  # [examples, tokens, 1]
        else:
            if values.shape[1] != len(self.at):
                slots = values.shape[1] // len(self.at)
                hint = "leave one {mask} in it"
                raise WordError(f"label words are read at one slot, and the template has {slots}", hint=hint)
            if mass:
                values = values - torch.stack([_total(reading) for reading in readings])[..., None]
            at = self.at.to(values.device).expand(len(values), -1, -1)
            by_token = values.gather(2, at)  # [examples, tokens, words]
        return by_token.mean(1) if mean else by_token.sum(1)


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


def plan(tokens: Mapping[str, tuple[Ids, ...]], weights: Mapping[str, tuple[float, ...]] | None, kind: str) -> Plan:
    """Queries and places for words of these tokens, in a model of this kind."""
    distinct: dict[str, dict[Ids, float]] = {}  # label -> tokens -> weight: words that are the same tokens count once
    for label, some in tokens.items():
        kept = distinct.setdefault(label, {})
        for ids, weight in zip(some, weights[label] if weights else [1.0] * len(some), strict=True):
            kept[ids] = max(weight, kept.get(ids, 0.0))
    blocks, columns = _blocks([ids for kept in distinct.values() for ids in kept], kind)
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


def _blocks(words: Sequence[Ids], kind: str) -> tuple[tuple[Block, ...], dict[Ids, int]]:
    """Words by the query that reads them, and the column each is then in."""
    lengths: dict[int, list[Ids]] = {}
    for ids in words:
        lengths.setdefault(len(ids), []).append(ids)
    blocks: list[Block] = []
    order: list[Ids] = []
    for length, some in sorted(lengths.items()):
        order += some
        if length > 1 and kind != "masked":  # what is read at a token depends on those before it: a row a word
            blocks += [Block(ids, None) for ids in some]
            continue
        asked = {token: None for ids in some for token in ids}
        column = {token: at for at, token in enumerate(asked)}
        blocks.append(Block(tuple(asked), torch.tensor([[column[ids[at]] for ids in some] for at in range(length)])))
    return tuple(blocks), {ids: at for at, ids in enumerate(order)}


def _total(reading: Reading) -> Tensor:
    total = reading[0].total
    if total is None:
        raise SettingError("these readings can't tell probabilities", hint="give `queries` and `fold` one `mass`")
    return total

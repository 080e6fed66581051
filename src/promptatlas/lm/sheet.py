"""Lines as the tensors of a pass: one behind the other in a single row without padding, or a padded row each.

A packed row is right because everything a model does but attention it does token by token: attention alone has to see
lines, and the door in front of it spreads them out and gathers them again (see `doors.attend`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptatlas.lm.lines import Line

WASTE = 1.02  # padding up to this share of the tokens is cheaper than spreading and gathering


@dataclass
class Pack:
    """Where the lines of a packed row are.

    Attributes:
        index: [lines, longest], each position's place in the row (0 where there is none).
        real: [lines, longest], whether there is one.
        flat: [total], the other way: places among the lines spread out.
        depths: [lines, longest], where a line's tokens don't all follow each other: how many each follows.
        tree: [lines, 1, longest, longest], for the same: what each sees.
    """

    index: Tensor
    real: Tensor
    flat: Tensor
    depths: Tensor | None = None
    tree: Tensor | None = None

    def spread(self, states: Tensor) -> Tensor:
        """[1, heads, total, dim] to [lines, heads, longest, dim]."""
        rows, longest = self.index.shape
        found = states[0].transpose(0, 1).index_select(0, self.index.reshape(-1))
        return found.view(rows, longest, *found.shape[1:]).transpose(1, 2)

    def gather(self, states: Tensor) -> Tensor:
        """[lines, longest, heads, dim] to [1, total, heads, dim]."""
        return states.flatten(0, 1).index_select(0, self.flat)[None]


@dataclass
class Sheet:
    """Lines as tensors.

    Attributes:
        ids: [1, total], or [lines, longest].
        real: of the same shape: what isn't padding.
        positions: of the same shape, where the model wouldn't count them so itself.
        starts: of each line its row, and its first token's column.
        lengths: of each line.
        pack: how a packed row is spread.
    """

    ids: Tensor
    real: Tensor
    positions: Tensor | None
    starts: Sequence[tuple[int, int]]
    lengths: Sequence[int]
    pack: Pack | None = None

    def at(self, line: int, token: int) -> tuple[int, int]:
        """Row and column of a line's token."""
        row, column = self.starts[line]
        return row, column + token


def padded(rows: Sequence[Sequence[int]], fill: int, *, left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """[rows, length] of ids, and [rows, length] of what is real."""
    length = max(map(len, rows))
    pads = [[fill] * (length - len(row)) for row in rows]
    ids = torch.tensor(
        [[*pad, *row] if left else [*row, *pad] for pad, row in zip(pads, rows, strict=True)], device=device
    )
    sizes = torch.tensor([len(row) for row in rows], device=device)[:, None]
    at = torch.arange(length, device=device)[None]
    return ids, (at >= length - sizes if left else at < sizes)


def padded_sheet(rows: Sequence[Sequence[int]], fill: int, *, left: bool, device: torch.device) -> Sheet:
    """A row each."""
    ids, real = padded(rows, fill, left=left, device=device)
    length = ids.shape[1]
    starts = [(i, length - len(row) if left else 0) for i, row in enumerate(rows)]
    positions = (real.long().cumsum(-1) - 1).clamp(min=0) if left else None
    return Sheet(ids, real, positions, starts, [len(row) for row in rows])


def packed_sheet(
    rows: Sequence[Sequence[int]], depths: Sequence[Sequence[int]], trees: Sequence[Line | None], *, reserved: int,
    device: torch.device,
) -> Sheet:  # fmt: skip
    """All in one row.

    Args:
        rows: of each line the tokens to be run.
        depths: their positions.
        trees: a line where it branches.
        reserved: what positions count from.
        device: where to.
    """
    lengths = [len(row) for row in rows]
    firsts = [0]
    for length in lengths:
        firsts.append(firsts[-1] + length)
    total = firsts.pop()
    sizes, longest = torch.tensor(lengths), max(lengths)
    at = torch.arange(longest)[None]
    real = at < sizes[:, None]
    index = torch.where(real, torch.tensor(firsts)[:, None] + at, 0)
    flat = real.reshape(-1).nonzero()[:, 0]
    pack = Pack(index.to(device), real.to(device), flat.to(device))
    positions = torch.tensor([depth + reserved for one in depths for depth in one], device=device)[None]
    if any(line is not None for line in trees):
        pack.depths = torch.where(pack.real, positions[0][pack.index] - reserved, 0)
        pack.tree = torch.stack([_seen(line, length, longest) for line, length in zip(trees, lengths, strict=True)])
        pack.tree = pack.tree[:, None].to(device)
    ids = torch.tensor([token for row in rows for token in row], device=device)[None]
    return Sheet(ids, torch.ones(1, total, dtype=torch.bool, device=device), positions, [(0, one) for one in firsts],
                 lengths, pack)  # fmt: skip


def _seen(line: Line | None, length: int, longest: int) -> Tensor:
    """[longest, longest]: the text sees what is before it, an answer's token what it follows; padding sees as text."""
    seen = torch.ones(longest, longest, dtype=torch.bool).tril()
    if line is not None:
        stem = line.stem - line.begin
        for at, parent in enumerate(line.parents, stem):
            seen[at] = seen[parent - line.begin]
            seen[at, at] = True
    return seen


def ragged(lengths: Sequence[int]) -> bool:
    """Whether padding would cost more than it is worth."""
    return len(lengths) * max(lengths) > WASTE * sum(lengths)

"""What outlives a read: beginnings and constants by what they were made from, the least recently used leaving first."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from promptatlas.lm.site import Part


class Kept:
    """At most `limit` bytes of tensors.

    What they were made from is told by token ids and by the parts themselves, which are held so that no other can take
    a part's place in memory.
    """

    def __init__(self, limit: int) -> None:
        """Nothing yet; a `limit` of 0 keeps nothing."""
        self.limit, self.bytes = limit, 0
        self._entries: OrderedDict[Hashable, tuple[Any, int, Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """What was kept under a key; None where nothing is."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, what: Any, tensors: Iterable[Tensor], made_from: Any) -> None:
        """Keep what is made of these tensors, if it fits at all."""
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if size > self.limit:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self.bytes += size - (old[1] if old else 0)
            self._entries[key] = (what, size, made_from)
            while self.bytes > self.limit:
                _, (_, gone, _) = self._entries.popitem(last=False)
                self.bytes -= gone

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


def casting(device: torch.device) -> torch.dtype | None:
    """What numbers are computed in where that isn't the model's own type."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def made(part: Part) -> Hashable:
    """Tells a part from others, and from itself after a step of training."""
    if not isinstance(part, nn.Module):
        return id(part)
    return id(part), part.training, tuple((id(one), one._version) for one in chain(part.parameters(), part.buffers()))


def held(parts: Mapping[str, Part]) -> list[object]:
    """What `made` tells parts by: none of it may leave memory while something made from it is kept."""
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    return [*parts.values(), *(one for part in modules for one in chain(part.parameters(), part.buffers()))]


def trained(part: object) -> bool:
    """Whether gradients go to a part."""
    return isinstance(part, nn.Module) and any(one.requires_grad for one in part.parameters())

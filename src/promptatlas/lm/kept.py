"""Beginnings that outlive a read: keys and values by what they were made from, the least recently used leaving first."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any

from promptatlas.lm.beginnings import Layers


class Kept:
    """At most `limit` bytes of keys and values.

    What they were made from is told by token ids and by the parts themselves, which are held so that no other can take
    a part's place in memory.
    """

    def __init__(self, limit: int) -> None:
        """Nothing yet; a `limit` of 0 keeps nothing."""
        self.limit, self.bytes = limit, 0
        self._entries: OrderedDict[Hashable, tuple[Layers, int, Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._entries)

    def get(self, key: Hashable) -> Layers | None:
        """What was kept under a key."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, layers: Layers, made_from: Any) -> None:
        """Keep it, if it fits at all."""
        size = sum(tensor.numel() * tensor.element_size() for pair in layers for tensor in pair)
        if size > self.limit:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self.bytes += size - (old[1] if old else 0)
            self._entries[key] = (layers, size, made_from)
            while self.bytes > self.limit:
                _, (_, gone, _) = self._entries.popitem(last=False)
                self.bytes -= gone

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0

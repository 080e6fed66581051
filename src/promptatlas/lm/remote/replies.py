"""Replies on disk: what was paid for once is not paid for again."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import finalize

from promptatlas.errors import SettingError

Body = Mapping[str, Any]


def key(url: str, body: Body) -> str:
    """A hash of all a reply depends on: where it is asked, and the whole request, which names the model."""
    return hashlib.sha256(json.dumps([url, body], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Replies:
    """A table of replies by the hash of their requests: JSON in an SQLite file, each written whole or not at all.

    A file may serve several models, threads and processes. It holds what models said, and no request and no key.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file, or make it. Raises SettingError where it is another kind of file, or can't be written."""
        self.path = Path(path).expanduser().resolve()
        self._lock = Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # no transaction stays open: each line is one of its own
            self._file = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            finalize(self, self._file.close)
            self._file.execute("CREATE TABLE IF NOT EXISTS replies (request TEXT PRIMARY KEY, reply TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise self._fault("opened", error) from error

    def get(self, request: str) -> str | None:
        """The reply to a request; None where it was never given."""
        try:
            with self._lock:
                found = self._file.execute("SELECT reply FROM replies WHERE request = ?", (request,)).fetchone()
        except sqlite3.Error as error:
            raise self._fault("read", error) from error
        return None if found is None else str(found[0])

    def put(self, request: str, reply: str) -> None:
        """Keep a reply."""
        try:
            with self._lock:
                self._file.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (request, reply))
        except sqlite3.Error as error:
            raise self._fault("written", error) from error

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()

    def _fault(self, what: str, error: Exception) -> SettingError:
        told = f"replies are kept in `{self.path}`, which can't be {what}: {error}"
        return SettingError(told, hint="give another file: cache=..., or keep none: cache=None")

"""A remote model over an endpoint of the test's own."""

from pathlib import Path
from typing import Any

from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.make import remote
from promptatlas.testing.endpoint import Served

NAME = "pocket-causal"
ONE = {"positive": "good", "negative": "bad"}
SEVERAL = {"positive": "simply wonderful", "negative": ["bad", "hardly bearable"]}
TEXTS = ["a gorgeous, witty film", "a dreadful bore", "电影很好看", ""]


def connect(served: Served, tmp_path: Path, **settings: Any) -> RemoteLM:
    settings = {"cache": tmp_path / "replies.sqlite", "sleep": lambda seconds: None, **settings}
    return remote(served.url, NAME, **settings)

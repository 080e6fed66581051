"""A language model by its name, wherever it is: on this machine, on a hub, or at an address."""

from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.lm.remote.make import is_address, remote


def named(name: str, device: str | None = None, dtype: str = "float32") -> LM:
    """The model of an embedded name, a folder, a hub name, or an address with a name (`http://localhost:8000/v1#gpt2`).

    Args:
        name: see `load` and `remote`.
        device: where a model of this machine goes; not for remote ones.
        dtype: of its weights; likewise.

    Raises:
        LoadError: nothing there.
        SettingError: an unknown dtype or device, or an address that can't be.
    """
    return remote(name) if is_address(name) else load(name, device, dtype)

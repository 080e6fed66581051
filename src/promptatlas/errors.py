"""The tree of errors.

    PromptAtlasError            something a caller can mend
    ├── TemplateError           a template that can't be read or rendered (its column)
    ├── DataError               a file, row or label that doesn't fit (its file and line)
    ├── SettingError            a name or a setting that doesn't exist, or a value it can't take
    ├── WordError               a label word that can't be read at a slot
    ├── NeedsError              a method that lacks something, found before any work
    ├── ArtifactError           a saved prompt that can't be read or written
    └── ModelError              what a language model can't do
        ├── LoadError           a model that can't be found or read
        ├── TooLong             a text that doesn't fit the window
        ├── CannotAttach        a part this family of models has no way in for
        └── RemoteError         an endpoint that is down, refuses, or gives an answer that is none

Every error says what, where, what was possible, and in `hint` what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PromptAtlasError(Exception):
    """Root of the errors a caller can mend; `hint` says how, on a line of its own."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the one-sentence message (no full stop) and the hint."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message, and the hint after a blank line."""
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


class TemplateError(PromptAtlasError):
    """A template that can't be read or rendered; the message names the column (from 1)."""


class DataError(PromptAtlasError):
    """A file, row or label that doesn't fit; the message names file and line."""


class SettingError(PromptAtlasError):
    """A name or setting that doesn't exist, or a value it can't take."""


class WordError(PromptAtlasError):
    """A label word that can't be read at a slot."""


class NeedsError(PromptAtlasError):
    """A method that lacks something it needs; raised before any work."""


class ArtifactError(PromptAtlasError):
    """A saved prompt that can't be read or written."""


class ModelError(PromptAtlasError):
    """What a language model can't do."""


class LoadError(ModelError):
    """A model that can't be found or read."""


class TooLong(ModelError):
    """A text that doesn't fit the window even when all that may be cut is cut."""


class CannotAttach(ModelError):
    """A part this family of models has no way in for."""


class RemoteError(ModelError):
    """An endpoint that is down, refuses, or gives an answer that is none; what it answered before is kept.

    `status` is the HTTP status of a refusal, 0 otherwise.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        """Keep the status too."""
        super().__init__(message, hint=hint)
        self.status = status


def near(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """A hint naming what `name` may have meant, or everything there is: "did you mean `a`?"."""
    known = sorted(names)
    close = get_close_matches(name, known, n=most, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f"`{one}`" for one in close) + "?"
    return "there are " + ", ".join(f"`{one}`" for one in known) if known else "there are none"

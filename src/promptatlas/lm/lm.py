"""The language model, as everything above `lm/` sees it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.lm.ask import Decode, Job, Reading, Text
from promptatlas.lm.cost import Spent
from promptatlas.lm.places import Spot
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part
from promptatlas.text.runs import Before, Runs

Kind = Literal["masked", "causal", "seq2seq"]


@runtime_checkable
class LM(Protocol):
    """A language model and its tokenizer: the only object through which anything touches one.

    Attributes:
        name: as it was loaded: an embedded name, a hub name or a folder.
        kind: "masked", "causal" or "seq2seq".
        window: positions a row may take.
        width: of the input vectors.
        hidden: of the states.
        head: of what enters the output projection (differs from `hidden` in a few families).
    """

    name: str
    kind: Kind
    window: int
    width: int
    hidden: int
    head: int

    @property
    def spent(self) -> Spent:
        """What it has been made to read and to write so far."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Two hashes, "weights" and "tokenizer", independent of dtype and device."""

    @property
    def can(self) -> frozenset[str]:
        """What it offers of {"logits", "vocabulary", "vectors", "hidden", "gradient", "generate", "weights", "prefix"}.

        "logits" are those of tokens that are named, "vocabulary" those of all at once; "vectors" are its own of tokens.
        """

    @property
    def device(self) -> torch.device:
        """Where it is."""

    @property
    def dtype(self) -> str:
        """Of its weights: "float32", "bfloat16" or "float16"."""

    @property
    def vectors(self) -> Float[Tensor, "vocab width"]:
        """The input vectors of the vocabulary, detached; don't write to it."""

    @property
    def outputs(self) -> Float[Tensor, "vocab head"]:
        """The rows of the output projection, detached; don't write to it."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The model's parameters by name, each once; don't write to them."""

    def places(self, what: str) -> list[Spot]:
        """Every projection called `what` ("query", "value", "up", …), layer by layer.

        Raises:
            CannotAttach: there is none; names what there is.
        """

    def prefixes(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """Attention a prefix can stand before: place -> (heads, dim) a layer. Raises CannotAttach if there is none."""

    @property
    def special(self) -> frozenset[int]:
        """Ids of the tokenizer's own marks."""

    @property
    def mask(self) -> int | None:
        """Id of the mask token (masked models, and seq2seq ones that have one)."""

    def encode(
        self, runs: Sequence[Runs], parts: Mapping[str, Part], *, widths: Mapping[str, int] | None = None, room: int = 0
    ) -> list[Row]:
        """Rows of these runs, tokenised in one batch.

        Args:
            runs: rendered templates.
            parts: those the runs name (their lengths count) and those with a prefix.
            widths: masks to put at a slot, by slot name (1 where not named; masked models).
            room: positions to leave free for an answer (models that write it after the text).

        Raises:
            TooLong: what is needed, what there is, and what could not be cut.
            TemplateError: a causal model's slot with text after it; a part that is not there.
        """

    def read(self, jobs: Sequence[Job]) -> list[Reading]:
        """A reading a job, in order, whatever the order and company.

        Gradients flow to parts where torch's are on, never to the model.

        Raises:
            CannotAttach: a part this family has no way in for, and what would do.
        """

    def stream(self, jobs: Iterable[Job]) -> Iterator[Reading]:
        """The same over any number of jobs, in constant memory."""

    def generate(self, jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
        """`how.n` texts a job, from its slot on (asks are ignored). Raises ModelError for masked models."""

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts hidden"]:
        """Mean last state, unit length, on the CPU. An empty text is the zero vector."""

    def word(self, word: str, before: Before) -> tuple[int, ...]:
        """The tokens of a word where it stands in text after `before`."""

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text on its own, without marks."""

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The tokenizer's own spelling of each token (`Ġgreat`)."""

"""What can be asked of a row. A tuple of asks is one pass through the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

from promptatlas.lm.row import Row
from promptatlas.lm.site import Part

At = Literal["slot", "first", "last", "mean", "head"]
Order = Literal["parallel", "confident", "left_to_right"]


@dataclass(frozen=True)
class Tokens:
    """Logits of these tokens at the slots: values [slots, asked].

    With `mass`, the vocabulary's log-sum too: total [slots].
    """

    ids: tuple[int, ...]
    mass: bool = False


@dataclass(frozen=True)
class Given:
    """Log-probability of the row's answer, token by token: values [1, answer].

    For words of several tokens, channel, PMI. A masked row has as many masks at its slot as the answer has tokens.
    """


@dataclass(frozen=True)
class Places:
    """Log-probabilities of given tokens at given positions: values [1, places]. For masked-LM losses."""

    positions: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Log-probabilities of everything at the slots: values [slots, vocab].

    Attributes:
        last: where the row's answer has its last token instead, which itself isn't looked at: values [1, vocab].
    """

    last: bool = False


@dataclass(frozen=True, eq=False)
class Against:
    """Learned rows instead of the vocabulary's, through the model's own head: values [slots, rows].

    Attributes:
        vectors: [rows, head], as wide as what enters the model's output projection.
        bias: [rows] or None.
    """

    vectors: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True)
class Hidden:
    """States: values [slots, layers * hidden] at "slot" or "head" (what enters the output projection), else one row.

    "first", "last" and "mean" read the encoder of a seq2seq model; "mean" is over the row's own tokens, not vectors.
    """

    layers: tuple[int, ...] = (-1,)
    at: At = "slot"


Ask = Tokens | Given | Places | Vocabulary | Against | Hidden


class Read(NamedTuple):
    """What came back for one ask; see each ask for the shape of `values`."""

    values: Tensor
    total: Tensor | None = None


Reading = tuple[Read, ...]  # one a ask, in order


@dataclass(frozen=True, eq=False)
class Job:
    """A row, what is asked of it, and the parts that touch the model while it is read."""

    row: Row
    asks: tuple[Ask, ...]
    parts: Mapping[str, Part] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Query:
    """What a verbalizer wants of one example of one example.

    A row whose slot is `width` wide (masks in a masked LM), with `answer` if given, read for `asks`. One query where
    all words are one token; more where words differ in length.

    Attributes:
        asks: what is wanted.
        width: masks at the slot.
        answer: tokens at the slot.
        order: of a masked LM, how `Given` is asked of an answer of several tokens: "parallel", each at its own mask in
            one pass; else a token is written into its mask before the next is read, the likeliest first ("confident")
            or the leftmost ("left_to_right"), a pass a token.
    """

    asks: tuple[Ask, ...]
    width: int = 1
    answer: tuple[int, ...] = ()
    order: Order = "parallel"


@dataclass(frozen=True, kw_only=True)
class Decode:
    """How to generate.

    Attributes:
        max_new: most tokens to write.
        temperature: 0 is greedy; above it, sampling.
        top_k: sample among this many likeliest; 0 is all.
        top_p: sample among the fewest whose mass reaches this.
        beams: width of the beam search; 1 is none.
        length_penalty: exponent of the length a beam's score is divided by.
        n: texts a row.
        stop: texts at which writing ends (left out of the result).
        forbid: texts that never appear.
        seed: of the sampling.
    """

    max_new: int = 32
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    n: int = 1
    stop: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    seed: int = 0


class Text(NamedTuple):
    """A generated text, its tokens, and the log-probability of those under the model."""

    text: str
    ids: tuple[int, ...]
    logp: float

"""The least operations a piece of work costs without padding, reading at the slot only, shared beginnings run once.

Counted as `count.counted` counts: two a product, attention over all keys a query is given, its backward as that of the
fused kernel (five products where forward has two). Frozen weights get no gradient. What the last layer could leave out
at positions nobody reads is not taken off, nor what the first layer's gradient could at a masked row's own tokens: an
engine may come out a little lower than this.
"""

from collections.abc import Sequence

from benchmarks.speed.models import Shape

FORWARD, BACKWARD = 4, 10  # of attention: operations a query, a key and a unit of width
FED = 2  # tokens a T5's decoder is fed up to the slot: its start and the sentinel


def body(shape: Shape, tokens: int, keys: int, *, back: bool = False, bottom: bool = True) -> int:
    """The layers of an encoder, or of a decoder without an encoder, over one stretch of a row.

    Args:
        shape: of the model.
        tokens: of the stretch.
        keys: its own tokens and those it sees in front.
        back: whether gradients go back through it.
        bottom: whether they go on to the stretch's input vectors.
    """
    linear = 2 * tokens * shape.width * (4 * shape.width + 2 * shape.inner)
    attention = tokens * keys * shape.width
    cost = shape.layers * (linear + FORWARD * attention)
    if not back:
        return cost
    cost += shape.layers * (linear + BACKWARD * attention)
    return cost if bottom else cost - 2 * tokens * shape.width * 3 * shape.width


def unread(shape: Shape, tokens: int) -> int:
    """What no gradient goes through of a beginning's last layer: others see its keys and values alone."""
    linear = 2 * tokens * shape.width * (shape.width + 2 * shape.inner)
    return linear + BACKWARD * tokens * tokens * shape.width


def decoder(shape: Shape, fed: int, tokens: int, *, back: bool = False) -> int:
    """A decoder over an encoder's states of a row."""
    own = 2 * fed * shape.width * (6 * shape.width + 2 * shape.inner)
    over = 2 * tokens * shape.width * 2 * shape.width
    seen = fed * (fed + tokens) * shape.width
    cost = shape.layers * (own + over + FORWARD * seen)
    if not back:
        return cost
    # below the first cross-attention nothing is trained
    lowest = 2 * fed * shape.width * (4 * shape.width) + BACKWARD * fed * fed * shape.width
    first = 2 * fed * shape.width * shape.width
    return cost + shape.layers * (own + over + BACKWARD * seen) - lowest - first


def head(shape: Shape, points: int, columns: int, *, back: bool = False) -> int:
    """The output projection at some points against some rows, with BERT's layer before it."""
    before = shape.width if shape.kind == "masked" else 0
    return 2 * points * shape.width * (before + columns) * (2 if back else 1)


def soft(shape: Shape, rows: Sequence[int], vectors: int, labels: int) -> int:
    """A training step of leading vectors over rows of so many tokens."""
    read = head(shape, len(rows), labels, back=True)
    if shape.kind == "causal":  # the vectors see no text: one run of them serves all rows
        first = body(shape, vectors, vectors, back=True) - unread(shape, vectors)
        return first + read + sum(body(shape, one, vectors + one, back=True, bottom=False) for one in rows)
    whole = sum(body(shape, vectors + one, vectors + one, back=True) for one in rows)
    if shape.kind == "seq2seq":
        whole += sum(decoder(shape, FED, vectors + one, back=True) for one in rows)
    return whole + read


def prefix(shape: Shape, rows: Sequence[int], vectors: int, labels: int) -> int:
    """A training step of keys and values in every layer, over rows of so many tokens."""
    read = head(shape, len(rows), labels, back=True)
    return read + sum(body(shape, one, vectors + one, back=True, bottom=False) for one in rows)


def shots(shape: Shape, beginning: int, rows: Sequence[int], answers: Sequence[int]) -> int:
    """Scoring rows under one beginning of a causal model, for answers of so many tokens.

    Args:
        shape: of the model.
        beginning: tokens that all rows begin with.
        rows: of each, the tokens after those.
        answers: of each label, the tokens of its word.
    """
    cost = body(shape, beginning, beginning)
    later = [one - 1 for one in answers if one > 1]  # an answer's last token predicts nothing
    for own in rows:
        keys = beginning + own
        cost += body(shape, own, keys) + sum(body(shape, one, keys + one) for one in later)
    points = 1 + sum(later)
    return cost + head(shape, points * len(rows), shape.columns if later else len(answers))

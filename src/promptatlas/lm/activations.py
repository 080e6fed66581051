"""What attention makes of real tokens, and the tokens that end what a model writes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.doors import Flight, flying
from promptatlas.lm.generate import ends
from promptatlas.lm.lm import LM
from promptatlas.lm.local import LocalLM

KeysValues = Mapping[str, Sequence[tuple[Tensor, Tensor]]]


def activations(lm: LM, ids: Sequence[int], *, shift: int = 0) -> KeysValues:
    """Keys and values that the model itself computes for these tokens, from the first position on, or `shift` later.

    In a seq2seq model the encoder and the decoder each read the tokens; "cross" is what the decoder sees of the
    encoder's. A masked model's are of tokens that see each other.

    Returns:
        Of each place a (K, V) a layer, each [heads, length, dim]; rotary families' keys are rotated.

    Raises:
        CannotAttach: a model whose attention isn't reached, or that isn't of this machine.
        SettingError: no tokens, or more than the window holds.
    """
    lm.prefixes()
    if not isinstance(lm, LocalLM):
        raise CannotAttach(f"`{lm.name}` doesn't show its keys and values", hint="load a local model")
    if not 0 < len(ids) <= lm.window:
        raise SettingError(
            f"{len(ids)} tokens can't be run in a window of {lm.window}", hint=f"give from 1 to {lm.window}"
        )
    given = torch.tensor([list(ids)], device=lm.device)
    with torch.no_grad(), lm.weights.swapped({}):
        if lm.kind != "seq2seq":
            body = lm.body if lm.kind == "causal" else lm.model
            plain = {"use_cache": False} if lm.kind == "causal" else {}
            found = {"self": _recorded(lambda: body(input_ids=given, **plain), shift)[1]}
        else:
            encoded, first = _recorded(lambda: lm.model.get_encoder()(input_ids=given))
            decoder = lm.model.get_decoder()
            states = encoded.last_hidden_state
            settings = {"encoder_hidden_states": states, "use_cache": False}
            _, then = _recorded(lambda: decoder(input_ids=given, **settings))
            found = {"encoder": first, "decoder": then[::2], "cross": then[1::2]}  # a layer looks at itself first
    return {place: [(key[0], value[0]) for key, value in some] for place, some in found.items()}


def ending(lm: LM) -> tuple[int, ...]:
    """The token that ends what the model writes; none where it has no such token."""
    return tuple(ends(lm)[:1]) if isinstance(lm, LocalLM) and lm.kind != "masked" else ()


def _recorded(run: Callable[[], Any], shift: int = 0) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
    """What a pass gives, and the keys and values of each call of attention in it."""
    record: list[tuple[Tensor, Tensor]] = []
    with flying(Flight(record=record, shift=shift)):
        return run(), record

"""One batch through the model: rows to tensors, one pass, and each job's answers out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptatlas.lm.ask import Against, Ask, Hidden, Job, Places, Read, Reading, Tokens, Vocabulary
from promptatlas.lm.batch import Wanted, ids_of, learned, padded, prefixed, spliced, wanted
from promptatlas.lm.doors import Flight, Points, Prefixes, flying

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


@dataclass
class Out:
    """What a pass left behind.

    Attributes:
        logits: [points, columns], the vocabulary's before the learned ones; None where nothing went through the head.
        states: [points, head], what entered the head.
        logp: [points], where tokens were chosen whose log-probabilities are all that is wanted.
        layers: of the states rows are read from, [rows, length, hidden] a layer.
        encoder: the same of a seq2seq model's encoder; `layers` itself otherwise.
        real: [rows, length], positions of `encoder` that are a row's own.
        offsets: where each row starts in `encoder`.
        vocab: how many columns the whole head has.
        head: how wide what enters the head is.
    """

    logits: Tensor | None
    states: Tensor | None
    logp: Tensor | None
    layers: Sequence[Tensor]
    encoder: Sequence[Tensor]
    real: Tensor
    offsets: Sequence[int]
    vocab: int
    head: int


def read_batch(lm: "LocalLM", jobs: Sequence[Job], after: Mapping[str, Any]) -> list[Reading]:
    """A reading a job: one pass (an encoder's and a decoder's, in a seq2seq model)."""
    ids, real = padded([ids_of(job.row, lm.kind) for job in jobs], lm.tokenizer.pad, left=lm.left, device=lm.device)
    offsets = [ids.shape[1] - len(ids_of(job.row, lm.kind)) if lm.left else 0 for job in jobs]
    head_offsets = [0] * len(jobs) if lm.kind == "seq2seq" else offsets
    want = wanted(jobs, head_offsets, lm.kind, choose=lm.bare)
    points = want.points_tensor(lm.device)
    flight = Flight(spliced(lm, jobs, (ids.shape[0], ids.shape[1]), offsets), prefixed(lm, jobs), points, after)
    hidden = [ask for job in jobs for ask in job.asks if isinstance(ask, Hidden)]
    if lm.kind == "seq2seq":
        out = _encode_decode(lm, jobs, ids, real, flight, hidden)
    else:
        out = _once(lm, jobs, ids, real, offsets, flight, hidden)
    return _answers(jobs, want, out, head_offsets)


def _once(
    lm: "LocalLM",
    jobs: Sequence[Job],
    ids: Tensor,
    real: Tensor,
    offsets: Sequence[int],
    flight: Flight,
    hidden: Sequence[Hidden],
) -> Out:
    inputs: dict[str, Any] = {"input_ids": ids}
    if not real.all():  # without padding there is nothing to hide, and the faster kernels take no mask
        inputs["attention_mask"] = real.long()
    if lm.layout.types > 1 and lm.kind == "masked":
        inputs["token_type_ids"] = padded([job.row.types for job in jobs], 0, left=lm.left, device=lm.device)[0]
    if lm.left:
        inputs["position_ids"] = (real.long().cumsum(-1) - 1).clamp(min=0)
    if lm.kind == "causal":
        inputs["use_cache"] = False
    deep = any(layer != -1 for ask in hidden for layer in ask.layers)
    flight.keep = bool(hidden)
    with flying(flight):
        model = lm.body if flight.points is None else lm.model
        out = model(**inputs, output_hidden_states=deep)
    layers = _layers(out.hidden_states if deep else None, flight.kept)
    return Out(*_head(out, flight.points), layers, layers, real, offsets, *lm.outputs.shape)


def _encode_decode(
    lm: "LocalLM", jobs: Sequence[Job], ids: Tensor, real: Tensor, flight: Flight, hidden: Sequence[Hidden]
) -> Out:
    deep = any(layer != -1 for ask in hidden for layer in ask.layers)
    with flying(Flight(flight.splice, _only(flight.prefixes, "encoder"), None, flight.after)):
        encoded = lm.model.get_encoder()(input_ids=ids, attention_mask=real.long(), output_hidden_states=deep)
    encoder = _layers(encoded.hidden_states if deep else None, encoded.last_hidden_state)
    decoder: Sequence[Tensor] = encoder
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)
    at_slot = [ask for ask in hidden if ask.at == "slot"]
    if flight.points is not None or at_slot:
        fed, fed_real = padded(
            [job.row.feed + job.row.answer[:-1] for job in jobs], lm.tokenizer.pad, left=False, device=lm.device
        )
        prefixes = _only(flight.prefixes, "decoder", "cross")
        with flying(Flight(None, prefixes, flight.points or _nothing(lm), flight.after)):
            out = lm.model(
                encoder_outputs=encoded, attention_mask=real.long(),
                decoder_input_ids=fed, decoder_attention_mask=fed_real.long(),
                output_hidden_states=bool(at_slot), use_cache=False,
            )  # fmt: skip
        found = _head(out, flight.points)
        decoder = out.decoder_hidden_states if at_slot else ()
    return Out(*found, decoder, encoder, real, [0] * len(jobs), *lm.outputs.shape)


def _only(prefixes: Mapping[str, Prefixes], *places: str) -> dict[str, Prefixes]:
    return {place: prefixes[place] for place in places if place in prefixes}


def _nothing(lm: "LocalLM") -> Points:
    """A request of no points: states are wanted, logits aren't."""
    none = torch.zeros(0, dtype=torch.long, device=lm.device)
    return Points(none, none, none, all_ids=False)


def _layers(deep: Sequence[Tensor] | None, last: Tensor | None) -> Sequence[Tensor]:
    """All layers where they were kept, the last one as the model's body hands it on; else the last alone."""
    if last is None:
        return ()
    return [*deep[:-1], last] if deep else [last]


def _head(out: Any, points: Points | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    return (None, None, None) if points is None else (out.logits[0].float(), points.states, points.logp)


def _answers(jobs: Sequence[Job], want: Wanted, out: Out, head_offsets: Sequence[int]) -> list[Reading]:
    """Each job's share of the pass, ask by ask."""
    columns = _Columns(want, None if out.logp is not None else out.logits, out.vocab)
    at = iter(want.points)
    point = 0
    readings: list[Reading] = []
    for i, job in enumerate(jobs):
        reads = []
        for ask in job.asks:
            count = len(next(at))
            span = slice(point, point + count)
            point += count
            reads.append(
                _hidden(ask, job, out, i, span, head_offsets[i])
                if isinstance(ask, Hidden)
                else Read(out.logp[span][None])
                if out.logp is not None
                else columns.read(ask, job, span)
            )
        readings.append(tuple(reads))
    return readings


class _Columns:
    """Columns of the head's output by ask; what many jobs ask alike is gathered once."""

    def __init__(self, want: Wanted, logits: Tensor | None, vocab: int) -> None:
        self.want, self.logits, self.vocab = want, logits, vocab
        self.place = {} if want.all_ids else {token: i for i, token in enumerate(want.ids)}
        sizes = [one.vectors.shape[0] for one in want.against]
        width = 0 if logits is None else logits.shape[1] - sum(sizes)
        self.learned = {learned(one): (width + sum(sizes[:i]), sizes[i]) for i, one in enumerate(want.against)}
        self.vocabulary = None if logits is None else logits[:, :width]
        self.total = self.vocabulary.logsumexp(-1) if self.vocabulary is not None and want.all_ids else None
        self.gathered: dict[tuple[int, ...], Tensor] = {}

    def tokens(self, ids: tuple[int, ...]) -> Tensor:
        """[points, asked] logits of these tokens at every point."""
        if ids not in self.gathered:
            columns = [self.place.get(i, i) for i in ids]
            self.gathered[ids] = self.vocabulary[:, torch.tensor(columns, dtype=torch.long)]  # type: ignore[index]
        return self.gathered[ids]

    def read(self, ask: Ask, job: Job, span: slice) -> Read:
        """What one ask gets of its points."""
        if self.logits is None:
            return self.nothing(ask)
        if isinstance(ask, Tokens):
            return Read(self.tokens(ask.ids)[span], self.total[span] if ask.mass and self.total is not None else None)
        if isinstance(ask, Against):
            first, count = self.learned[learned(ask)]
            return Read(self.logits[span, first : first + count])
        logp = self.vocabulary[span] - self.total[span, None]  # type: ignore[index]
        if isinstance(ask, Vocabulary):
            return Read(logp)
        ids = ask.ids if isinstance(ask, Places) else job.row.answer
        return Read(logp.gather(1, torch.tensor(ids, dtype=torch.long, device=logp.device)[:, None]).T)

    def nothing(self, ask: Ask) -> Read:
        """What an ask gets where the whole batch has no point to read at, shaped as it is in other company."""
        if isinstance(ask, Tokens):
            return Read(torch.zeros(0, len(ask.ids)), torch.zeros(0) if ask.mass else None)
        if isinstance(ask, Against):
            return Read(torch.zeros(0, ask.vectors.shape[0]))
        return Read(torch.zeros(0, self.vocab) if isinstance(ask, Vocabulary) else torch.zeros(1, 0))


def _hidden(ask: Hidden, job: Job, out: Out, i: int, span: slice, head_offset: int) -> Read:
    """States of one row."""
    if ask.at == "head":
        return Read(torch.zeros(0, out.head) if out.states is None else out.states[span])
    if ask.at == "slot":
        places = [at + head_offset for slot in job.row.slots for at in slot.positions]
        return Read(torch.cat([out.layers[layer][i, places].float() for layer in ask.layers], -1))
    states = torch.cat([out.encoder[layer][i].float() for layer in ask.layers], -1)  # [length, layers * hidden]
    if ask.at == "mean":
        own = _own(job, out, i)
        return Read((states * own[:, None]).sum(0, keepdim=True) / own.sum().clamp(min=1))
    at = (job.row.first if ask.at == "first" else job.row.last) + out.offsets[i]
    return Read(states[at : at + 1])


def _own(job: Job, out: Out, i: int) -> Tensor:
    """1 at the row's own tokens, 0 at padding and at parts' vectors."""
    own = out.real[i].float().clone()
    for span in job.row.spans:
        if span.kind == "part":
            own[span.start + out.offsets[i] : span.end + out.offsets[i]] = 0
    return own

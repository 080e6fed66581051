"""Lines through the model: rows to tensors, as few passes as the answers need, and each job's answers out of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptatlas.lm.ask import Ask, Hidden, Job, Reading
from promptatlas.lm.batch import Tables, positions, prefixed, wanted
from promptatlas.lm.beginnings import Layers as KeysValues
from promptatlas.lm.blocks import Layers, key, laid
from promptatlas.lm.doors import Flight, Points, Prefixes, Stopped, flying
from promptatlas.lm.kept import held
from promptatlas.lm.lines import Line
from promptatlas.lm.out import Out, answers
from promptatlas.lm.sheet import Sheet, packed_sheet, padded_sheet, ragged
from promptatlas.lm.shift import shift

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


@dataclass(frozen=True, eq=False)
class Pass:
    """What the passes of one read share.

    Attributes:
        lm: the model.
        jobs: all that is asked.
        tables: the vectors of input parts.
        after: functions on what modules put out.
        pack: whether lines may lie behind each other in one row.
        floor: how many blocks come before the first that is trained: their states stay the same.
        again: see `blocks.Layers`; None: gradients keep all they need.
    """

    lm: "LocalLM"
    jobs: Sequence[Job]
    tables: Tables
    after: Mapping[str, Any]
    pack: bool
    floor: int = 0
    again: Callable[[], AbstractContextManager[None]] | None = None

    def packs(self, lines: Sequence[Line], rows: Sequence[Sequence[int]]) -> bool:
        """Whether these tokens lie behind each other: where padding would cost, and where answers branch."""
        return self.pack and (ragged([len(row) for row in rows]) or any(line.branched for line in lines))

    def sheet(self, lines: Sequence[Line], rows: Sequence[Sequence[int]], *, pack: bool, answers: bool = True) -> Sheet:
        """Tokens of lines as tensors; `answers`: whether they are what `Line.ids` has yet to run."""
        lm = self.lm
        if pack:
            depths = [
                line.depths()[line.begin :] if answers else list(range(len(row)))
                for line, row in zip(lines, rows, strict=True)
            ]
            trees = [line if answers and line.branched else None for line in lines]
            reserved = lm.family.reserved if lm.kind == "masked" else 0
            return packed_sheet(rows, depths, trees, reserved=reserved, device=lm.device)
        found = padded_sheet(rows, lm.tokenizer.pad, left=lm.left, device=lm.device)
        if answers and any(line.begin for line in lines):
            first = torch.tensor([line.begin for line in lines], device=lm.device)[:, None]
            found.positions = first + torch.arange(found.ids.shape[1], device=lm.device)[None]
        return found

    def read(self, lines: Sequence[Line], fronts: Sequence[KeysValues | None] | None = None) -> dict[int, Reading]:
        """A reading for every job of some lines: one pass (an encoder's and a decoder's, in a seq2seq model)."""
        kind = self.lm.kind
        body = [line.job.row.ids if kind != "causal" else line.ids[line.begin :] for line in lines]
        written = [line.ids for line in lines]  # of a decoder: it lies as the encoder does
        pack = self.packs(lines, body) or (kind == "seq2seq" and self.packs(lines, written))
        sheet = self.sheet(lines, body, pack=pack, answers=kind == "causal")
        head = sheet if kind != "seq2seq" else self.sheet(lines, written, pack=pack)
        self.lm.spent.add(sheet.ids.numel() + (head.ids.numel() if head is not sheet else 0))
        asked = [
            (self.jobs[i], partial(_where, self.jobs[i], line, n, head, kind))
            for n, line in enumerate(lines)
            for i in line.jobs
        ]
        want = wanted(asked, choose=self.lm.bare)
        hidden = [ask for job, _ in asked for ask in job.asks if isinstance(ask, Hidden)]
        flight = Flight(
            self.tables.splice(self.lm, lines, sheet), prefixed(self.lm, lines, fronts),
            want.points_tensor(self.lm.device), self.after,
        )  # fmt: skip
        flight.layers, flight.shift = Layers(again=self.again), shift(lines[0].job.parts)
        if kind == "seq2seq":
            out = _encode_decode(self.lm, sheet, head, flight, hidden)
        else:
            out = self._once(lines, sheet, flight, hidden)
        owners = [(i, n, line) for n, line in enumerate(lines) for i in line.jobs]
        return answers(self.jobs, owners, want, out, sheet, head)

    def begin(self, lines: Sequence[Line], fronts: Sequence[KeysValues | None]) -> list[KeysValues]:
        """Keys and values of some beginnings (lines without jobs), each with those it goes on from."""
        rows = [line.ids[line.begin :] for line in lines]
        sheet = self.sheet(lines, rows, pack=self.packs(lines, rows))
        self.lm.spent.add(sheet.ids.numel())
        record: list[tuple[Tensor, Tensor]] = []
        flight = Flight(
            self.tables.splice(self.lm, lines, sheet), prefixed(self.lm, lines, fronts), None, self.after, record=record
        )
        flight.layers, flight.shift = Layers(again=self.again), shift(lines[0].job.parts)
        flight.enough = len(self.lm.attention.layers["self"]) if self.again is None else 0
        with flying(_lying(flight, sheet)), suppress(Stopped):
            self.lm.body(**_inputs(self.lm, sheet), use_cache=False)
        return [_layers_of(record, sheet, i, front) for i, front in enumerate(fronts)]

    def _once(self, lines: Sequence[Line], sheet: Sheet, flight: Flight, hidden: Sequence[Hidden]) -> Out:
        lm = self.lm
        inputs = _inputs(lm, sheet)
        if lm.layout.types > 1 and lm.kind == "masked":
            types = torch.zeros_like(sheet.ids)
            for n, line in enumerate(lines):
                row, column = sheet.starts[n]
                types[row, column : column + sheet.lengths[n]] = torch.tensor(line.job.row.types, device=lm.device)
            inputs["token_type_ids"] = types
        if lm.kind == "causal":
            inputs["use_cache"] = False
        deep = any(layer != -1 for ask in hidden for layer in ask.layers)
        flight.keep = bool(hidden)
        if self.floor and not deep:
            flight.layers.enter, flight.layers.states = self.floor, self._states(lines, sheet, flight, inputs)
        with flying(_lying(flight, sheet)):
            model = lm.body if flight.points is None else lm.model
            out = model(**inputs, output_hidden_states=deep)
        layers = _kept(out.hidden_states if deep else None, flight.kept)
        return Out(*_head(out, flight.points), layers, layers, *lm.outputs.shape)

    def _states(self, lines: Sequence[Line], sheet: Sheet, flight: Flight, inputs: dict[str, Any]) -> Tensor:
        """What enters block `floor`: kept from earlier reads, else run and kept."""
        kept, keys = self.lm.kept, [key(self.lm, line, self.floor) for line in lines]
        found = [kept.get(one) for one in keys]
        if all(one is not None for one in found):
            return laid(found, sheet)
        below = replace(flight, points=None, keep=False, layers=Layers(stop=self.floor))
        with torch.no_grad(), flying(_lying(below, sheet)), suppress(Stopped):
            self.lm.body(**inputs)
        states: Tensor = below.layers.states
        if flight.splice is not None:
            flight.splice.done = False
        for n, (line, one) in enumerate(zip(lines, keys, strict=True)):
            row, column = sheet.starts[n]
            own = states[row, column : column + sheet.lengths[n]].clone()
            kept.put(one, own, [own], held(line.job.parts))
        return states


def _where(job: Job, line: Line, n: int, head: Sheet, kind: Any, ask: Ask) -> list[tuple[int, int]]:
    """Where on the sheet an ask of a job is read."""
    return [head.at(n, at - line.begin) for at in positions(ask, job, line, kind)]


def _lying(flight: Flight, sheet: Sheet, cross: Sheet | None = None) -> Flight:
    """The flight of a pass over this sheet."""
    flight.pack = sheet.pack
    flight.positions = sheet.positions if sheet.pack is not None else None
    flight.cross = None if cross is None else cross.pack
    return flight


def _inputs(lm: "LocalLM", sheet: Sheet) -> dict[str, Any]:
    """What every model is told."""
    inputs: dict[str, Any] = {"input_ids": sheet.ids}
    # without padding there is nothing to hide, and the faster kernels take no mask
    if sheet.positions is not None or not sheet.real.all():
        inputs["attention_mask"] = sheet.real.long()
    if sheet.positions is not None and lm.kind != "seq2seq":
        inputs["position_ids"] = sheet.positions
    return inputs


def _layers_of(
    record: Sequence[tuple[Tensor, Tensor]], sheet: Sheet, line: int, front: KeysValues | None
) -> KeysValues:
    """Of one line, what was recorded, behind what it goes on from: [heads, length, dim] a layer."""
    row, column = sheet.starts[line]
    own = [tuple(side[row, :, column : column + sheet.lengths[line]] for side in pair) for pair in record]
    if front is None:
        return [(key.contiguous(), value.contiguous()) for key, value in own]
    return [(torch.cat([a[0], b[0]], 1), torch.cat([a[1], b[1]], 1)) for a, b in zip(front, own, strict=True)]


def _encode_decode(lm: "LocalLM", sheet: Sheet, head: Sheet, flight: Flight, hidden: Sequence[Hidden]) -> Out:
    deep = any(layer != -1 for ask in hidden for layer in ask.layers)
    real = sheet.real.long()
    encode = Flight(flight.splice, _only(flight.prefixes, "encoder"), None, flight.after, layers=flight.layers)
    with flying(_lying(encode, sheet)):
        encoded = lm.model.get_encoder()(input_ids=sheet.ids, attention_mask=real, output_hidden_states=deep)
    encoder = _kept(encoded.hidden_states if deep else None, encoded.last_hidden_state)
    decoder: Sequence[Tensor] = encoder
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)
    at_slot = [ask for ask in hidden if ask.at == "slot"]
    if flight.points is not None or at_slot:
        prefixes = _only(flight.prefixes, "decoder", "cross")
        decode = Flight(None, prefixes, flight.points or _nothing(lm), flight.after, layers=flight.layers)
        decode.shift = flight.shift
        with flying(_lying(decode, head, sheet)):
            out = lm.model(
                encoder_outputs=encoded, attention_mask=real,
                decoder_input_ids=head.ids, decoder_attention_mask=head.real.long(),
                output_hidden_states=bool(at_slot), use_cache=False,
            )  # fmt: skip
        found = _head(out, flight.points)
        decoder = out.decoder_hidden_states if at_slot else ()
    return Out(*found, decoder, encoder, *lm.outputs.shape)


def _only(prefixes: Mapping[str, Prefixes], *places: str) -> dict[str, Prefixes]:
    return {place: prefixes[place] for place in places if place in prefixes}


def _nothing(lm: "LocalLM") -> Points:
    """A request of no points: states are wanted, logits aren't."""
    none = torch.zeros(0, dtype=torch.long, device=lm.device)
    return Points(none, none, none, all_ids=False)


def _kept(deep: Sequence[Tensor] | None, last: Tensor | None) -> Sequence[Tensor]:
    """All layers where they were kept, the last one as the model's body hands it on; else the last alone."""
    if last is None:
        return ()
    return [*deep[:-1], last] if deep else [last]


def _head(out: Any, points: Points | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    return (None, None, None) if points is None else (out.logits[0].float(), points.states, points.logp)

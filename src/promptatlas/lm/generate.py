"""Writing on from a slot, over transformers' own generation, with parts in place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList

from promptatlas.errors import ModelError, SettingError, TooLong
from promptatlas.lm.ask import Decode, Job, Text
from promptatlas.lm.batch import Tables, batches, groups, prefixed
from promptatlas.lm.doors import Flight, flying
from promptatlas.lm.lines import Line
from promptatlas.lm.sheet import padded_sheet
from promptatlas.lm.shift import shift
from promptatlas.text.runs import Before

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


def generate(lm: "LocalLM", jobs: Sequence[Job], how: Decode) -> list[list[Text]]:
    """`how.n` texts a job; see `lm.LM.generate`."""
    if lm.kind == "masked":
        raise ModelError(
            f"a masked model can't write on: {lm.name}",
            hint="use a causal or seq2seq model, or read its slot with `ask`",
        )
    if how.n > 1 and how.temperature <= 0 and how.n > how.beams:
        raise SettingError(
            f"{how.n} texts a row need sampling or as many beams", hint="give a temperature above 0, or beams"
        )
    _check_room(lm, jobs, how.max_new)
    found: dict[int, list[Text]] = {}
    for group in groups(jobs):
        overrides, after = lm.touching(jobs[group[0]].parts)
        with lm.weights.swapped(overrides), torch.no_grad(), torch.random.fork_rng(devices=_devices(lm)):
            torch.manual_seed(how.seed)
            for batch in batches([len(jobs[i].row) for i in group], lm.budget):
                for indices in _fed_alike(jobs, [group[i] for i in batch]):
                    found |= zip(indices, _write(lm, [jobs[i] for i in indices], how, after), strict=True)
    return [found[i] for i in range(len(jobs))]


def _check_room(lm: "LocalLM", jobs: Sequence[Job], more: int) -> None:
    """Refuse to write past the window. Relative positions (T5) have no end."""
    if lm.layout.fill == "sentinel":
        return
    longest = max((len(job.row if lm.kind == "causal" else job.row.feed) for job in jobs), default=0)
    if longest + more > lm.window:
        raise TooLong(
            f"a row of {longest} positions and {more} to write don't fit the window of {lm.window}",
            hint="encode it with `room`, or write fewer",
        )


def _fed_alike(jobs: Sequence[Job], indices: Sequence[int]) -> list[list[int]]:
    """Rows whose decoder is fed as many tokens: a decoder can't be padded on the left, its positions would move."""
    found: dict[int, list[int]] = {}
    for i in indices:
        found.setdefault(len(jobs[i].row.feed), []).append(i)
    return list(found.values())


def _devices(lm: "LocalLM") -> list[Any]:
    return [lm.device] if lm.device.type == "cuda" else []


def _write(lm: "LocalLM", jobs: Sequence[Job], how: Decode, after: Any) -> list[list[Text]]:
    left = lm.kind == "causal"  # writing goes on at the right end of every row
    lines = [Line(job, list(job.row.ids), len(job.row)) for job in jobs]
    sheet = padded_sheet([line.ids for line in lines], lm.tokenizer.pad, left=left, device=lm.device)
    ids, real = sheet.ids, sheet.real
    flight = Flight(Tables(lm, lines).splice(lm, lines, sheet), prefixed(lm, lines), None, after)
    copies = max(how.beams, how.n if how.temperature > 0 else 1)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": real.long()}
    begin = ids.shape[1]
    if lm.kind == "seq2seq":
        with flying(flight):
            inputs["encoder_outputs"] = lm.model.get_encoder()(input_ids=ids, attention_mask=real.long())
        inputs["decoder_input_ids"] = torch.tensor([job.row.feed for job in jobs], device=lm.device)
        del inputs["input_ids"]
        begin = inputs["decoder_input_ids"].shape[1]
        flight = Flight(None, {k: v for k, v in flight.prefixes.items() if k != "encoder"}, None, after)
    flight.shift = shift(jobs[0].parts)
    with flying(_copied(flight, copies)):
        out = lm.model.generate(**inputs, **_settings(lm, how), **_stopping(lm, how, begin))
    first = begin * copies + (ids.shape[1] if lm.kind == "seq2seq" else 0)  # transformers repeats rows before it reads
    lm.spent.add(len(jobs) * (first + copies * (len(out.logits) - 1)), len(out.logits))
    texts = [_text(lm, ids, logp, how) for ids, logp in _rows(lm, out, begin, how)]
    return [texts[i * how.n : (i + 1) * how.n] for i in range(len(jobs))]


def _copied(flight: Flight, copies: int) -> Flight:
    """The flight for a batch in which every row stands `copies` times (beams, samples)."""
    if copies == 1:
        return flight
    splice = flight.splice
    if splice is not None:
        splice = type(splice)(
            splice.table, splice.index.repeat_interleave(copies, 0), splice.where.repeat_interleave(copies, 0)
        )
    prefixes = {}
    for place, one in flight.prefixes.items():
        layers = [
            (k, v) if k.shape[0] == 1 else (k.repeat_interleave(copies, 0), v.repeat_interleave(copies, 0))
            for k, v in one.layers
        ]
        prefixes[place] = type(one)(layers, None if one.seen is None else one.seen.repeat_interleave(copies, 0))
    return Flight(splice, prefixes, None, flight.after, shift=flight.shift)


def _settings(lm: "LocalLM", how: Decode) -> dict[str, Any]:
    sampling = how.temperature > 0
    settings: dict[str, Any] = {
        "max_new_tokens": how.max_new, "do_sample": sampling, "num_beams": how.beams, "num_return_sequences": how.n,
        "return_dict_in_generate": True, "output_logits": True, "pad_token_id": lm.tokenizer.pad,
    }  # fmt: skip
    if sampling:
        settings |= {"temperature": how.temperature, "top_k": how.top_k, "top_p": how.top_p}
    if how.beams > 1:
        settings |= {"length_penalty": how.length_penalty}
    if how.forbid:
        settings |= {"bad_words_ids": _spellings(lm, how.forbid)}
    return settings


def _spellings(lm: "LocalLM", texts: Sequence[str]) -> list[list[int]]:
    """The tokens of texts as they can come up: at a beginning, after a blank, going on."""
    going_on = Before("", start=False)
    found = [one for text in texts for one in (lm.tokens(text), lm.word(text, going_on), lm.word(" " + text, going_on))]
    return [list(one) for one in dict.fromkeys(found) if one]


def _stopping(lm: "LocalLM", how: Decode, begin: int) -> dict[str, Any]:
    """Stop a row once what it has written holds one of `how.stop`."""

    def stopped(ids: Tensor, _scores: Any, **_more: Any) -> Tensor:
        texts = [lm.text(row) for row in ids[:, begin:].tolist()]
        return torch.tensor([any(stop in text for stop in how.stop) for text in texts], device=ids.device)

    return {"stopping_criteria": StoppingCriteriaList([stopped])} if how.stop else {}


def _rows(lm: "LocalLM", out: Any, begin: int, how: Decode) -> list[tuple[list[int], list[float]]]:
    """Of each row, the tokens written up to the end mark, and the log-probability of each (and of the mark's)."""
    beams = out.beam_indices if how.beams > 1 else None
    scores = lm.model.compute_transition_scores(out.sequences, out.logits, beams, normalize_logits=True)
    stop = set(ends(lm))
    found = []
    for row, logp in zip(out.sequences[:, begin:].tolist(), scores.tolist(), strict=True):  # [rows, steps]
        length = next((i for i, token in enumerate(row) if token in stop), len(row))
        found.append((row[:length], logp[: length + 1]))
    return found


def ends(lm: "LocalLM") -> list[int]:
    """The tokens that end what a model writes."""
    found: Tensor | int | list[int] | None = lm.model.generation_config.eos_token_id
    if found is None:
        return []
    return [found] if isinstance(found, int) else [int(end) for end in found]


def _text(lm: "LocalLM", ids: list[int], logp: list[float], how: Decode) -> Text:
    """The text up to the first stop, and the tokens that lie wholly before it (what was padded behind it is none)."""
    text = lm.text(ids)
    cut = min((at for stop in how.stop if (at := text.find(stop)) >= 0), default=-1)
    if cut < 0:
        return Text(text, tuple(ids), sum(logp))
    kept = max(count for count in range(len(ids) + 1) if len(lm.text(ids[:count])) <= cut)
    return Text(text[:cut], tuple(ids[:kept]), sum(logp[:kept]))

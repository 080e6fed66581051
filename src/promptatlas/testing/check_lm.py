"""What every language model keeps: nobody notices the batch, and every ask is what the plain model says."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from promptatlas.lm.ask import Ask, Decode, Given, Hidden, Job, Reading, Tokens, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part
from promptatlas.parts.prefix import normal
from promptatlas.parts.tokens import Tokens as RealTokens
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.parts.weights import LoRA, full, lora
from promptatlas.testing.same import claim, fingerprint, same
from promptatlas.text.runs import Before
from promptatlas.text.template import Template

TEXTS = (
    "a good movie",
    "the cat sat on the mat while a dog ran over the hill and the rain fell upon the old grey town",
    "",
    "bad",
    "电影很好看。",
    "this is about that, and the best of them all",
)
PLAIN = "{text} It was {mask}"


def check_lm(lm: LM) -> None:
    """Check a language model in float32.

    Raises:
        AssertionError: what it doesn't keep.
    """
    before = fingerprint(lm)
    for check in (_company, _asks, _answers, _real_tokens, _parts_by_row, _written, _embedded):
        check(lm)
    if isinstance(lm, LocalLM):
        _plain(lm)
    claim(fingerprint(lm) == before, "reading changed the model")


def rows(lm: LM, template: str = PLAIN, parts: Mapping[str, Part] | None = None, **widths: int) -> list[Row]:
    """`TEXTS` in a template."""
    parsed = Template.parse(template)
    masks = {slot: widths.get("width", 1) for slot in parsed.slots}
    return lm.encode([parsed.render({"text": text}) for text in TEXTS], parts or {}, widths=masks)


def words(lm: LM) -> tuple[int, ...]:
    """The first tokens of three words, in place."""
    before = Before(" It was ")
    return tuple(dict.fromkeys(lm.word(word, before)[0] for word in ("great", "terrible", "the")))


def logp(reading: Reading) -> Tensor:
    """Log-probabilities of a `Tokens` ask with its total."""
    values, total = reading[0]
    claim(total is not None, "`Tokens` with `mass` came back without a total")
    return values - total[:, None]  # type: ignore[index]


def _read(lm: LM, made: Sequence[Row], *asks: Ask, parts: Mapping[str, Part] | None = None) -> list[Reading]:
    with torch.no_grad():
        return lm.read([Job(row, asks, parts or {}) for row in made])


def _company(lm: LM) -> None:
    made, ask = rows(lm), Tokens(words(lm), mass=True)
    alone = [_read(lm, [row], ask)[0] for row in made]
    for order in (list(range(len(made))), list(reversed(range(len(made))))):
        together = _read(lm, [made[i] for i in order], ask)
        for i, found in zip(order, together, strict=True):
            same(logp(found), logp(alone[i]), f"company changes what {lm.name} says of `{TEXTS[i]}`")
            claim(bool(torch.isfinite(logp(found)).all()), f"{lm.name} says something not finite of `{TEXTS[i]}`")


def _asks(lm: LM) -> None:
    made, ids = rows(lm), words(lm)
    every = _read(lm, made, Vocabulary(), Tokens(ids), Tokens(ids, mass=True), Hidden(at="head"))
    for found, narrow in zip(every, _read(lm, made, Tokens(ids)), strict=True):
        vocabulary, plain, massed, states = found
        same(narrow[0].values, plain.values, "logits of tokens depend on what else is asked")
        same(logp((massed,)), vocabulary.values[:, list(ids)], "`Tokens` differs from `Vocabulary` at the same tokens")
        claim(states.values.shape[1] == lm.head, "what enters the head isn't as wide as `lm.head`")
        same(vocabulary.values.logsumexp(-1), torch.zeros(len(vocabulary.values)), "`Vocabulary` doesn't sum to one")


def _answers(lm: LM) -> None:
    answer = (words(lm) * 2)[:2]
    made = [row.then(answer) for row in rows(lm, width=2)]
    for row, (given, at_slot) in zip(made, _read(lm, made, Given(), Vocabulary()), strict=True):
        claim(given.values.shape == (1, 2), "`Given` doesn't give a log-probability a token")
        first = at_slot.values[0, answer[0]]
        same(given.values[0, 0], first, "the first token of an answer isn't read at the slot")
        if lm.kind == "masked":
            same(given.values[0, 1], at_slot.values[1, answer[1]], "the second token isn't read at the second mask")
        else:
            after = row.then((*answer[:1], *answer[:1]))
            other = _read(lm, [after], Given())[0][0].values
            same(other[0, 0], first, "the first token's log-probability depends on what follows it")


def _real_tokens(lm: LM) -> None:
    # the decoder of a seq2seq model may be fed the tokens before the slot again, which vectors have none of
    ids, template = words(lm), "{text} It was {mask}{@x}" if lm.kind == "seq2seq" else "{text}{@x} It was {mask}"
    asked = Tokens(ids, mass=True)
    found = []
    for part in (RealTokens(ids), Vectors(lm.vectors[list(ids)])):
        parts: dict[str, Part] = {"x": part}
        found.append(_read(lm, rows(lm, template, parts), asked, parts=parts))
    for tokens, vectors in zip(*found, strict=True):
        same(logp(vectors), logp(tokens), "vectors of real tokens don't read as those tokens")


def _parts_by_row(lm: LM) -> None:
    template, asked = "{@x}{text} It was {mask}", Tokens(words(lm), mass=True)
    choices: list[dict[str, Part]] = [{"x": vocabulary(lm, 3, seed=1)}, {"x": vocabulary(lm, 5, seed=2)}]
    if "prefix" in lm.can:
        choices += [{**choices[0], "prefix": normal(lm, length, seed=length)} for length in (2, 4)]
    if "weights" in lm.can:
        choices += [
            {**choices[1], "lora": _random(lora(lm, rank=2, places=("attention.out",)))},
            {**choices[0], "all": full(lm)},
        ]
    jobs = [Job(row, (asked,), parts) for parts in choices for row in rows(lm, template, parts)[:3]]
    with torch.no_grad():
        together = lm.read(jobs)
        alone = [lm.read([job])[0] for job in jobs]
    for i, (found, wanted) in enumerate(zip(together, alone, strict=True)):
        same(logp(found), logp(wanted), f"a row under {sorted(jobs[i].parts)} notices rows under other parts")
    for i, parts in enumerate(choices[1:], 1):
        off = logp(together[0]) - logp(together[3 * i])
        claim("all" in parts or float(off.abs().max()) > 0, f"parts {sorted(parts)} make no difference")


def _random(part: LoRA) -> LoRA:
    """Away from its start, where it does nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in part.up:
            one.copy_(torch.randn(one.shape, generator=generator) * 0.2)
    return part


def _written(lm: LM) -> None:
    if "generate" not in lm.can:
        return
    made, how = rows(lm), Decode(max_new=3)
    together = lm.generate([Job(row, ()) for row in made], how)
    for row, (text,) in zip(made, together, strict=True):
        claim(lm.generate([Job(row, ())], how)[0][0].ids == text.ids, "company changes what is written")
        given = _read(lm, [row.then(text.ids)], Given())[0][0].values if text.ids else torch.zeros(1, 0)
        if len(text.ids) == 3:  # else the end mark counts too
            same(given.sum(), torch.tensor(text.logp), "a text's log-probability isn't its tokens'")


def _embedded(lm: LM) -> None:
    together = lm.embed(TEXTS)
    claim(together.shape == (len(TEXTS), lm.hidden), "`embed` doesn't give a state a text")
    lengths = torch.tensor([float(bool(text)) for text in TEXTS])
    same(together.norm(dim=-1), lengths, "an embedding isn't of unit length (or zero, of an empty text)")
    for text, found in zip(TEXTS, together, strict=True):
        same(found, lm.embed([text])[0], "company changes an embedding")


def _plain(lm: LocalLM) -> None:
    """The plain model, a row at a time, its whole head."""
    answer = (words(lm) * 2)[:2]
    made = [row.then(answer) for row in rows(lm, width=2)]
    for row, (found, given) in zip(made, _read(lm, made, Vocabulary(), Given()), strict=True):
        logits = plain_logits(lm, row).log_softmax(-1)
        at = [at for slot in row.slots for at in slot.positions]
        same(found.values, logits[at], "a slot isn't what the plain model says there")
        steps = at if lm.kind == "masked" else [at[-1], at[-1] + 1]
        wanted = torch.stack([logits[step, token] for step, token in zip(steps, answer, strict=True)])[None]
        same(given.values, wanted, "an answer isn't what the plain model says of it")


def plain_logits(lm: LocalLM, row: Row) -> Tensor:
    """[length, vocab] of transformers' own pass over a row and its answer, without padding or parts."""
    ids: list[int] = [*row.ids, *(row.answer if lm.kind == "causal" else ())]
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=lm.device)}
    if lm.layout.types > 1 and lm.kind == "masked":
        inputs["token_type_ids"] = torch.tensor([row.types], device=lm.device)
    if lm.kind == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([[*row.feed, *row.answer]], device=lm.device)
    with torch.no_grad():
        found: Tensor = lm.model(**inputs).logits[0].float()
    return found

"""What every part and every method keeps."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Tags
from promptatlas.errors import NeedsError
from promptatlas.lm.ask import Job, Reading, Tokens
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.items import items
from promptatlas.testing.check_lm import check_lm, rows, words
from promptatlas.testing.same import claim, fingerprint, hashed, same, same_readings
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.train.needs import Method

__all__ = ["check_lm", "check_method", "check_part"]


def check_part(
    make: Callable[[LM], Part],
    lm: LM,
    *,
    empty: Callable[[LM], Part] | None = None,
    beside: Callable[[LM], Part] | None = None,
) -> None:
    """Check a part on a model that has a way in for it.

    Args:
        make: makes the part.
        lm: the model.
        empty: makes it with length 0, where that is legal; the model must then read as without it.
        beside: makes vectors that stand in the text beside it, where it does nothing on its own.

    Raises:
        AssertionError: what it doesn't keep.
    """
    company = {} if beside is None else {"beside": beside(lm)}
    part, before = make(lm), fingerprint(lm)
    again = type(part).build(json.loads(json.dumps(part.config())), part.tensors())
    claim(hashed(again.tensors()) == hashed(part.tensors()), f"{_name(part)} saved and built has other tensors")
    claim(again.config() == part.config(), f"{_name(part)} saved and built has another configuration")
    claim(not any(one.requires_grad for one in part.tensors().values()), f"tensors of {_name(part)} aren't detached")
    if part.site != "head":  # a head is called by the verbalizer that owns it
        values = _scores(lm, part, company)
        same(_scores(lm, again, company), values, f"{_name(part)} saved and built scores differently")
        if isinstance(part, nn.Module):
            _reached(part, values)
    if empty is not None:
        part = empty(lm)
        same(_scores(lm, part, company), _scores(lm, None, company), f"{_name(part)} of length 0 makes a difference")
    claim(fingerprint(lm) == before, f"{_name(part)} changed the model, or got it a gradient")


def check_method(method: Method, lm: LM, task: Task | None = None, prompt: Prompt | None = None) -> None:
    """Check a method on a model; on one whose kind it doesn't support, that it says so.

    Args:
        method: the method, with settings that make it quick.
        lm: the model, in float32.
        task: the toy task where not given; of labels, choices of one number, tags, or texts.
        prompt: what to fit; the toy task's where not given.

    Raises:
        AssertionError: what it doesn't keep.
    """
    task, prompt = task or toy(), prompt or toy_prompt()
    model, given = fingerprint(lm), _content(prompt)
    _refusals(method, lm, task, prompt)
    if lm.kind in method.needs.kinds and set(method.needs.can) <= lm.can:
        examples = task.test[:6]
        fitted = method.fit(lm, task, prompt)
        with torch.no_grad():
            if _members(fitted)[0].writes:
                _check_written(method.name, fitted, lm, examples)
            else:
                _check_scored(method.name, fitted, lm, prompt, examples)
        again = method.fit(lm, task, prompt)
        claim(_keys(again) == _keys(fitted), f"`{method.name}` gives another prompt for the same seed")
        claim(fitted.history[: len(prompt.history)] == prompt.history, f"`{method.name}` rewrites history")
        noted = fitted.history[len(prompt.history) :]
        claim(any(step.method == method.name for step in noted), f"`{method.name}` doesn't note itself in the history")
    claim(_content(prompt) == given, f"`{method.name}` changes the prompt it is given")
    claim(fingerprint(lm) == model, f"`{method.name}` changes the model, or leaves a gradient on it")


def _refusals(method: Method, lm: LM, task: Task, prompt: Prompt) -> None:
    """What it lacks, it says before any work."""
    needs = method.needs
    if lm.kind not in needs.kinds or not set(needs.can) <= lm.can:
        _refused(method, lm, task, prompt, f"a {lm.kind} model that can do {sorted(lm.can)}")
        return
    for split in needs.splits:
        _refused(method, lm, replace(task, **{split: ()}), prompt, f"a task without {split} examples")  # type: ignore[arg-type]
    if "text" in needs.tasks and "label" not in needs.tasks:
        _refused(method, lm, toy(), toy_prompt(), "a task of kind label")
    elif "text" not in needs.tasks:
        other = replace(task, kind="text", labels=(), words=None, metric="")
        _refused(method, lm, other, prompt, "a task of kind text")


def _refused(method: Method, lm: LM, task: Task, prompt: Prompt, what: str) -> None:
    try:
        method.fit(lm, task, prompt)
    except NeedsError:
        return
    raise AssertionError(f"`{method.name}` doesn't refuse {what} with a NeedsError")


def _check_written(name: str, fitted: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> None:
    """Answers that are written: the same in any company, and after saving."""
    values = [one.value for one in fitted.predict(lm, examples)]
    alone = [one.value for example in examples for one in fitted.predict(lm, [example])]
    claim(alone == values, f"the batch shows in what `{name}` writes")
    turned = [one.value for one in fitted.predict(lm, list(reversed(examples)))][::-1]
    claim(turned == values, f"the order shows in what `{name}` writes")
    loaded = _again(name, fitted)
    told = [one.value for one in loaded.predict(lm, examples)]
    claim(told == values, f"the prompt of `{name}`, loaded, writes differently")


def _check_scored(name: str, fitted: Prompt | Ensemble, lm: LM, prompt: Prompt, examples: Sequence[Example]) -> None:
    _check_scores(name, fitted, lm, examples)
    _check_saved(name, fitted, lm, examples)
    old, asked = (toy_prompt(), toy().test[:6]) if _untaught(prompt) else (prompt, examples)
    _check_mixed(name, [fitted, old], lm, [examples, asked])


def _check_scores(name: str, fitted: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> None:
    each = _scored(fitted, lm, examples)
    scores = torch.cat(each)
    same(scores.exp().sum(-1), torch.ones(len(scores)), f"probabilities of `{name}` don't sum to one")
    alone = torch.cat([row for one in examples for row in _scored(fitted, lm, [one])])
    same(alone, scores, f"the batch shows in scores of `{name}`")
    turned = torch.cat(_scored(fitted, lm, list(reversed(examples)))[::-1])
    same(turned, scores, f"the order shows in scores of `{name}`")
    values = [tuple(fitted.labels[at] for at in rows.argmax(-1).tolist()) for rows in each]
    told = [one.value if isinstance(one.value, tuple) else (one.value,) for one in fitted.predict(lm, examples)]
    claim(values == told, f"`{name}` predicts other labels than it scores highest")


def _check_saved(name: str, fitted: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> None:
    loaded = _again(name, fitted)
    before, after = (torch.cat(_scored(one, lm, examples)) for one in (fitted, loaded))
    same(after, before, f"the prompt of `{name}`, loaded, scores differently")


def _again(name: str, fitted: Prompt | Ensemble) -> Prompt | Ensemble:
    """A prompt after saving and loading."""
    with tempfile.TemporaryDirectory() as folder:
        save(fitted, Path(folder) / "saved")
        loaded = load(Path(folder) / "saved")
    claim(_keys(loaded) == _keys(fitted), f"the prompt of `{name}` isn't the same after saving and loading")
    return loaded


def _scored(prompt: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> list[Tensor]:
    """An example's log-probabilities: [1, labels], or [items, labels] where it has tags."""
    if isinstance(prompt, Prompt) and isinstance(prompt.view, Tags):
        return items(prompt, lm, examples)
    return list(prompt.score(lm, examples)[:, None])


def _untaught(prompt: Prompt) -> bool:
    """Whether it can't be asked before a method has made it a head."""
    return isinstance(prompt.view, Tags) and "head" not in prompt.parts


def _check_mixed(
    name: str, prompts: Sequence[Prompt | Ensemble], lm: LM, examples: Sequence[Sequence[Example]]
) -> None:
    """Rows of the new prompt and of an old one in a single read."""
    mine, others = (
        [job for one in _members(prompt) for job in _jobs(one, lm, some)]
        for prompt, some in zip(prompts, examples, strict=True)
    )
    mixed = [job for pair in zip(mine, others, strict=False) for job in pair] + mine[len(others) :]
    apart: dict[int, Reading] = {}
    for some in (mine, others):
        apart |= zip(map(id, some), lm.read(some), strict=True)
    for job, found in zip(mixed, lm.read(mixed), strict=True):
        same_readings(found, apart[id(job)], f"rows of `{name}` notice rows of another prompt")


def _jobs(prompt: Prompt, lm: LM, examples: Sequence[Example]) -> list[Job]:
    """What a prompt asks of the model for its rows."""
    reader, (lines, _) = prompt.reader(lm), prompt.lines(lm, examples)
    jobs = []
    for line in lines:
        for query in prompt.words.queries(lm, line.template, line.example, parts=prompt.parts):
            (row,) = reader.encode([line], width=query.width, room=len(query.answer))
            jobs.append(Job(row.then(query.answer), query.asks, prompt.parts))
    return jobs


def _members(prompt: Prompt | Ensemble) -> Sequence[Prompt]:
    return prompt.prompts if isinstance(prompt, Ensemble) else (prompt,)


def _keys(prompt: Prompt | Ensemble) -> list[str]:
    return [one.key for one in _members(prompt)]


def _content(prompt: Prompt) -> tuple[Any, ...]:
    return prompt.key, prompt.template, tuple(prompt.parts), prompt.history


def _scores(lm: LM, part: Part | None, company: Mapping[str, Part]) -> Tensor:
    """Logits under the part, in the middle of a text where it is one of the inputs."""
    here = "{@x}" if part is not None and part.site == "inputs" else ""
    template = "{text}" + here + "".join(f"{{@{name}}}" for name in company) + " It was {mask}"
    parts = {**company, **({} if part is None else {"x": part})}
    made = rows(lm, template, parts)
    return torch.cat([one[0].values for one in lm.read([Job(row, (Tokens(words(lm)),), parts) for row in made])])


def _reached(part: nn.Module, values: Tensor) -> None:
    trained = [one for one in part.parameters() if one.requires_grad and one.numel()]
    claim(bool(trained), f"{_name(part)} is a module with nothing to train")
    values.square().sum().backward()  # type: ignore[no-untyped-call]
    graded = [one.grad for one in trained if one.grad is not None]
    claim(any(bool(one.abs().sum() > 0) for one in graded), f"no gradient reaches {_name(part)}")


def _name(part: Part | nn.Module) -> str:
    return f"the part `{getattr(part, 'kind', type(part).__name__)}`"

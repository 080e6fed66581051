"""A first prompt: a template and label words, before any method. And whether a prompt fits a task."""

from collections.abc import Mapping, Sequence

from promptatlas.data.descriptions import added
from promptatlas.data.interval import Interval, check_poles
from promptatlas.data.task import Task
from promptatlas.data.view import Choices, One, Tags, View
from promptatlas.errors import DataError, TemplateError, near
from promptatlas.prompting.prompt import BETWEEN, Prompt
from promptatlas.prompting.rows import Verbalizer
from promptatlas.score.own import Own
from promptatlas.score.slots import SlotWords
from promptatlas.score.soft import EACH
from promptatlas.score.words import Words
from promptatlas.text.parse import located
from promptatlas.text.pieces import EachPiece, FieldPiece
from promptatlas.text.template import Template

SEEN = 100  # examples that are looked at to see what fields hold


def prompt(
    template: str | Template,
    words: Mapping[str, str | Sequence[str]] | Verbalizer | None = None,
    *,
    between: str | Template = BETWEEN,
    view: View | None = None,
) -> Prompt:
    r"""A prompt that nothing was learned for yet.

    Args:
        template: see `promptatlas.Template`.
        words: label -> its word or words, or a word a slot where the template has several (phrases whose words are
            parted by blanks; see `text.compose.Rules`); `Words(...)` where they fold otherwise than by default; None
            where every example brings its own choices, whose texts are then the answers, and where a list's items get
            tags, which a method trains a head for.
        between: text, and parts, after each demonstration.
        view: how an example becomes rows; where there are no words, a row a choice, or tags of `{tokens:each}`. One row
            and no words is a prompt whose answers are texts it writes: `view=task.view` is what suits a task.

    Raises:
        TemplateError: the template can't be read; the message names the column.
        WordError: words no model could read, or not a word a slot.

    >>> prompt("{text} It was {mask}.", {"good": "great", "bad": ["awful", "bad"]}).labels
    ('good', 'bad')
    """
    parsed = Template.parse(template) if isinstance(template, str) else template
    if not str(parsed).strip():
        raise TemplateError(
            "the template is empty", hint='say where the text and the answer go: "{text} It was {mask}."'
        )
    return Prompt(
        template=parsed,
        words=Own() if words is None else _words(words, parsed) if isinstance(words, Mapping) else words,
        between=Template.parse(between) if isinstance(between, str) else between,
        view=view or (One() if words is not None else Tags(parsed.each.name) if parsed.each else Choices()),
    )


def _words(words: Mapping[str, str | Sequence[str]], template: Template) -> Words | SlotWords:
    if len(template.slots) < 2:
        return Words.of(words)
    made = SlotWords.of(words)
    made.check(template)
    return made


def template_of(task: Task) -> str | None:
    """The task's own template; where it has none and texts are to be written, its fields and a slot behind them.

    Shown are all fields that are texts, and of the others, as JSON, those that hold more than all of these.
    """
    some = task.train[:SEEN]
    if task.template is not None or task.kind != "text" or not some:
        return task.template
    sizes = {name: sum(_letters(one.fields.get(name)) for one in some) for name in task.fields}
    texts = {name for name in task.fields if all(isinstance(one.fields.get(name), str) for one in some)}
    most = sum(sizes[name] for name in texts)
    shown = [
        f"{{{name}}}" if name in texts else f"{{{name}|json}}"
        for name in task.fields
        if name in texts or sizes[name] > most
    ]
    return " ".join([*shown, "{mask}"])


def _letters(value: object) -> int:
    """Characters of all the texts and numbers in a value."""
    if isinstance(value, Mapping):
        return sum(map(_letters, value.values()))
    return sum(map(_letters, value)) if isinstance(value, list | tuple) else len(str(value or ""))


def check_fit(prompt: Prompt, task: Task, *, words: bool = True) -> None:
    """Whether a prompt can answer a task.

    Args:
        prompt: the prompt.
        task: the task.
        words: whether labels must have words by now; without, a method may still find some.

    Raises:
        TemplateError: the template shows a field the task doesn't have, with its column; or has no place for tags.
        DataError: a label of the task has no word; or one has labels, choices, tags or texts, and the other doesn't.
    """
    _check_fields(prompt, task)
    if task.kind == "label" and prompt.writes and not words:
        return
    if (task.kind == "text") is not prompt.writes:
        _check_writes(prompt, task)
    if task.kind == "tags":
        _check_tags(prompt, task)
        return
    if task.kind == "choice":
        if isinstance(prompt.view, One):
            raise DataError(
                f"every example of `{task.name}` brings its own choices, and the prompt has words for labels",
                hint="leave the words out: the choices are the answers",
            )
        return
    if task.kind == "number" or isinstance(prompt.view, Interval):
        _check_number(prompt, task)
    if task.kind == "label" and (not prompt.labels or isinstance(prompt.view, Tags)):
        raise DataError(
            f"`{task.name}` has labels, and the prompt has no words for them", hint="give each label its words"
        )
    for label in task.labels if prompt.labels else ():
        if label not in prompt.labels:
            raise DataError(f"the label `{label}` of `{task.name}` has no word", hint=near(label, prompt.labels))


def _check_writes(prompt: Prompt, task: Task) -> None:
    """Refuse a prompt that writes, or one that doesn't, for this task."""
    if prompt.writes:
        hint = "give each label its words" if task.kind == "label" else "fit one for it, or make it with view=task.view"
        raise DataError(
            f"`{task.name}` is of kind {task.kind}, and the prompt's answers are texts it writes", hint=hint
        )
    has = "words for labels" if prompt.labels else "a choice as its answer"
    raise DataError(
        f"`{task.name}` is of kind text, its answers are written, and the prompt has {has}",
        hint="fit one for it: promptatlas fit prefix_tuning --lm pocket-causal",
    )


def _check_number(prompt: Prompt, task: Task) -> None:
    if task.kind != "number" or not isinstance(prompt.view, Interval):
        said = "a number" if isinstance(prompt.view, Interval) else "no number"
        raise DataError(
            f"`{task.name}` is of kind {task.kind}, and the prompt answers with {said}",
            hint="make one with view=task.view, and words for `low` and `high` where answers are numbers",
        )
    check_poles(prompt.words.labels)


def _check_tags(prompt: Prompt, task: Task) -> None:
    if not prompt.template.has_each:
        raise TemplateError(f"`{task.name}` has a tag an item, and `{prompt.template}` shows no items", hint=EACH)
    if not isinstance(prompt.view, Tags):
        raise DataError(
            f"`{task.name}` has tags, and the prompt answers with a label an example",
            hint="leave the words out: a method trains a head for the tags",
        )
    for tag in () if isinstance(prompt.words, Own) else task.labels:
        if tag not in prompt.labels:
            raise DataError(f"the prompt doesn't know the tag `{tag}` of `{task.name}`", hint=near(tag, prompt.labels))


def _check_fields(prompt: Prompt, task: Task) -> None:
    there, at = {*task.fields, *added(prompt.view)}, 0
    for piece in prompt.template.pieces:
        if isinstance(piece, FieldPiece | EachPiece) and piece.name not in there:
            problem = TemplateError(f"`{task.name}` has no field `{piece.name}`", hint=near(piece.name, there))
            raise located(problem, str(prompt.template), at)
        at += len(str(piece))

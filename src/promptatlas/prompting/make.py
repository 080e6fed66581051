"""A first prompt: a template and label words, before any method. And whether a prompt fits a task."""

from collections.abc import Mapping, Sequence

from promptatlas.data.task import Task
from promptatlas.data.view import Choices, One, Tags, View
from promptatlas.errors import DataError, TemplateError, near
from promptatlas.prompting.prompt import BETWEEN, Prompt
from promptatlas.prompting.rows import Verbalizer
from promptatlas.score.own import Own
from promptatlas.score.soft import EACH
from promptatlas.score.words import Words
from promptatlas.text.parse import located
from promptatlas.text.pieces import EachPiece, FieldPiece
from promptatlas.text.template import Template


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
        words: label -> its word or words; `Words(...)` where they fold otherwise than by default; None where every
            example brings its own choices, whose texts are then the answers, and where a list's items get tags, which
            a method trains a head for.
        between: text between two demonstrations.
        view: how an example becomes rows; where there are no words, a row a choice, or tags of `{tokens:each}`.

    Raises:
        TemplateError: the template can't be read; the message names the column.
        SettingError: words no model could read.

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
        words=Own() if words is None else Words.of(words) if isinstance(words, Mapping) else words,
        between=Template.parse(between) if isinstance(between, str) else between,
        view=view or (One() if words is not None else Tags(parsed.each.name) if parsed.each else Choices()),
    )


def check_fit(prompt: Prompt, task: Task) -> None:
    """Whether a prompt can answer a task.

    Raises:
        TemplateError: the template shows a field the task doesn't have, with its column; or has no place for tags.
        DataError: a label of the task has no word; or one has labels and the other choices, or tags.
    """
    _check_fields(prompt, task)
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
    if task.kind == "label" and not isinstance(prompt.view, One):
        raise DataError(
            f"`{task.name}` has labels, and the prompt has no words for them", hint="give each label its words"
        )
    for label in task.labels if prompt.labels else ():
        if label not in prompt.labels:
            raise DataError(f"the label `{label}` of `{task.name}` has no word", hint=near(label, prompt.labels))


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
    shown = {prompt.view.shown} if isinstance(prompt.view, Choices) else set()
    there, at = {*task.fields, *shown}, 0
    for piece in prompt.template.pieces:
        if isinstance(piece, FieldPiece | EachPiece) and piece.name not in there:
            problem = TemplateError(f"`{task.name}` has no field `{piece.name}`", hint=near(piece.name, there))
            raise located(problem, str(prompt.template), at)
        at += len(str(piece))

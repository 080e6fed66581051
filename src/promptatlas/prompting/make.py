"""A first prompt: a template and label words, before any method. And whether a prompt fits a task."""

from collections.abc import Mapping, Sequence

from promptatlas.data.descriptions import added
from promptatlas.data.task import Task
from promptatlas.data.view import Choices, One, View
from promptatlas.errors import DataError, TemplateError, near
from promptatlas.prompting.prompt import BETWEEN, Prompt
from promptatlas.prompting.rows import Verbalizer
from promptatlas.score.own import Own
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
            example brings its own choices, whose texts are then the answers.
        between: text between two demonstrations.
        view: how an example becomes rows; a row a choice where there are no words, else one row.

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
    own = words is None
    return Prompt(
        template=parsed,
        words=Own() if words is None else Words.of(words) if isinstance(words, Mapping) else words,
        between=Template.parse(between) if isinstance(between, str) else between,
        view=view or (Choices() if own else One()),
    )


def check_fit(prompt: Prompt, task: Task) -> None:
    """Whether a prompt can answer a task.

    Raises:
        TemplateError: the template shows a field the task doesn't have, with its column.
        DataError: a label of the task has no word; or one has labels and the other choices.
    """
    _check_fields(prompt, task)
    if task.kind == "choice":
        if isinstance(prompt.view, One):
            raise DataError(
                f"every example of `{task.name}` brings its own choices, and the prompt has words for labels",
                hint="leave the words out: the choices are the answers",
            )
        return
    if task.kind == "label" and not prompt.labels:
        raise DataError(
            f"`{task.name}` has labels, and the prompt has no words for them", hint="give each label its words"
        )
    for label in task.labels if prompt.labels else ():
        if label not in prompt.labels:
            raise DataError(f"the label `{label}` of `{task.name}` has no word", hint=near(label, prompt.labels))


def _check_fields(prompt: Prompt, task: Task) -> None:
    there, at = {*task.fields, *added(prompt.view)}, 0
    for piece in prompt.template.pieces:
        if isinstance(piece, FieldPiece | EachPiece) and piece.name not in there:
            problem = TemplateError(f"`{task.name}` has no field `{piece.name}`", hint=near(piece.name, there))
            raise located(problem, str(prompt.template), at)
        at += len(str(piece))

"""How a prompt is made to reason."""

from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.chains import Chains
from promptatlas.testing.tiny import tiny
from promptatlas.text.pattern import Kind, Pattern
from promptatlas.text.runs import SlotRun, TextRun
from promptatlas.train.reasoned import few_shot, stops, zero_shot

ROWS = [("Two and two?", "2 + 2 = 4.", "4"), ("Nine less one?", "9 - 1 = 8.", "8"), ("Six by six?", "", "36")]
TASK = Task(
    name="sums",
    kind="text",
    fields=("question", "rationale"),
    train=tuple(Example({"question": q, "rationale": r}, a, f"train:{at}") for at, (q, r, a) in enumerate(ROWS)),
)
START = prompt("Q: {question}\nA: {mask}", view=TASK.view)
ASKED = Example({"question": "One and one?"}, None, "asked")


def lm() -> LM:
    return tiny("gpt2")


def shown(made: Prompt, example: Example = ASKED) -> str:
    return "".join(
        run.text if isinstance(run, TextRun) else "|" * isinstance(run, SlotRun) for run in made.render(lm(), example)
    )


def made(
    task: Task = TASK,
    start: Prompt = START,
    *,
    k: int = 2,
    form: str = "{rationale} The answer is {label}.",
    kind: Kind = "number",
    find: str = "",
    seed: int = 0,
) -> Prompt:
    return few_shot(lm(), task, start, k=k, form=form, said=Pattern.of(kind, find), max_new=9, seed=seed)


def test_demonstrations_show_their_chain_and_the_query_stands_once_and_last() -> None:
    """Sheet 48, oracle 4: the exact text for K=2."""
    assert shown(made()) == (
        "Q: Two and two?\nA: 2 + 2 = 4. The answer is 4.\n\n"
        "Q: Nine less one?\nA: 9 - 1 = 8. The answer is 8.\n\n"
        "Q: One and one?\nA: |"
    )


def test_what_is_asked_is_not_shown_to_itself() -> None:
    assert shown(made(), TASK.train[0]) == (
        "Q: Nine less one?\nA: 9 - 1 = 8. The answer is 8.\n\nQ: Two and two?\nA: |"
    )


def test_only_fields_that_are_shown_are_kept() -> None:
    assert [one.fields.keys() for one in made().demos.pick(lm(), [ASKED])[0]] == [{"question"}] * 2


def test_examples_without_a_chain_are_not_drawn() -> None:
    with pytest.raises(SettingError) as caught:
        made(k=3)
    assert str(caught.value) == (
        "3 chains are to be shown, and 2 training examples of `sums` have all of `{rationale} The answer is {label}.`"
        "\n\nhint: set k=2, or write more chains"
    )


def test_the_draw_hangs_on_the_seed() -> None:
    task = replace(TASK, train=tuple(replace(TASK.train[0], key=str(at)) for at in range(20)))
    keys = [[one.key for one in made(task, seed=seed).demos.pick(lm(), [ASKED])[0]] for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]


def test_chinese_chains_are_shown_and_read() -> None:
    rows = [("二加二是多少？", "二加二等于4。", "4"), ("九减一是多少？", "九减一等于8。", "8")]
    task = replace(TASK, train=tuple(Example({"question": q, "rationale": r}, a) for q, r, a in rows))
    start = prompt("问：{question}\n答：{mask}", view=TASK.view)
    form = "{rationale}答案是{label}。"
    one = made(task, start, form=form, find=r"答案是(\d+)")
    assert shown(one, Example({"question": "一加一是多少？"})).endswith(
        "问：九减一是多少？\n答：九减一等于8。答案是8。\n\n问：一加一是多少？\n答：|"
    )
    assert one.view.how.stop == ("问：",)
    said = Pattern.of("number", alone=True)
    asked = zero_shot(lm(), start, trigger="让我们一步一步地想。", then="所以答案是", said=said, max_new=9)
    assert str(asked.template) == "问：{question}\n答：让我们一步一步地想。{mask}"


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        ("Q: {question}\nA: {mask}", "Q: {question}\nA: Think. {mask}"),
        ("Q: {question}\nA:{mask}", "Q: {question}\nA: Think.{mask}"),
        ("{question}{mask}", "{question} Think.{mask}"),
    ],
)
def test_a_sentence_asks_for_a_chain(template: str, asked: str) -> None:
    one = zero_shot(
        lm(), prompt(template, view=TASK.view), trigger="Think.", then="So", said=Pattern.of("number"), max_new=9
    )
    assert str(one.template) == asked
    assert isinstance(one.view, Chains)
    assert (one.view.then, one.view.how.max_new) == ("So", 9)


@pytest.mark.parametrize(
    ("template", "stop"),
    [
        ("Q: {question}\nA: {mask}", ("Q:",)),
        ("{question} {mask}", ("\n\n",)),
        (" \n{question} {mask}", ("\n\n",)),
        ("A {question} {mask}", ("\n\nA",)),  # alone it would end a chain at any A
        ("Add up.\n\nQ: {question}\nA: {mask}", ("Q:",)),
        ("Add up: {demos}Q: {question}\nA: {mask}", ("Q:",)),
    ],
)
def test_writing_stops_where_another_question_begins(template: str, stop: tuple[str, ...]) -> None:
    assert stops(lm(), prompt(template, view=TASK.view)) == stop


def test_writing_stops_as_the_model_writes_it() -> None:
    """The tiny BERT's vocabulary has no capitals, and knows no Q."""
    lowered = prompt("Question : {question} {mask}", view=TASK.view)
    assert stops(tiny("bert"), lowered) == ("Question :", "question :")
    assert stops(tiny("bert"), prompt("問: {question} {mask}", view=TASK.view)) == ("問:",)


def test_nothing_stops_where_only_a_blank_stands_between() -> None:
    assert stops(lm(), prompt("{question} {mask}", between=" ", view=TASK.view)) == ()


@pytest.mark.parametrize("form", ["{rationale} {mask}", "{rationale}", "{demos}{label}", "{@soft}{label}"])
def test_a_form_that_cannot_be_shown_is_refused(form: str) -> None:
    with pytest.raises(SettingError) as caught:
        made(form=form)
    assert caught.value.message == f"`{form}` can't be what a demonstration says"


def test_an_input_that_shows_the_chain_is_refused() -> None:
    with pytest.raises(SettingError, match="shows `rationale`, which is what is to be written"):
        made(start=prompt("{question} {rationale} {mask}", view=TASK.view))


def test_a_chain_needs_one_slot() -> None:
    with pytest.raises(SettingError, match=r"a chain is written at one slot, and .* has 2"):
        made(start=prompt("{question} {mask:a} {mask:b}", view=TASK.view))


MISREAD = [
    ({"find": r"result: (\d+)"}, "nothing"),
    ({"form": "{rationale} {label} of 9"}, "`9`"),
    ({"kind": "text", "form": "{label}"}, "nothing"),
]


@pytest.mark.parametrize(("given", "read"), MISREAD)
def test_a_pattern_has_to_read_what_is_shown(given: dict[str, str], read: str) -> None:
    with pytest.raises(DataError) as caught:
        made(**given)
    assert caught.value.message.startswith("the answer of example `train:0` is `4`; `")
    assert f"` reads {read} off `" in caught.value.message

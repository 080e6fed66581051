import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.data.read import read_rows
from promptatlas.data.task import METRICS, Task
from promptatlas.data.view import Choices, One
from promptatlas.errors import DataError, SettingError


def examples(split: str, count: int) -> tuple[Example, ...]:
    return tuple(Example({"text": f"{split} {i}"}, "no" if i % 3 else "yes", f"{split}:{i + 1}") for i in range(count))


TASK = Task(
    name="toy",
    kind="label",
    fields=("text",),
    labels=("no", "yes"),
    train=examples("train", 30),
    test=examples("test", 6),
    unlabeled=(Example({"text": "u"}, None, "unlabeled:1"),),
)


def counts(split: tuple[Example, ...]) -> dict[object, int]:
    return dict(Counter(example.target for example in split))


def keys(split: tuple[Example, ...]) -> set[str]:
    return {example.key for example in split}


def test_few_draws_k_a_label_and_as_many_for_dev():
    few = TASK.few(3, seed=0)
    assert counts(few.train) == counts(few.dev) == {"no": 3, "yes": 3}
    assert not keys(few.train) & keys(few.dev)


def test_few_leaves_the_rest_without_target():
    few = TASK.few(3, seed=0)
    assert few.unlabeled[0] == TASK.unlabeled[0]
    assert {example.target for example in few.unlabeled} == {None}
    assert keys(few.train) | keys(few.dev) | keys(few.unlabeled[1:]) == keys(TASK.train)
    assert len(few.train) + len(few.dev) + len(few.unlabeled) == 31


def test_few_leaves_the_task_and_its_test_alone():
    before = TASK.identity()
    few = TASK.few(3, seed=0)
    assert few.test == TASK.test
    assert TASK.identity() == before != few.identity()
    assert few == TASK.few(3, seed=0) != TASK.few(3, seed=1)


def test_dev_is_as_large_as_told():
    assert TASK.few(3, seed=0, dev=0).dev == ()
    assert len(TASK.few(3, seed=0, dev=0).unlabeled) == 25
    assert counts(TASK.few(3, seed=0, dev=2).dev) == {"no": 2, "yes": 2}


def test_dev_takes_what_there_is():
    assert counts(TASK.few(8, seed=0).dev) == {"no": 8, "yes": 2}


def test_dev_comes_from_dev_where_there_is_one():
    few = replace(TASK, dev=examples("dev", 9)).few(2, seed=0)
    assert counts(few.dev) == {"no": 2, "yes": 2}
    assert keys(few.dev) <= keys(examples("dev", 9))
    assert len(few.unlabeled) == 1 + 26


def test_few_of_too_few_says_of_which():
    with pytest.raises(DataError) as error:
        TASK.few(11, seed=0)
    assert (
        str(error.value) == "label `yes` has 10 examples, 11 were asked for\n\nhint: ask for at most 10 of each label"
    )


def test_few_of_none_is_refused():
    with pytest.raises(SettingError) as error:
        TASK.few(0, seed=0)
    assert str(error.value) == "k is 0\n\nhint: draw 1 or more"


def test_few_of_one_file_is_tested_on_what_was_not_drawn():
    task = read_rows([{"text": str(i), "label": i % 2} for i in range(20)])
    assert task.test == task.train
    few = task.few(3, seed=0)
    assert len(few.test) == 20 - 12
    assert not keys(few.test) & keys(few.train + few.dev)


def test_examples_without_keys_are_not_taken_for_one_another():
    bare = tuple(replace(example, key="") for example in TASK.train)
    assert len(replace(TASK, train=bare, test=bare).few(2, seed=0).test) == 30


def test_other_kinds_draw_k_in_all():
    task = read_rows([{"q": str(i), "choices": ["a", "b"], "answer": "ab"[i % 2]} for i in range(20)])
    few = task.few(4, seed=0)
    assert (len(few.train), len(few.dev), len(few.unlabeled)) == (4, 4, 12)


def test_identity_is_of_content_not_of_name_or_key():
    assert (
        replace(TASK, name="other", train=tuple(replace(e, key="") for e in TASK.train)).identity() == TASK.identity()
    )
    assert replace(TASK, labels=("yes", "no")).identity() != TASK.identity()
    assert replace(TASK, train=TASK.train[::-1]).identity() != TASK.identity()
    assert replace(TASK, train=TASK.train[1:], dev=TASK.train[:1]).identity() != TASK.identity()
    changed = replace(TASK.train[0], fields={"text": "something else"})
    assert replace(TASK, train=(changed, *TASK.train[1:])).identity() != TASK.identity()


def test_identity_is_the_same_in_every_process():
    task = read_rows([{"text": "é", "labels": ["b", "a"]}, {"text": "z", "labels": []}], about={"labels": ["a", "b"]})
    assert task.identity() == "eb31fa495c8bd39c9adc0c101144a4fd7f34ddb84ea96f261e93a6f0a23fcea6"


def test_identity_sees_into_arrays():
    class Image:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def tobytes(self) -> bytes:
            return self.content

    def task(content: bytes) -> Task:
        rows = [{"image": Image(content), "label": 0}, {"image": object(), "label": 1}]
        return read_rows(rows)

    assert task(b"a").identity() == task(b"a").identity() != task(b"b").identity()


def test_the_view_and_the_metric_go_by_kind():
    assert (TASK.view, TASK.metric) == (One(), "accuracy")
    choice = Task(name="c", kind="choice", fields=("choices",))
    assert (choice.view, choice.metric) == (Choices(), "accuracy")
    assert Task(name="t", kind="text", fields=("text",)).metric == METRICS["text"][0] == "bleu"


def test_numbers_alone_match_as_numbers():
    number, word = Example({"text": "a"}, ("1,200", "1200"), "one"), Example({"text": "b"}, "twelve", "other")
    assert (
        Task(name="t", kind="text", fields=("text",), train=(number,), metric="number_match").metric == "number_match"
    )
    with pytest.raises(DataError) as caught:
        Task(name="t", kind="text", fields=("text",), train=(number,), test=(word,), metric="number_match")
    assert str(caught.value) == (
        '`number_match` is of numbers, and example `other` of `t` has `twelve`\n\nhint: take "exact_match"'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "acuracy"}, "no metric `acuracy` for tasks of kind label\n\nhint: did you mean `accuracy`?"),
        ({"words": {"noo": ("x",)}}, "words for `noo`, which is no label of `toy`\n\nhint: did you mean `no`?"),
        ({"labels": ("no",)}, "labels of `toy` are `no`\n\nhint: two or more, each once"),
        ({"labels": ("no", "yes", "no")}, "labels of `toy` are `no`, `yes`, `no`\n\nhint: two or more, each once"),
        (
            {"labels": ("no", "yess")},
            "example `train:1` of `toy` has the label `yes`, not one of `no`, `yess`\n\nhint: did you mean `yess`?",
        ),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises((DataError, SettingError)) as error:
        replace(TASK, **change)
    assert str(error.value) == message


def test_a_kind_that_does_not_exist_is_named():
    code = (
        "from promptatlas.data.task import Task; Task(name='t', kind='lable', fields=())"  # where no test checks types
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.endswith("no kind of task `lable`\n\nhint: did you mean `label` or `labels`?\n")

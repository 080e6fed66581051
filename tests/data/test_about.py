import pytest

from promptatlas.data.about import About, read_about
from promptatlas.errors import DataError


def test_everything_that_may_be_said():
    about = read_about(
        {
            "name": "stars",
            "kind": "number",
            "labels": ["low", 5],
            "fields": ["text"],
            "metric": "spearman",
            "template": "{text} {mask}",
            "words": {"low": "bad", "5": ["good", "great"]},
            "description": "How many stars.",
            "low": 1,
            "high": 5.5,
            "licence": "Apache-2.0",
            "made": "By hand.",
        },
        "task.json",
    )
    assert about == About(
        name="stars",
        kind="number",
        labels=("low", "5"),
        fields=("text",),
        metric="spearman",
        template="{text} {mask}",
        words={"low": ("bad",), "5": ("good", "great")},
        description="How many stars.",
        low=1.0,
        high=5.5,
    )


def test_nothing_need_be_said():
    assert read_about({}, "task.json") == About()


def test_sub_prompts_and_rules():
    prompts, words = ["{text}", " {mask} {mask:b}"], {"x": ["a", "a b"], "y": {"reversed": "x"}}
    about = read_about({"template": prompts, "words": words, "none": "y"}, "task.json")
    assert about.template == "{text} {mask} {mask:b}"
    assert about.words == {"x": ("a", "a b"), "y": ("b a", "a")}
    assert about.none == "y"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lables": []}, "task.json: no key `lables`\n\nhint: did you mean `labels`?"),
        ({"kind": "tag"}, "task.json: `kind` is `tag`, which is no kind of task\n\nhint: did you mean `tags`?"),
        ({"kind": 1}, "task.json: `kind` is a number, not a string"),
        ({"labels": "a, b"}, "task.json: `labels` is a string, not a list of strings"),
        ({"labels": ["a", None]}, "an item of task.json: `labels` is null, not a string"),
        ({"labels": ["1", 1]}, "task.json: `labels` has `1` twice"),
        ({"kind": "label", "labels": ["a"]}, "task.json: `labels` has fewer than two labels"),
        (
            {"kind": "choice", "metric": "acc"},
            "task.json: no metric `acc` for tasks of kind choice\n\nhint: there are `accuracy`",
        ),
        ({"words": ["a"]}, "task.json: `words` is an array, not label words by label"),
        (
            {"words": {"a": {"reversed": "b"}}},
            "task.json: `words`: the rule of `a` reverses `b`, which has no words of its own\n\nhint: there are none",
        ),
        (
            {"template": ["{text}", "{mask"]},
            "task.json: `template`: column 1 of `{mask`: `{` is never closed\n\n"
            "hint: close it with `}`, or write `{{` for a brace that is text",
        ),
        ({"words": {"a": 1}}, "task.json: `words` of `a` is a number, not a list of strings"),
        ({"low": True}, "task.json: `low` is a boolean, not a number"),
        ({"high": "5"}, "task.json: `high` is a string, not a number"),
    ],
)
def test_what_does_not_fit_is_named(values, message):
    with pytest.raises(DataError) as error:
        read_about(values, "task.json")
    assert str(error.value) == message

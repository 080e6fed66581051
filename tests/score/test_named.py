import pytest
import torch

from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Job, Tokens
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt
from promptatlas.score.named import called, named_rows
from promptatlas.score.soft import LabelVectors
from promptatlas.testing import tiny, toy
from promptatlas.testing.tiny import names
from promptatlas.text.template import Template

TEMPLATE = Template.parse("{text} It was {mask}.")


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("org:top_members/employees", "organization top members employees"),
        ("Member-Collection(e1,e2)", "member collection"),
        ("no_relation", "no relation"),
        ("NA", "no relation"),
        ("Other", "other"),
        ("person", "person"),
        ("父子", "父子"),
    ],
)
def test_what_labels_are_called(label: str, wanted: str) -> None:
    assert called(label) == wanted


def test_a_label_without_words() -> None:
    with pytest.raises(SettingError, match=r"no words are left of the label `\(e1,e2\)`"):
        called("(e1,e2)")


@pytest.mark.parametrize("name", names("masked"))
def test_a_row_is_the_mean_over_the_names_own_tokens(name: str) -> None:
    """However long other labels' names are: nothing is padded."""
    lm = tiny(name)
    rows = named_rows({"a": "good cat", "b": "bad", "c": "the old grey town"}, lm, TEMPLATE)
    for row, words in zip(rows.weight, ("good cat", "bad", "the old grey town"), strict=True):
        ids = lm.word(words, TEMPLATE.before())
        torch.testing.assert_close(row.detach(), lm.outputs[list(ids)].float().mean(0).detach())
    assert not rows.bias.any()


def test_what_padding_would_do() -> None:
    """E5 = (1, 0), E7 = (0, 1), E0 = (3, 3): the mean of two is (.5, .5), and that of two and a pad another."""
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    torch.testing.assert_close(table[:2].mean(0), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(table.mean(0), torch.tensor([4 / 3, 4 / 3]))


def _bias(lm: LocalLM) -> torch.Tensor:
    return next(one for name, one in lm.model.named_parameters() if name.endswith(("decoder.bias", "predictions.bias")))


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_a_label_of_one_token_scores_as_it_does_but_for_its_bias(name: str) -> None:
    lm, words = tiny(name), {"a": "good", "b": "bad"}
    ids = tuple(lm.word(one, TEMPLATE.before())[0] for one in words.values())
    labels = LabelVectors(labels=("a", "b"))
    made = Prompt(template=TEMPLATE, words=labels, parts={labels.part: named_rows(words, lm, TEMPLATE)})
    (row,) = made.reader(lm).encode(made.lines(lm, toy().test[:1])[0])
    (query,) = labels.queries(lm, TEMPLATE, toy().test[0], parts=made.parts)
    with torch.no_grad():
        (rows, tokens), *_ = lm.read([Job(row, (*query.asks, Tokens(ids)), made.parts)])
    torch.testing.assert_close(rows.values[0], tokens.values[0] - _bias(lm)[list(ids)].detach(), atol=1e-5, rtol=0)


def test_labels_of_one_name_start_alike() -> None:
    with pytest.warns(UserWarning, match="labels `x` and `y` are both called `good` and start alike"):
        rows = named_rows({"x": "good", "y": "good"}, tiny("bert"), TEMPLATE)
    assert torch.equal(rows.weight[0], rows.weight[1])


def test_a_name_of_nothing_known_and_several_slots() -> None:
    with pytest.raises(WordError, match="nothing of `🐈`, what `x` is called, is in the vocabulary"):
        named_rows({"x": "🐈"}, tiny("bert"), TEMPLATE)
    with pytest.raises(WordError, match=r"labels are read at one slot, and .* has 2"):
        named_rows({"x": "good"}, tiny("bert"), Template.parse("{mask:a} {mask:b}"))

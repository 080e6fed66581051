import pytest
import torch
from tests.lm.rows import row
from torch import Tensor

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.ask import Job, Tokens
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import Vectors, of_labels, of_text, uniform, vocabulary
from promptatlas.testing.tiny import tiny


class Words(ScriptedLM):
    """A vocabulary of six vectors, and labels of known pieces."""

    def __init__(self) -> None:
        super().__init__((), lambda text: {})
        self.window, self.width = 50, 2

    @property
    def vectors(self) -> Tensor:
        return torch.tensor([[1.0, 0], [0, 1], [2, 2], [3, 0], [0, 3], [4, 4]])

    def tokens(self, text: str) -> tuple[int, ...]:
        return {"foo": (0, 2), "bar": (1,), "": ()}[text]


def rows(part: Vectors) -> list[list[float]]:
    return part.weight.tolist()


def among(one: list[float], table: Tensor) -> bool:
    return one in table.tolist()


def test_a_labels_vector_is_the_mean_of_its_pieces() -> None:
    lm = Words()
    made = of_labels(lm, ["foo"], 3)
    assert rows(made)[0] == [1.5, 1.0]
    assert rows(made)[1:] == rows(vocabulary(lm, 2, seed=0))


def test_labels_beyond_the_length_are_left_out_and_those_without_pieces() -> None:
    lm = Words()
    with pytest.warns(UserWarning, match="1 vectors can't start from 2 labels: the last are left out"):
        assert rows(of_labels(lm, ["foo", "bar"], 1)) == [[1.5, 1.0]]
    assert rows(of_labels(lm, ["", "bar"], 2))[0] == [0.0, 1.0]
    with pytest.warns(UserWarning, match="0 vectors"):
        assert of_labels(lm, ["foo"], 0).length == 0


def test_a_texts_pieces_are_a_vector_each() -> None:
    lm = Words()
    assert rows(of_text(lm, "foo")) == [[1.0, 0.0], [2.0, 2.0]]
    assert rows(of_text(lm, "foo", 1)) == [[1.0, 0.0]]
    longer = rows(of_text(lm, "foo", 4))
    assert longer[:2] == [[1.0, 0.0], [2.0, 2.0]]
    assert all(among(one, lm.vectors) for one in longer[2:])
    assert rows(of_text(lm, "")) == []


def test_sampled_vectors_are_different_pieces_of_the_first() -> None:
    lm = tiny("bert")
    made = rows(vocabulary(lm, 20, seed=0, top=30))
    assert len({tuple(one) for one in made}) == 20
    assert all(among(one, lm.vectors[:30]) for one in made)
    assert rows(vocabulary(lm, 20, seed=0, top=30)) == made
    assert rows(vocabulary(lm, 20, seed=1, top=30)) != made


def test_more_than_there_are_come_with_repeats() -> None:
    made = rows(vocabulary(tiny("bert"), 20, seed=0, top=5))
    assert len(made) == 20
    assert len({tuple(one) for one in made}) <= 5


def test_top_beyond_the_vocabulary_is_all_of_it() -> None:
    assert sorted(rows(vocabulary(Words(), 6, seed=0, top=99))) == sorted(Words().vectors.tolist())


@pytest.mark.parametrize("top", [0, -1])
def test_nothing_to_sample_from(top: int) -> None:
    with pytest.raises(SettingError, match=f"can't sample 3 pieces among the first {top} of the vocabulary"):
        vocabulary(tiny("bert"), 3, seed=0, top=top)


def test_uniform_vectors_are_in_their_range() -> None:
    lm = tiny("bert")
    made = uniform(lm, 50, seed=0).weight.detach()
    assert made.shape == (50, 32)
    assert float(made.min()) < -0.45
    assert float(made.max()) > 0.45
    assert float(made.abs().max()) <= 0.5
    half = uniform(lm, 50, seed=0, low=0.0).weight.detach()  # what the released configuration draws from
    assert float(half.min()) >= 0
    assert torch.equal(uniform(lm, 5, seed=1).weight, uniform(lm, 5, seed=1).weight)


@pytest.mark.parametrize("length", [-1, 160, 200])
def test_a_length_that_leaves_no_room(length: int) -> None:
    with pytest.raises(SettingError) as caught:
        uniform(tiny("bert"), length, seed=0)
    assert str(caught.value) == (
        f"{length} vectors leave no room for text in a window of 160\n\nhint: use a length from 0 to 159"
    )


def test_vectors_of_another_model_are_refused_with_both_shapes() -> None:
    lm = tiny("bert")
    parts = {"x": Vectors(torch.zeros(3, 16))}
    with pytest.raises(CannotAttach, match=r"vectors of shape \(3, 16\) don't fit tiny-bert, whose are 32 wide"):
        lm.read([Job(row(lm, "{@x}a {mask}", parts), (Tokens((7,)),), parts)])


def test_starts_are_alike_whatever_was_drawn_before() -> None:
    lm = tiny("bert")
    torch.manual_seed(1)
    first = vocabulary(lm, 3, seed=0).weight, normal(lm, 2, seed=0).places["self"]
    torch.manual_seed(2)
    again = vocabulary(lm, 3, seed=0).weight, normal(lm, 2, seed=0).places["self"]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_places_and_lengths_of_a_prefix() -> None:
    with pytest.raises(SettingError, match="this model has no attention called `cross`") as caught:
        normal(tiny("bert"), 2, seed=0, places=["cross"])
    assert caught.value.hint == "it has `self`"
    with pytest.raises(SettingError, match="a prefix can't have -1 positions"):
        normal(tiny("bert"), -1, seed=0)
    assert float(normal(tiny("bert"), 50, seed=0, scale=0.1).places["self"].detach().std()) == pytest.approx(
        0.1, rel=0.1
    )

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.data.example import Example
from promptatlas.demos.pick import Nearest
from promptatlas.errors import DataError, NeedsError, SettingError
from promptatlas.lm.scripted import ScriptedLM

POINTS = {
    "A": (0.8, 0.6),
    "B": (0.6, 0.8),
    "C": (-1.0, 0.0),
    "D": (1.0, 0.1),
    "E": (3.0, 0.0),
    "q": (1.0, 0.0),
    "": (0.0, 0.0),
}
POOL = tuple(Example({"text": name}, "label", name) for name in "ABCDE")
QUERY = Example({"text": "q"})


def model(points: dict[str, tuple[float, ...]] = POINTS, name: str = "points") -> ScriptedLM:
    nowhere = (0.0,) * len(next(iter(points.values())))
    return ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=lambda text: points.get(text, nowhere), name=name)


LM = model()


def names(demos: Nearest, query: Example = QUERY) -> str:
    return "".join(one.key for one in demos.pick(LM, [query])[0])


def test_cosine_by_hand() -> None:
    demos = Nearest.over(LM, POOL, k=5)
    assert names(demos) == "EDABC"
    (found,) = demos.neighbours(LM, [QUERY])
    assert found.indices == (4, 3, 0, 1, 2)
    assert found.similarities == pytest.approx((1, 0.995037, 0.8, 0.6, -1), abs=1e-6)


def test_euclidean_by_hand_and_a_tie() -> None:
    demos = Nearest.over(LM, POOL, k=5, metric="euclidean")
    assert names(demos) == "DABCE"  # C and E are both 2 away: the earlier one first
    (found,) = demos.neighbours(LM, [QUERY])
    assert found.similarities == pytest.approx((-0.1, -0.632456, -0.894427, -2, -2), abs=1e-6)
    swapped = Nearest.over(LM, POOL[::-1], k=5, metric="euclidean")
    assert names(swapped) == "DABEC"


@pytest.mark.parametrize(("metric", "nearest"), [("cosine", "ED"), ("euclidean", "DA")])
def test_the_two_nearest(metric: str, nearest: str) -> None:
    assert names(Nearest.over(LM, POOL, k=2, metric=metric)) == nearest  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_fewer_are_the_first_of_more(metric: str) -> None:
    whole = names(Nearest.over(LM, POOL, k=5, metric=metric))  # type: ignore[arg-type]
    for k in range(5):
        assert names(Nearest.over(LM, POOL, k=k, metric=metric)) == whole[:k]  # type: ignore[arg-type]


def test_the_order_shown_and_the_end_dropped() -> None:
    first, last = (Nearest.over(LM, POOL, k=3, order=order) for order in ("nearest_first", "nearest_last"))
    assert names(first) == "EDA"
    assert names(last) == "ADE"
    assert (first.drop, last.drop) == ("last", "first")
    assert not first.fixed


def test_an_example_is_never_its_own_neighbour() -> None:
    demos = Nearest.over(LM, POOL, k=4)
    for query in POOL:
        assert query.key not in names(demos, query)
        assert len(names(demos, query)) == 4
    twin = replace(POOL[3], key="another")
    (found,) = demos.neighbours(LM, [twin])
    assert (found.indices[0], found.similarities[0]) == (3, 1.0)
    assert len(names(replace(demos, k=5), POOL[0])) == 4  # no more are left


def test_what_repeats_is_left_out_where_asked() -> None:
    pool = (*POOL, *(replace(one, key=one.key.lower()) for one in POOL))
    assert names(Nearest.over(LM, pool, k=4)) == "EeDd"
    assert names(Nearest.over(LM, pool, k=4, dedupe=True)) == "EDAB"
    assert names(Nearest.over(LM, pool, k=4, dedupe=True), replace(POOL[4], key="x")) == "DABC"


finite = st.floats(-10, 10).map(lambda x: round(x, 3))
vectors = st.lists(st.tuples(finite, finite, finite).filter(lambda v: max(map(abs, v)) > 0.1), min_size=2, max_size=12)


def ranked(points: Sequence[tuple[float, ...]], metric: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The pool's indices by nearness to the first point."""
    table = {str(i): tuple(point) for i, point in enumerate(points)}
    pool = [Example({"text": str(i)}) for i in range(1, len(points))]
    lm = model(table)
    found = Nearest.over(lm, pool, k=len(pool), metric=metric).neighbours(lm, [Example({"text": "0"})])  # type: ignore[arg-type]
    return found[0]


@given(vectors, st.sampled_from([0.25, 4.0]), st.data())
def test_length_does_not_matter_to_a_cosine(points: list[tuple[float, ...]], scale: float, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(points) - 1))
    scaled = [tuple(x * scale for x in point) if i == at else point for i, point in enumerate(points)]
    before, after = ranked(points, "cosine"), ranked(scaled, "cosine")
    assert before == after


def test_length_matters_to_a_distance() -> None:
    points = [(1.0, 0.0), (1.0, 0.1), (0.5, 0.0)]
    assert ranked(points, "euclidean")[0] == (0, 1)
    assert ranked([points[0], points[1], (1.0, 0.0)], "euclidean")[0] == (1, 0)


@given(vectors)
def test_on_the_sphere_both_rank_alike(points: list[tuple[float, ...]]) -> None:
    lengths = [sqrt(sum(x * x for x in point)) for point in points]
    unit = [tuple(x / length for x in point) for point, length in zip(points, lengths, strict=True)]
    by_cosine, by_distance = ranked(unit, "cosine"), ranked(unit, "euclidean")
    cosines = dict(zip(*by_cosine, strict=True))
    for index, distance in zip(*by_distance, strict=True):
        assert distance**2 == pytest.approx(2 - 2 * cosines[index], abs=1e-5)
    ordered = [cosines[index] for index in by_distance[0]]
    assert ordered == pytest.approx(list(by_cosine[1]), abs=1e-6)  # but for ties that rounding breaks


def test_company_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    table = {str(i): tuple(torch.randn(4, generator=generator).tolist()) for i in range(1200)}
    lm, examples = model(table), [Example({"text": str(i)}, key=str(i)) for i in range(1200)]
    demos = Nearest.over(lm, examples[:300], k=5)
    together = demos.neighbours(lm, examples)
    for i in (0, 299, 511, 512, 1199):
        assert demos.neighbours(lm, [examples[i]]) == [together[i]]


def test_only_the_input_is_embedded() -> None:
    seen: list[str] = []

    def embedding(text: str) -> tuple[float, float]:
        seen.append(text)
        return (1.0, float(len(text)))

    lm = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=embedding)
    pool = [
        Example({"one": "a", "n": 3, "two": "b"}, "secret", "k1"),
        Example({"one": "a", "n": 4, "two": "b"}, "secret", "k2"),
    ]
    seen.clear()
    demos = Nearest.over(lm, pool, k=1)
    assert seen == ["a b"]  # equal texts once
    assert demos.fields == ("one", "two")
    assert Nearest.over(lm, pool, k=1, fields=["two"]).fields == ("two",)
    assert demos.pick(lm, [Example({"one": "c", "two": "d", "choice": "e"})]) == [[pool[0]]]
    words = Nearest.over(lm, [Example({"words": ["a", "b"]})], k=1, fields=("words",))
    assert len(words.vectors) == 1
    assert seen[-1] == "a b"


def test_a_text_without_a_vector_is_like_nothing_and_told() -> None:
    demos = Nearest.over(LM, POOL, k=2)
    with pytest.warns(UserWarning, match="a text has no vector"):
        (found,) = demos.neighbours(LM, [Example({"text": ""})])
    assert found == ((0, 1), (0.0, 0.0))
    with pytest.warns(UserWarning, match="a text has no vector"):
        assert names(Nearest.over(LM, [Example({"text": ""}, key="-"), *POOL], k=6)) == "EDAB-C"
    (found,) = replace(demos, metric="euclidean").neighbours(LM, [Example({"text": ""})])
    assert found.similarities == pytest.approx((-1, -1))


def test_none_are_shown_without_a_look() -> None:
    def never(text: str) -> tuple[float]:
        if text:
            raise RuntimeError("embedded")
        return (0.0,)

    lm = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=never)
    demos = Nearest(pool=(), vectors=torch.zeros(0, 1), k=0, fields=("text",))
    assert demos.pick(lm, [QUERY, QUERY]) == [[], []]
    assert demos.neighbours(lm, [QUERY]) == [((), ())]
    assert Nearest.over(LM, POOL, k=2).pick(LM, []) == []


def test_settings_and_examples_that_do_not_fit() -> None:
    for k, pool, message in [
        (6, POOL, "k=6 demonstrations are wanted, and the pool holds 5"),
        (1, (), "k=1 demonstrations are wanted, and the pool is empty"),
    ]:
        with pytest.raises(SettingError) as error:
            Nearest.over(LM, pool, k=k)
        assert error.value.message == message
    with pytest.raises(SettingError, match="1 vectors for 5 examples"):
        Nearest(pool=POOL, vectors=torch.zeros(1, 2), k=1, fields=("text",))
    with pytest.raises(DataError, match="an example has no field `text`, by which neighbours"):
        Nearest.over(LM, POOL, k=1).pick(LM, [Example({"test": "q"})])
    with pytest.raises(DataError, match="an example has no text in field `text`"):
        Nearest.over(LM, POOL, k=1).pick(LM, [Example({"text": 3})])


def test_the_model_that_embedded_the_pool_is_named() -> None:
    demos = Nearest.over(LM, POOL, k=1)
    with pytest.raises(NeedsError) as error:
        demos.pick(model(name="another"), [QUERY])
    assert str(error.value) == (
        "the pool of demonstrations was embedded by `points`, and this model is `another`\n\n"
        "hint: embed the pool with the model that is asked: Nearest.over(lm, examples, k=...)"
    )
    wide = model({"q": (1.0, 2.0, 3.0)})
    with pytest.raises(NeedsError, match="embedded by `points` as 2 numbers a text, where `points` gives 3"):
        demos.pick(wide, [QUERY])


def test_it_is_saved() -> None:
    demos = Nearest.over(LM, POOL, k=3, metric="euclidean", order="nearest_last", dedupe=True)
    again = Nearest.build(demos.config(), {name: value.clone() for name, value in demos.tensors().items()})
    assert again.config() == demos.config()
    assert again.pool == POOL
    assert torch.equal(again.vectors, demos.vectors)
    assert names(again) == names(demos) == "BAD"

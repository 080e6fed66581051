from collections import Counter

import pytest

from promptatlas.data.example import Example
from promptatlas.demos.pick import Demos, Fixed, NoDemos, Random
from promptatlas.errors import SettingError
from promptatlas.lm.scripted import ScriptedLM

LM = ScriptedLM(["a"], lambda text: {"a": 0.0})
POOL = tuple(Example({"text": f"text {i}"}, "even" if i % 2 == 0 else "odd", f"pool:{i}") for i in range(20))
QUERIES = [Example({"text": f"query {i}"}, None, f"query:{i}") for i in range(30)]


def keys(picked: list[list[Example]]) -> list[list[str]]:
    return [[one.key for one in some] for some in picked]


def test_none_and_the_same_for_all() -> None:
    assert NoDemos().pick(LM, QUERIES[:2]) == [[], []]
    shown = Fixed(POOL[:3])
    assert shown.pick(LM, QUERIES[:2]) == [list(POOL[:3])] * 2
    assert shown.fixed
    assert shown.drop == "first"


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("k", [0, 1, 2, 4, 7, 20])
def test_a_balanced_draw(k: int, each: bool) -> None:
    picked = Random(pool=POOL, k=k, seed=3, each=each).pick(LM, QUERIES)
    for some in picked:
        counts = Counter(one.target for one in some)
        assert len({one.key for one in some}) == len(some) == k
        assert abs(counts["even"] - counts["odd"]) <= 1


def test_all_are_shown_the_same_or_each_its_own() -> None:
    shared = keys(Random(pool=POOL, k=4, seed=0).pick(LM, QUERIES))
    assert all(some == shared[0] for some in shared)
    each = Random(pool=POOL, k=4, seed=0, each=True)
    own = keys(each.pick(LM, QUERIES))
    assert len({tuple(some) for some in own}) > 25
    assert keys(each.pick(LM, QUERIES[::-1])) == own[::-1]  # whoever is asked beside it
    assert (each.fixed, Random(pool=POOL, k=4, seed=0).fixed) == (False, True)


def test_seed_and_draw_decide() -> None:
    one = Random(pool=POOL, k=4, seed=0)
    assert one.pick(LM, QUERIES) == Random(pool=POOL, k=4, seed=0).pick(LM, QUERIES)
    drawn = {tuple(keys(one.pick(LM, QUERIES[:1], draw=draw))[0]) for draw in range(8)}
    seeded = {tuple(keys(Random(pool=POOL, k=4, seed=s).pick(LM, QUERIES[:1]))[0]) for s in range(8)}
    assert len(drawn) == len(seeded) == 8


def test_every_example_and_every_label_first_is_as_likely() -> None:
    shown, first = Counter(), Counter()
    for seed in range(400):
        (some,) = Random(pool=POOL, k=5, seed=seed).pick(LM, QUERIES[:1])
        shown.update(one.key for one in some)
        first.update([some[0].target])
    assert len(shown) == 20
    assert all(60 < count < 145 for count in shown.values())  # 100 expected
    assert 150 < first["even"] < 250


def test_unbalanced_draws_are_over_the_pool() -> None:
    pool = (*POOL[::2], POOL[1])  # ten even, one odd
    odd = [
        sum(one.target == "odd" for one in Random(pool=pool, k=2, seed=seed, balanced=False).pick(LM, QUERIES[:1])[0])
        for seed in range(300)
    ]
    assert 20 < sum(odd) < 100  # 2/11 of 300 is 55; a balanced draw has one each time
    assert sum(one.target == "odd" for one in Random(pool=pool, k=2, seed=0).pick(LM, QUERIES[:1])[0]) == 1


@pytest.mark.parametrize("each", [False, True])
def test_an_example_is_never_shown_to_itself(each: bool) -> None:
    demos = Random(pool=POOL, k=6, seed=1, each=each)
    for query, some in zip(POOL, demos.pick(LM, POOL), strict=True):
        assert query not in some
        assert len(some) == 6
        counts = Counter(one.target for one in some)
        assert counts["even"] == counts["odd"] == 3


def test_one_among_those_shown_has_another_in_its_place() -> None:
    demos = Random(pool=POOL, k=6, seed=1)
    shared = {one.key for one in demos.pick(LM, QUERIES[:1])[0]}
    for query, some in zip(POOL, keys(demos.pick(LM, POOL)), strict=True):
        assert set(some) & shared == shared - {query.key}


@pytest.mark.parametrize(
    ("shown", "query", "left"),
    [
        (Example({"t": "x"}, key="1"), Example({"t": "x"}, key="2"), 1),  # duplicates are two examples
        (Example({"t": "y"}, key="1"), Example({"t": "x"}, key="1"), 0),
        (Example({"t": "x"}, key="1"), Example({"t": "x"}), 0),
        (Example({"t": "x"}), Example({"t": "x"}, "label", "2"), 0),
        (Example({"t": "x", "n": 1}), Example({"t": "x", "n": 2}), 1),
        (Example({"t": "x"}), Example({"t": "x", "u": ""}), 1),
        (Example({"words": ["a", "b"]}), Example({"words": ("a", "b")}), 0),
    ],
)
def test_an_example_is_itself_by_key_or_else_by_fields(shown: Example, query: Example, left: int) -> None:
    assert len(Fixed((shown,)).pick(LM, [query])[0]) == left


def test_numbers_that_can_not_be_drawn() -> None:
    for k, pool, message in [
        (3, POOL[:2], "k=3 demonstrations are wanted, and the pool holds 2"),
        (1, (), "k=1 demonstrations are wanted, and the pool is empty"),
        (-1, POOL, "k=-1 demonstrations"),
    ]:
        with pytest.raises(SettingError) as error:
            Random(pool=pool, k=k, seed=0)
        assert error.value.message == message
    assert Random(pool=(), k=0, seed=0).pick(LM, QUERIES[:1]) == [[]]


def test_equal_keyless_examples_leave_enough_to_show() -> None:
    pool = (*(Example({"t": "x"}, "a") for _ in range(5)), *(Example({"t": f"{i}"}, "a") for i in range(3)))
    for seed in range(20):
        (some,) = Random(pool=pool, k=3, seed=seed).pick(LM, [pool[0]])
        assert sorted(str(one.fields["t"]) for one in some) == ["0", "1", "2"]


TARGETS = ["a", 1.5, None, frozenset({"x", "y"}), ("x", "y")]


@pytest.mark.parametrize(
    "demos",
    [
        NoDemos(),
        Fixed(tuple(Example({"t": str(target), "n": 2}, target, f"{i}") for i, target in enumerate(TARGETS))),
        Random(pool=POOL, k=3, seed=5, balanced=False, each=True),
    ],
)
def test_they_are_saved(demos: Demos) -> None:
    assert type(demos).build(demos.config(), demos.tensors()) == demos


def test_another_number_is_another_order_of_the_same():
    orders = [
        [one.key for one in Random(pool=POOL, k=4, seed=3, shuffle=at).pick(LM, QUERIES[:1])[0]] for at in range(6)
    ]
    assert len({frozenset(one) for one in orders}) == 1
    assert len({tuple(one) for one in orders}) > 2
    again = Random(pool=POOL, k=4, seed=3, shuffle=2)
    assert [one.key for one in Random.build(again.config(), {}).pick(LM, QUERIES[:1])[0]] == orders[2]

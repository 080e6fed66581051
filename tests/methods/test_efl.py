"""EFL: the sheet's oracles and invariants."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.descriptions import Descriptions
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.errors import ArtifactError, DataError, NeedsError, SettingError
from promptatlas.methods.efl import EFL
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.parts.head import Head
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import check_fit, prompt
from promptatlas.score.soft import Classifier
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.entailment import Entailed, entailment, sentences
from promptatlas.train.loss import Batch, generator
from promptatlas.train.run import Event, Run

TASK, START = toy(), toy_prompt()
TEXTS = {"pets": "the cat or a dog", "weather": "the rain upon a hill"}
THREE = Task(
    name="three", kind="label", fields=("title", "text"), labels=("pets", "weather", "news"),
    train=tuple(Example({"title": "the town", "text": one.fields["text"]}, one.target, one.key) for one in TASK.train),
)  # fmt: skip
DESCRIBED = {**TEXTS, "news": "news of the world"}
SHOWN = Prompt(template=Template.parse("{title} {text} It was {mask}"), words=toy_prompt().words)


def pairs(labels: tuple[str, ...], count: int = 24) -> Task:
    """Texts of which the second follows where it is a word of the first, contradicts where it isn't, …."""
    words = ("cat", "dog", "rain", "hill", "town", "movie")
    rows = [
        (f"the old {words[at % 6]}", words[(at + at % len(labels)) % 6], labels[at % len(labels)])
        for at in range(count)
    ]
    train = tuple(Example({"one": a, "two": b}, label, str(at)) for at, (a, b, label) in enumerate(rows))
    return Task(name="pairs", kind="label", fields=("one", "two"), labels=labels, train=train)


NLI = pairs(("entailment", "neutral", "contradiction"))
RELATED = Prompt(template=Template.parse("{one} ? {mask} , {two}"), words=Words.of({"a": "yes", "b": "no"}))


def written(task: Task, folder: Path) -> str:
    """The task as a folder."""
    folder.mkdir()
    lines = (json.dumps({**one.fields, "label": one.target}) for one in task.train)
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf8")
    return str(folder)


def trained(name: str = "bert", **settings: object) -> Prompt:
    """A prompt that learned entailment first, for as little as it takes."""
    return EFL(start="none", entailed="entailment", steps=2, batch=4, **settings).fit(tiny(name), NLI, RELATED)  # type: ignore[arg-type]


def posed(task: Task = TASK, start: Prompt = START, **settings: object) -> Prompt:
    """What is asked, before anything is trained."""
    return EFL(start="none", steps=0, **settings).fit(tiny("bert"), task, start)  # type: ignore[arg-type]


def test_worked_example() -> None:
    """Margins of 2 and 0.5, the first is right."""
    losses = entailment(torch.tensor([2.0, 0.5]), torch.tensor([True, False]))
    assert losses.tolist() == pytest.approx([0.126928, 0.974077], abs=1e-6)
    assert float(losses.mean()) == pytest.approx(0.550502, abs=1e-6)


def test_a_row_is_the_fields_and_a_description() -> None:
    asked = posed(THREE, SHOWN, descriptions=DESCRIBED)
    assert str(asked.template) == "{title} {text}{sep}{description!}"
    lines, owners = asked.lines(tiny("bert"), THREE.train[:2])
    assert owners == [(0, 3), (3, 6)]
    assert [line.example.fields["description"] for line in lines] == [*DESCRIBED.values()] * 2
    assert asked.labels == THREE.labels
    check_fit(asked, THREE)


def test_labels_are_described_by_the_prompt_s_own_words_where_nothing_else_is_said() -> None:
    start = prompt("{text} All in all , it was {mask} .", {"pets": ["good", "great"], "weather": "bad"})
    assert sentences(start) == {"pets": "All in all , it was good .", "weather": "All in all , it was bad ."}
    assert posed(start=start).view == Descriptions(TASK.labels, sentences(start), right="entailment")
    first = prompt("{mask} news : {text}", {"pets": "good", "weather": "bad", "other": "dull"})
    assert dict(posed(start=first).view.texts) == {"pets": "good news :", "weather": "bad news :"}  # type: ignore[attr-defined]


def loss_by_hand(asked: Prompt, batch: Batch, negatives: int) -> list[float]:
    """Of each example, from the head's logits of every description by themselves."""
    lm, view, found = tiny("bert"), asked.view, []
    for at, example in enumerate(batch.examples):
        scores = asked.reader(lm).fold(asked.lines(lm, [example])[0], mass=True).detach().exp()  # [labels, 2]
        p = dict(zip(view.labels, scores[:, 0].tolist(), strict=True))  # type: ignore[attr-defined]
        others = [label for label in p if label != example.target]
        drawn = torch.randperm(len(others), generator=batch.own(at))[:negatives].tolist()
        losses = [-torch.tensor(p[str(example.target)]).log(), *(-torch.tensor(1 - p[others[i]]).log() for i in drawn)]
        found.append(float(sum(losses)) / len(losses))
    return found


@pytest.mark.parametrize("negatives", [1, 2])
def test_the_loss_of_pairs_by_hand(negatives: int) -> None:
    asked = posed(THREE, SHOWN, descriptions=DESCRIBED)
    asked = asked.plus(
        head=Head(torch.randn(2, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0.4, -0.3]))
    )
    batch = Batch(THREE.train[:6], tuple(range(6)), 4, generator(0), seed=9)
    found = Entailed(negatives)(asked, tiny("bert"), batch)
    assert found.tolist() == pytest.approx(loss_by_hand(asked, batch, negatives), abs=1e-5)
    pieces = [Batch(batch.examples[a:b], batch.indices[a:b], 4, generator(1), seed=9) for a, b in ((0, 2), (2, 6))]
    split = torch.cat([Entailed(negatives)(asked, tiny("bert"), one) for one in pieces])
    torch.testing.assert_close(split, found, atol=1e-5, rtol=0)


def test_pairs_of_an_example() -> None:
    """Its own and so many others, all of them where as many are wanted; another draw at another step."""
    view = Descriptions(THREE.labels, DESCRIBED)
    example = THREE.train[0]

    def drawn(negatives: int, step: int) -> list[str]:
        draw = Batch((example,), (0,), step, generator(0)).own(0)
        rows = Entailed(negatives)._rows(view, example, "pets", draw)
        assert all(row.fields["description"] == DESCRIBED[label] for label, row in rows)
        return [label for label, _ in rows]

    assert {tuple(sorted(drawn(2, step))) for step in range(5)} == {("news", "pets", "weather")}
    ones = [drawn(1, step) for step in range(40)]
    assert all(one[0] == "pets" and len(one) == 2 for one in ones)
    assert {one[1] for one in ones} == {"news", "weather"}


def test_a_new_label_changes_no_other_s_score() -> None:
    lm, asked = tiny("bert"), posed(THREE, SHOWN, descriptions=DESCRIBED)
    more = replace(
        asked, view=Descriptions((*THREE.labels, "film"), {**DESCRIBED, "film": "a movie"}, right="entailment")
    )
    examples = THREE.train[:4]
    few, many = (one.mass(lm, examples).reshape(4, -1, 2) for one in (asked, more))
    torch.testing.assert_close(many[:, :3], few, atol=1e-5, rtol=0)


def test_of_one_description_the_other_label_is_what_does_not_follow() -> None:
    lm = tiny("bert")
    asked = posed(descriptions={"weather": TEXTS["weather"]})
    assert [len(asked.lines(lm, [one])[0]) for one in TASK.train[:2]] == [1, 1]
    follows = asked.mass(lm, TASK.test)[:, 0].exp()
    torch.testing.assert_close(asked.score(lm, TASK.test).exp()[:, 1], follows, atol=1e-5, rtol=0)
    batch = Batch(TASK.train[:4], tuple(range(4)), 0, generator(0))
    p = asked.mass(lm, batch.examples)[:, 0].exp()
    right = torch.tensor([one.target == "weather" for one in batch.examples])
    wanted = -torch.where(right, p, 1 - p).log()
    torch.testing.assert_close(Entailed()(asked, lm, batch), wanted, atol=1e-5, rtol=0)


def test_a_relation_of_three_labels_is_told_by_itself() -> None:
    tuned = trained()
    assert str(tuned.template) == "{one}{sep}{two}"
    assert isinstance(tuned.view, One)
    assert tuned.labels == NLI.labels


def test_a_start_carries_its_head_and_its_weights(tmp_path: Path) -> None:
    lm, saved = tiny("bert"), trained(seed=4)
    folder = save(saved, tmp_path / "nli")
    asked = EFL(start=str(folder), steps=0, descriptions=TEXTS).fit(lm, TASK, toy_prompt())
    for part in ("weights", "head"):
        assert all(
            torch.equal(one, saved.parts[part].tensors()[name]) for name, one in asked.parts[part].tensors().items()
        )
    assert asked.words == saved.words
    assert isinstance(asked.view, Descriptions)
    assert asked.view.right == "entailment"
    scores = asked.mass(lm, TASK.test[:3]).reshape(3, 2, 3).softmax(-1)  # entailment, neutral, contradiction
    odds = scores[..., 0].log() - scores[..., 1:].sum(-1).log()
    torch.testing.assert_close(asked.score(lm, TASK.test[:3]), odds.log_softmax(-1), atol=1e-5, rtol=0)
    assert [step.method for step in asked.history] == ["efl", "efl"]


def test_a_relation_of_two_labels_under_a_start_of_three(tmp_path: Path) -> None:
    lm = tiny("bert")
    task = pairs(("not", "same"))
    folder = save(trained(), tmp_path / "nli")
    tuned = EFL(start=str(folder), entailed="same", steps=2, batch=4).fit(lm, task, RELATED)
    assert tuned.labels == ("not", "same")
    follows = tuned.mass(lm, task.train[:4])[:, 0].exp()
    torch.testing.assert_close(tuned.score(lm, task.train[:4]).exp()[:, 1], follows, atol=1e-5, rtol=0)
    again = EFL(start=str(save(tuned, tmp_path / "two")), steps=0, descriptions=TEXTS).fit(lm, TASK, toy_prompt())
    assert again.view.right == "entailment"  # type: ignore[attr-defined]
    assert again.words == tuned.words


def test_a_task_to_start_from_is_trained_on_once(tmp_path: Path) -> None:
    lm, start = tiny("bert"), written(NLI, tmp_path / "nli")
    settings = {"descriptions": TEXTS, "steps": 2, "batch": 4, "start_steps": 3, "start_batch": 4}
    efl = EFL(start=start, **settings)  # type: ignore[arg-type]
    trained_for: list[int] = []

    def listen(event: Event) -> None:
        if event.what == "tune":
            trained_for.append(event.total)

    first = efl.fit(lm, TASK, toy_prompt(), run=Run(folder=tmp_path / "run", listen=listen))
    assert trained_for == [3] * 3 + [2] * 2
    kept = load(tmp_path / "run" / "stages" / "start")
    assert isinstance(kept, Prompt)
    trained_for.clear()
    second = efl.fit(lm, TASK, toy_prompt(), run=Run(folder=tmp_path / "run", listen=listen))
    assert 3 not in trained_for
    assert second == first == efl.fit(lm, TASK, toy_prompt())
    from_kept = EFL(start=str(tmp_path / "run" / "stages" / "start"), **settings).fit(lm, TASK, toy_prompt())  # type: ignore[arg-type]
    assert from_kept == first


def test_training_goes_on_from_what_is_there() -> None:
    lm = tiny("bert")
    once = EFL(start="none", steps=2, descriptions=TEXTS).fit(lm, TASK, toy_prompt())
    again = EFL(start="none", steps=1, lr=1e-12).fit(lm, TASK, once)
    assert again.view == once.view
    for part in ("weights", "head"):
        for name, one in once.parts[part].tensors().items():
            torch.testing.assert_close(again.parts[part].tensors()[name], one, atol=1e-6, rtol=0)


def test_what_was_learned_is_what_is_loaded_and_answers_plain_texts(tmp_path: Path) -> None:
    lm = tiny("roberta")
    tuned = EFL(start="none", steps=2, descriptions=TEXTS).fit(lm, TASK, toy_prompt())
    again = load(save(tuned, tmp_path / "efl"))
    assert again == tuned
    (answer,) = again.predict(lm, ["the cat sat"])
    assert answer == tuned.predict(lm, [Example({"text": "the cat sat"})])[0]
    assert set(answer.probabilities) == {"pets", "weather"}


def test_descriptions_serve_label_words_too() -> None:
    """Zero-shot, without a head: does the model say yes?"""
    view = Descriptions(TASK.labels, TEXTS, right="yes")
    asked = prompt("{text} ? {mask} , {description!}", {"no": "no", "yes": "yes"}, view=view)
    check_fit(asked, TASK)
    scores = asked.score(tiny("bert"), TASK.test[:4])
    mass = asked.mass(tiny("bert"), TASK.test[:4]).reshape(4, 2, 2)
    torch.testing.assert_close(scores, (mass[..., 1] - mass[..., 0]).log_softmax(-1), atol=1e-5, rtol=0)


def test_descriptions_are_never_cut() -> None:
    lm = tiny("bert")
    asked = posed(descriptions=TEXTS)
    (row, _) = asked.reader(lm).encode(asked.lines(lm, [Example({"text": "the cat sat on the mat " * 60})])[0])
    cut = {span.name: span.cut for span in row.spans if span.kind == "field"}
    assert cut["text"] > 0
    assert cut["description"] == 0


def test_learns_the_toy_task() -> None:
    lm, task = tiny("modernbert"), toy(train=64, seed=1)
    tuned = EFL(start="none", descriptions=TEXTS, steps=120, batch=12, lr=3e-3).fit(lm, task, toy_prompt())
    answers = tuned.predict(lm, task.test)
    assert sum(one.value == example.target for one, example in zip(answers, task.test, strict=True)) >= 29


def test_says_what_is_wrong(tmp_path: Path) -> None:
    lm = tiny("bert")

    def fails(task: Task = TASK, start: Prompt = START, **settings: object) -> str:
        with pytest.raises((SettingError, DataError)) as caught:
            EFL(**{"start": "none", "steps": 1, **settings}).fit(lm, task, start)  # type: ignore[arg-type]
        return str(caught.value)

    assert fails(descriptions={"pets": "a", "wether": "b"}) == (
        "a description for `wether`, which is no label\n\nhint: did you mean `weather`?"
    )
    assert fails(THREE, SHOWN, descriptions=TEXTS) == (
        "the label `news` has no description\n\nhint: describe every label, or one of two"
    )
    assert fails(THREE, SHOWN) == "the label `news` has no description\n\nhint: describe every label, or one of two"
    assert fails(start=replace(toy_prompt(), words=Classifier(labels=TASK.labels))) == (
        "the labels have no descriptions, and no words they could be made of\n\n"
        'hint: descriptions={"label": "a sentence that says what it means", ...}'
    )
    assert fails(entailed="pets", descriptions=TEXTS) == (
        "`entailed` and `descriptions` are both given\n\nhint: two texts need no descriptions"
    )
    assert fails(entailed="pets") == (
        "of two texts one may follow from the other, and the prompt shows of `toy`: `text`\n\n"
        'hint: describe the labels instead: descriptions={"label": "a sentence that says what it means", ...}'
    )
    assert fails(NLI, RELATED, entailed="entails") == (
        "`entails` is no label of `pairs`\n\nhint: did you mean `entailment`?"
    )
    assert fails(negatives=0) == "`negatives` is 0\n\nhint: it is 1 or more"
    plain = save(toy_prompt(), tmp_path / "plain")
    with pytest.raises(SettingError) as caught:
        EFL(start=str(plain)).fit(lm, TASK, toy_prompt())
    assert str(caught.value) == (
        f"the start `{plain}` tells no `entailment` by weights and a head of its own\n\n"
        'hint: fit one on a task of pairs and save it: `efl` with start="none", entailed="entailment"'
    )
    with pytest.raises(DataError, match="`nowhere` is no embedded task, file or folder"):
        EFL(start="nowhere").fit(lm, TASK, toy_prompt())
    other = save(trained("roberta"), tmp_path / "other")
    with pytest.raises(ArtifactError, match="learned on `tiny-roberta`"):
        EFL(start=str(other)).fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError, match="`efl` needs a task of kind label, and `toy` is of kind number"):
        EFL(start="none").fit(lm, replace(TASK, kind="number", labels=(), words=None, metric=""), toy_prompt())


def test_a_head_of_other_labels_is_no_start(tmp_path: Path) -> None:
    """Of a fine-tuned prompt, say; with "none" it isn't gone on from either."""
    lm = tiny("bert")
    tuned = FineTuning(steps=1).fit(lm, TASK, toy_prompt())
    with pytest.raises(SettingError, match="tells no `entailment`"):
        EFL(start=str(save(tuned, tmp_path / "tuned"))).fit(lm, TASK, toy_prompt())
    asked = EFL(start="none", steps=0, descriptions=TEXTS).fit(lm, TASK, tuned)
    assert asked.words.labels == ("entailment", "not_entailment")


def test_more_descriptions_than_there_are_are_not_drawn() -> None:
    with pytest.warns(UserWarning, match="`negatives` is 3, and an example has 1 other labels: all are taken"):
        three = EFL(start="none", steps=1, negatives=3, descriptions=TEXTS).fit(tiny("bert"), TASK, toy_prompt())
    assert three == EFL(start="none", steps=1, descriptions=TEXTS).fit(tiny("bert"), TASK, toy_prompt())


def test_a_start_that_tells_other_labels_gets_a_fresh_head(tmp_path: Path) -> None:
    lm, task = tiny("bert"), pairs(("a", "b", "c"))
    folder = save(trained(), tmp_path / "nli")
    with pytest.warns(UserWarning, match="the start's head tells other labels than the task has: a fresh one is used"):
        tuned = EFL(start=str(folder), steps=1, entailed="a").fit(lm, task, RELATED)
    assert tuned.labels == ("a", "b", "c")

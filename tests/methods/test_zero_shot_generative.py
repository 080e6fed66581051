"""Zero-shot classification by choosing: the sheet's invariants and bad input."""

from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.titles import Titled, Titles
from promptatlas.errors import ArtifactError, DataError, NeedsError, SettingError, TooLong
from promptatlas.lm.ask import Given, Job
from promptatlas.methods.in_context import InContext
from promptatlas.methods.pattern_tuning import PatternTuning
from promptatlas.methods.pmi import DomainPMI
from promptatlas.methods.zero_shot_generative import ZeroShotGenerative
from promptatlas.parts.weights import full
from promptatlas.prompting import Line, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.own import Own
from promptatlas.score.phrases import Phrases
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.pieces import FieldPiece
from promptatlas.train.loss import Batch, generator
from promptatlas.train.run import Run
from promptatlas.train.titles import Everything, documents, layout, learned, picked
from promptatlas.train.written import Written

TASK, LM = toy(), tiny("llama")
TOLD = {"pets": "the cat , a dog", "weather": 'the rain "and" news'}
WORDS = ("cat", "dog", "hill", "town", "film", "rain", "news", "sport", "world", "science", "great", "bad")
TRAINED = layout("en", FieldPiece("question", keep=True), [FieldPiece("text")])
CHOOSE = Prompt(template=TRAINED, words=Own(), parts={"weights": full(LM)})


def fitted(given: Prompt | None = None, **settings: object) -> Prompt:
    return ZeroShotGenerative(**settings).fit(LM, TASK, given or toy_prompt())  # type: ignore[arg-type]


def corpus(folder: Path, count: int = 12) -> str:
    """Documents whose title is a word that their text repeats."""
    texts = (f"{WORDS[at % 12]} {at}\nthe {WORDS[at % 12]} {at} and the {WORDS[at % 12]}" for at in range(count))
    (folder / "texts.txt").write_text("\n\n".join(texts), encoding="utf8")
    return str(folder / "texts.txt")


def questions(count: int = 6) -> list[Example]:
    some = tuple(Titled(f"{one} movie", f"the {one} " * 3, str(at)) for at, one in enumerate(WORDS))
    return list(Titles(some, seed=1, most=4))[:count]


def test_labels_are_options_of_the_question_and_only_the_text_is_cut() -> None:
    made = fitted(descriptions=TOLD)
    assert str(made.template) == (
        'Question: Which of these fits the text? : " the rain \'and\' news " , " the cat , a dog "\n'
        "Text: {text}\nAnswer: {mask}"
    )
    assert made.words == Phrases(texts={"pets": "the cat , a dog", "weather": "the rain 'and' news"})
    assert made.labels == TASK.labels
    (short,), (long,) = (made.reader(LM).encode([Line(made.template, Example({"text": "the cat " * n}))], room=20)
                         for n in (2, 400))  # fmt: skip
    own = [[row.ids[at] for span in row.spans if span.kind == "text" for at in range(span.start, span.end)]
           for row in (short, long)]  # fmt: skip
    assert own[0] == own[1]
    assert len(long) + 20 <= LM.window
    assert long.cut() > 0


def test_a_prompt_s_own_fields_are_shown_with_their_filters_each_once() -> None:
    template = prompt("{text|lower} and {title!}: {text} {mask}", {"pets": "a", "weather": "b"})
    assert "\nText: {text|lower} {title!}\nAnswer: {mask}" in str(fitted(template).template)


def test_chinese_questions() -> None:
    made = fitted(language="zh", question=2, descriptions={"pets": "电影", "weather": "服务"})
    assert str(made.template) == '问题：哪一个最能说明这段文字？ : " 服务 " , " 电影 "\n文字：{text}\n答案： {mask}'
    assert made.predict(LM, ["电影很好看", ""])[0].value in TASK.labels


def test_the_seed_orders_the_options_and_not_the_labels() -> None:
    orders = {str(fitted(seed=seed).template) for seed in range(8)}
    assert len(orders) == 2
    assert {fitted(seed=seed).labels for seed in range(4)} == {TASK.labels}


def test_an_answer_is_the_same_tokens_as_its_option() -> None:
    """In the question a blank stands before an option, and none after a slot: the blank is the answer's own."""
    lm = tiny("gpt2")
    made = ZeroShotGenerative(descriptions=TOLD).fit(lm, TASK, toy_prompt())
    (row,) = made.reader(lm).encode([Line(made.template, TASK.test[0])], room=20)
    for ids in made.words.tokens(lm, made.template):  # type: ignore[attr-defined]
        inner = ids[:-1]
        assert any(row.ids[at : at + len(inner)] == inner for at in range(len(row.ids)))


def test_what_is_trained_on_is_laid_out_as_what_is_asked() -> None:
    made = fitted(descriptions=TOLD)
    asked = 'Which of these fits the text? : " the rain \'and\' news " , " the cat , a dog "'
    example = Example({"question": asked, "text": "the cat sat"})
    rows = [LM.encode([one.render(example.fields)], {}, room=9)[0].ids for one in (TRAINED, made.template)]
    assert rows[0] == rows[1]


def test_what_is_written_is_an_answer_only_where_it_is_a_description() -> None:
    made = fitted(answer="write", descriptions=TOLD)
    nothing, _ = made.predict(LM, ["the cat sat", "rain"])
    assert nothing.value is None
    assert nothing.why.startswith("wrote `")
    assert nothing.why.endswith("`, which is no label's phrase")
    assert nothing.probabilities == {}
    said = nothing.why.removeprefix("wrote `").removesuffix("`, which is no label's phrase")
    found = fitted(answer="write", descriptions={"pets": said, "weather": "Rain"}, seed=1)
    assert found.words.match(said) == "pets"  # type: ignore[attr-defined]
    assert float(made.score(LM, ["the cat sat"]).exp().sum()) == pytest.approx(1.0)


def test_what_a_model_learned_to_say_it_writes() -> None:
    """Weights that say one description whatever is asked, and then end."""
    example = [Example({"text": "the cat sat", "question": "x"}, "the cat , a dog")]
    made = fitted(answer="write", descriptions=TOLD)
    weights = full(LM)
    optim = torch.optim.AdamW(weights.parameters(), lr=1e-2)
    words = Own()
    for _ in range(60):
        trained = Prompt(template=made.template, words=words, parts={"weights": weights})
        loss = Written(over="mean")(trained, LM, Batch(tuple(example), (0,), 0, generator(0))).mean()
        optim.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optim.step()
    (answer,) = fitted(Prompt(template=toy_prompt().template, words=toy_prompt().words, parts={"weights": weights}),
                       answer="write", descriptions=TOLD).predict(LM, ["the cat sat"])  # fmt: skip
    assert answer.value == "pets"
    assert answer.why == ""
    assert answer.confidence > 0.5


def test_the_loss_of_the_answer_by_hand_whatever_the_question_s_labels() -> None:
    asked = questions()
    batch = Batch(tuple(asked), tuple(range(len(asked))), 0, generator(0))
    found = Written(over="mean")(CHOOSE, LM, batch)
    for example, loss in zip(asked, found.tolist(), strict=True):
        ids = Written().tokens(CHOOSE, LM, example)
        assert ids[-1] == LM.tokenizer.backend.eos_token_id or len(ids) > 1
        (row,) = CHOOSE.reader(LM).encode([Line(TRAINED, example)], room=len(ids))
        ((read,),) = LM.read([Job(row.then(ids), (Given(),), {})])
        assert loss == pytest.approx(-float(read.values.mean()), abs=1e-5)


def test_the_loss_of_everything_by_hand() -> None:
    (example,) = questions(1)
    found = Everything()(CHOOSE, LM, Batch((example,), (0,), 0, generator(0)))
    ids = Written().tokens(CHOOSE, LM, example)
    (row,) = CHOOSE.reader(LM).encode([Line(TRAINED, example)], room=len(ids))
    whole = torch.tensor([[*row.ids, *ids]])
    logp = LM.model(input_ids=whole).logits[0, :-1].log_softmax(-1)
    by_hand = -logp.detach().gather(1, whole[0, 1:, None]).mean()
    assert found.tolist() == pytest.approx([float(by_hand)], abs=1e-5)
    with pytest.raises(NeedsError, match="predicts no question") as caught:
        Everything()(CHOOSE, tiny("t5"), Batch((example,), (0,), 0, generator(0)))
    assert caught.value.hint == 'loss_on="answer"'


def test_a_start_is_learned_from_raw_text_kept_and_used_again(tmp_path: Path) -> None:
    file = corpus(tmp_path, 150)
    how = {"steps": 2, "batch": 2, "most": 3}
    made = fitted(start=(file,), **how)
    titles, task = made.history[-2:]
    assert (titles.task, task.task) == ("titles", TASK.identity())
    assert titles.figures["documents"] == 150 - titles.figures["looked"]  # type: ignore[operator]
    assert {"chance", "scored", "written", "valid", "loss"} <= titles.figures.keys()
    save(made, tmp_path / "start")
    again = fitted(start=(str(tmp_path / "start"),), descriptions=TOLD, question=3)
    assert again.parts.keys() == {"weights"}
    assert again.history[:-1] == load(tmp_path / "start").history  # type: ignore[union-attr]
    same = fitted(start=(str(tmp_path / "start"),))
    assert torch.allclose(same.score(LM, TASK.test[:4]), made.score(LM, TASK.test[:4]), atol=1e-6)
    assert not torch.allclose(same.score(LM, TASK.test[:4]), fitted().score(LM, TASK.test[:4]), atol=1e-4)
    more = fitted(start=(str(tmp_path / "start"), file), **how)
    assert [one.task for one in more.history] == ["titles", TASK.identity(), "titles", TASK.identity()]
    assert not torch.allclose(more.score(LM, TASK.test[:4]), made.score(LM, TASK.test[:4]), atol=1e-6)
    with pytest.raises(ArtifactError, match="has other weights"):
        ZeroShotGenerative(start=(str(tmp_path / "start"),)).fit(tiny("gpt2"), TASK, toy_prompt())


def test_what_is_kept_out_is_not_learned_from(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text(f"Title one\n{' '.join(map(str, range(20)))}\n\nTitle two\nanother text", encoding="utf8")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text(" ".join(map(str, range(20))), encoding="utf8")
    kept = documents([str(file)], characters=99, without=[str(tmp_path / "kept")])
    assert [one.title for one in kept] == ["Title two"]
    assert len(documents([str(file)], characters=99)) == 2


@pytest.mark.slow
def test_a_tiny_model_learns_to_pick_titles_it_never_saw() -> None:
    """The sheet's check 5: a title is two words that its text repeats."""
    lm, asking = tiny("llama", scale=2.0), Prompt(template=TRAINED, words=Own())
    names = [f"{one} {other}" for one in WORDS for other in WORDS if one != other]
    some = [Titled(name, f"{name} {name} {name}", str(at)) for at, name in enumerate(names)]
    made, figures = learned(asking, lm, some[:100], steps=400, batch=8, lr=3e-3, most=2, run=Run())
    unseen = list(Titles(some[100:], seed=0, most=2, passes=4))
    before, after = picked(asking, lm, unseen), picked(made, lm, unseen)
    assert figures["loss"] < 1.0  # type: ignore[operator]
    assert abs(before["scored"] - 0.5) < 3 * 0.045  # type: ignore[operator]
    assert after["scored"] > 0.5 + 3 * 0.045  # type: ignore[operator]
    assert before["valid"] == 0.0
    assert after["written"] > 0.1  # type: ignore[operator]


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    for settings, told in (
        ({"descriptions": {"cats": "Cats"}}, "a description of `cats`, which is no label"),
        ({"descriptions": {"pets": ""}}, "the phrase of `pets` is empty"),
        ({"descriptions": {"pets": "Weather"}}, "`pets` and `weather` have one phrase"),
        ({"question": 26}, "there is no question 26"),
    ):
        with pytest.raises(SettingError, match=told):
            fitted(**settings)  # type: ignore[arg-type]
    save(toy_prompt(), tmp_path / "plain")
    with pytest.raises(SettingError, match="has no weights that learned"):
        fitted(start=(str(tmp_path / "plain"),))
    with pytest.raises(DataError, match="can't be read"):
        fitted(start=(str(tmp_path / "nosuch.txt"),))
    (tmp_path / "one.txt").write_text("Title\ntext", encoding="utf8")
    with pytest.raises(DataError, match="documents with a title"):
        fitted(start=(str(tmp_path / "one.txt"),))
    with pytest.raises(NeedsError, match="needs a causal or seq2seq model"):
        ZeroShotGenerative().fit(tiny("bert"), TASK, toy_prompt())


def test_options_that_do_not_fit_are_refused_and_an_empty_text_is_asked() -> None:
    long = fitted(descriptions={"pets": "the cat and the dog " * 40, "weather": "rain"})
    with pytest.raises(TooLong, match="what may not be cut"):
        long.predict(LM, ["the cat"])
    assert fitted().predict(LM, [""])[0].value in TASK.labels


def test_a_model_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LM.model.generation_config, "eos_token_id", None)
    with pytest.raises(NeedsError, match="needs an end mark, and `tiny-llama` has none"):
        fitted()


@pytest.mark.parametrize("answer", ["sum", "trie"])
def test_other_methods_go_on_from_it(answer: str) -> None:
    made = fitted(descriptions=TOLD, answer=answer)
    tuned = PatternTuning(steps=2, batch=4).fit(LM, TASK, made)
    divided = DomainPMI(looked=2).fit(LM, TASK, made)
    shown = InContext(k=2).fit(LM, TASK, made)
    assert "Answer: the cat , a dog" in "".join(
        getattr(run, "text", "") for run in shown.render(LM, TASK.test[0])
    )  # a demonstration shows its description
    for one in (tuned, divided, shown):
        assert one.labels == TASK.labels
        assert one.score(LM, TASK.test[:1]).detach().exp().sum().item() == pytest.approx(1.0, abs=1e-5)

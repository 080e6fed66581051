"""Choosing among prompts and methods with a model: what each is asked, what is kept, what the result says."""

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed
from promptatlas.errors import ArtifactError, DataError, NeedsError, PromptAtlasError, SettingError, TooLong
from promptatlas.lm.lm import LM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.methods.in_context import InContext
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.testing.tasks import WORDS, toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.candidate import Candidate
from promptatlas.train.folds import Selection
from promptatlas.train.needs import Method, Needs
from promptatlas.train.run import Cancelled, Run
from promptatlas.train.select import chosen, select

TASK = toy(train=8, dev=4, test=4)
PLAIN = toy_prompt()
TEMPLATES = ("{text} It was {mask}", "A {mask} movie : {text}", "{text} Topic : {mask}")
SAID = {"pets": {"good": math.log(0.9), "bad": math.log(0.1)}, "weather": {"good": math.log(0.4), "bad": math.log(0.6)}}


def templates(*texts: str) -> list[Candidate]:
    return [Candidate(name=text, prompt=prompt(text, WORDS)) for text in texts]


class Seen:
    """Answers "good" with .9 where a cat or a dog is in the text, else with .4; keeps what it was shown."""

    def __init__(self, certain: bool = False) -> None:
        self.texts: list[str] = []
        self.certain = certain

    def __call__(self, text: str) -> dict[str, float]:
        self.texts.append(text)
        if self.certain:
            return {"good": 0.0}
        return SAID["pets" if "cat" in text.split() or "dog" in text.split() else "weather"]


def scripted(seen: Seen) -> ScriptedLM:
    words = {word for one in TASK.train + TASK.dev for word in str(one.fields["text"]).split()}
    return ScriptedLM(sorted(words | {"good", "bad", "It", "was", "Topic", ":", "A", "movie"}), seen)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Learns nothing, and keeps what it was given to learn from."""

    given: list[Task]
    fails: bool = False
    two: bool = False

    name: ClassVar[str] = "watched"
    needs: ClassVar[Needs] = Needs()

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        self.given.append(task)
        if self.fails and len(self.given) > 1:
            raise PromptAtlasError("the training loss is nan")
        assert isinstance(self, Method)
        done = prompt.noted(lm, self, task.identity())
        return Ensemble(prompts=(done, done)) if self.two else done


def watched(name: str, *, fails: bool = False, two: bool = False) -> tuple[Candidate, list[Task]]:
    given: list[Task] = []
    method = Watched(given=given, fails=fails, two=two)
    return Candidate(name=name, prompt=PLAIN, methods=(method,)), given


def test_what_is_lost_is_minus_the_log_probability_of_the_right_label() -> None:
    seen = Seen()
    choice = chosen(templates(*TEMPLATES[:2]), scripted(seen), TASK, Selection(folds=4))
    share = Counter(str(one.target) for one in TASK.train)
    assert share == {"pets": 4, "weather": 4}
    wanted = -(math.log(0.9) + math.log(0.6)) / 2
    assert [one.value for one in choice.scores] == pytest.approx([wanted, wanted], abs=1e-6)
    assert choice.scores[0].accuracy == 1


@pytest.mark.parametrize(
    "how",
    [
        Selection(folds=4, orders=3, nested=True),
        Selection(kind="mdl", folds=None, orders=4),
        Selection(kind="mdl", folds=2, first=4, orders=3, nested=True),
    ],
)
def test_a_prompt_that_learns_nothing_is_read_once(how: Selection) -> None:
    seen = Seen()
    choice = chosen(templates(*TEMPLATES[:2]), scripted(seen), TASK, how)
    assert len(seen.texts) == 2 * len(TASK.train)
    assert len(choice.folds) > 4
    assert len(set(seen.texts)) == len(seen.texts)


def test_the_scores_are_those_of_the_prompt() -> None:
    lm = tiny("bert", scale=6.0)
    choice = chosen(templates(*TEMPLATES), lm, TASK, Selection(folds=4))
    right = torch.tensor([TASK.labels.index(str(one.target)) for one in TASK.train])
    for score, text in zip(choice.scores, TEMPLATES, strict=True):
        logp = prompt(text, WORDS).score(lm, TASK.train)
        assert score.value == pytest.approx(-logp.gather(1, right[:, None]).mean().item(), abs=1e-5)
        assert score.accuracy == (logp.argmax(1) == right).float().mean().item()
    assert choice.at == min(range(3), key=lambda at: choice.scores[at].value)


def test_a_label_without_any_probability_costs_what_one_in_a_million_does() -> None:
    choice = chosen(templates(*TEMPLATES[:2]), scripted(Seen(certain=True)), TASK, Selection(folds=4))
    wanted = (-math.log(1e-6) - math.log(1 - 1e-6)) / 2
    assert choice.scores[0].value == pytest.approx(wanted, rel=1e-6)


def test_a_method_is_fitted_anew_to_each_fold_alone() -> None:
    lm, how = scripted(Seen()), Selection(folds=4)
    (one, given), (other, _) = watched("one"), watched("other")
    choice = chosen([one, other], lm, TASK, how)
    assert [task.train for task in given] == [tuple(TASK.train[at] for at in fold.train) for fold in choice.folds]
    assert all(task.test == () and task.dev == TASK.dev and task.unlabeled == TASK.unlabeled for task in given)


def test_before_the_first_block_nothing_is_learned() -> None:
    (one, given), (other, _) = watched("one"), watched("other")
    choice = chosen([one, other], scripted(Seen()), TASK, Selection(kind="mdl", folds=4))
    assert [len(task.train) for task in given] == [2, 4, 6]
    assert [len(held.loss) for held in choice.scores[0].held] == [2, 2, 2, 2]


def test_a_label_may_be_missing_from_what_is_learned() -> None:
    """Training on one label alone still gives the other a probability."""
    lm = tiny("bert", scale=6.0)
    few = replace(TASK, train=(TASK.train[0], *(one for one in TASK.train if one.target != TASK.train[0].target)))
    tuning = [
        Candidate(name=str(lr), prompt=PLAIN, methods=(PromptTuning(steps=2, length=2, lr=lr),)) for lr in (0.01, 0.3)
    ]
    choice = chosen(tuning, lm, few, Selection(folds=None))
    missing = [fold for fold in choice.folds if len({few.train[at].target for at in fold.train}) == 1]
    assert len(missing) == 1
    assert all(math.isfinite(one.value) and not one.failed for one in choice.scores)


def test_a_candidate_that_fails_on_a_fold_comes_last_with_the_reason() -> None:
    bad, given = watched("bad", fails=True)
    good, _ = watched("good")
    choice = chosen([bad, good], scripted(Seen()), TASK, Selection(folds=4))
    assert (choice.chosen, choice.scores[0].failed) == ("good", "the training loss is nan")
    assert len(given) == 2  # nothing is fitted after the fold that failed
    with pytest.raises(PromptAtlasError) as caught:
        chosen([bad, replace(bad, name="worse")], scripted(Seen()), TASK, Selection(folds=4))
    assert str(caught.value) == "every candidate failed; `bad`: the training loss is nan"


def test_the_chosen_one_learns_from_all_examples_and_its_history_says_why(tmp_path: Path) -> None:
    lm = tiny("bert", scale=6.0)
    candidates = [
        Candidate(name=f"k={k}", prompt=PLAIN, methods=(InContext(k=k), ContextualCalibration())) for k in (1, 2)
    ]
    selected = select(candidates, lm, TASK, Selection(folds=4, nested=True))
    choice = selected.choice
    alone = ContextualCalibration().fit(lm, TASK, InContext(k=int(choice.chosen[-1])).fit(lm, TASK, PLAIN))
    assert selected.prompt == alone
    step, *others = selected.prompt.history
    assert [one.method for one in others] == ["in_context", "contextual_calibration"]
    assert (step.method, step.settings["kind"], step.settings["folds"]) == ("selection", "cv", 4)
    assert choice.expected is not None
    score = choice.scores[choice.at]
    assert step.figures == {
        "chosen": choice.chosen, "candidates": 2, "value": score.value, "loss": score.loss,
        "accuracy": score.accuracy, "expected_loss": choice.expected.loss,
        "expected_accuracy": choice.expected.accuracy,
    }  # fmt: skip
    save(selected.prompt, tmp_path / "prompt")
    assert load(tmp_path / "prompt").history == selected.prompt.history


def test_the_history_says_so_whatever_the_method_makes() -> None:
    lm = tiny("bert")
    afresh = [Candidate(name=str(s), prompt=PLAIN, methods=(FineTuning(steps=1, seed=s),)) for s in (0, 1)]
    fresh = select(afresh, lm, TASK, Selection(folds=2)).prompt
    assert [one.method for one in fresh.history] == ["selection", "fine_tuning"]
    both = select([watched("one", two=True)[0], watched("other", two=True)[0]], scripted(Seen()), TASK).prompt
    assert isinstance(both, Ensemble)
    assert all([step.method for step in one.history] == ["selection", "watched"] for one in both.prompts)


def test_of_one_candidate_nothing_is_measured_or_noted() -> None:
    (one, given) = watched("one")
    selected = select([one], scripted(Seen()), replace(TASK, train=TASK.train[:1]))
    assert (selected.choice.chosen, selected.choice.scores) == ("one", ())
    assert [step.method for step in selected.prompt.history] == ["watched"]
    assert len(given) == 1


def test_dev_examples_decide_and_too_many_are_told() -> None:
    lm = tiny("bert", scale=6.0)
    by_dev = select(templates(*TEMPLATES), lm, TASK, Selection(kind="dev"))
    assert "note" not in by_dev.prompt.history[0].figures
    swapped = replace(TASK, train=TASK.dev, dev=TASK.train)
    by_more = select(templates(*TEMPLATES), lm, swapped, Selection(kind="dev"))
    note = "chosen by 8 dev examples, more than the 4 there are to learn from: this is no few-shot result"
    assert by_more.prompt.history[0].figures["note"] == by_more.choice.note == note
    same = chosen(templates(*TEMPLATES), lm, TASK, Selection(folds=4))
    assert [one.value for one in by_more.choice.scores] == pytest.approx([one.value for one in same.scores], abs=1e-5)


def test_choices_of_their_own_are_asked_too() -> None:
    examples = tuple(
        Example({"text": "the cat sat", "choices": ["good", "bad", "fine"][: 2 + at % 2]}, "good", str(at))
        for at in range(4)
    )
    task = Task(name="pick", kind="choice", fields=("text", "choices"), train=examples)
    candidates = [Candidate(name=text, prompt=prompt(text)) for text in TEMPLATES[:2]]
    lm = ScriptedLM(
        ["good", "bad", "fine", *["the", "cat", "sat", "It", "was", "A", "movie", ":"]],
        lambda text: {"good": math.log(0.5), "bad": math.log(0.25), "fine": math.log(0.25)},
    )
    choice = chosen(candidates, lm, task, Selection(folds=2))
    assert choice.scores[0].value == pytest.approx(-(math.log(2 / 3) + math.log(0.5)) / 2, abs=1e-6)


# Demonstrations: every example before the query is shown, in the order drawn.


def shown(*texts: str) -> list[Candidate]:
    return [Candidate(name=text, prompt=prompt(text, WORDS), shown=True) for text in texts]


def test_one_read_gives_what_prompts_of_every_length_do_alone() -> None:
    lm = tiny("gpt2", scale=6.0)
    few = replace(TASK, train=TASK.train[:5])
    choice = chosen(shown(TEMPLATES[0], TEMPLATES[2]), lm, few, Selection(kind="mdl", folds=None, orders=3))
    assert [len(fold.train) for fold in choice.folds] == [0, 1, 2, 3, 4] * 3
    assert len({fold.train for fold in choice.folds if len(fold.train) == 4}) == 3
    for candidate, score in zip((TEMPLATES[0], TEMPLATES[2]), choice.scores, strict=True):
        for fold, held in zip(choice.folds, score.held, strict=True):
            before = Fixed(tuple(few.train[at] for at in fold.train))
            (query,) = (few.train[at] for at in fold.held)
            alone = replace(prompt(candidate, WORDS), demos=before).score(lm, [query])[0]
            assert held.loss[0] == pytest.approx(-alone[few.labels.index(str(query.target))].item(), abs=1e-5)
            assert held.right[0] == (few.labels[int(alone.argmax())] == query.target)


def test_an_order_costs_little_more_than_its_longest_row() -> None:
    lm, both = tiny("gpt2", seed=1), (TEMPLATES[0], TEMPLATES[2])
    long = tuple(replace(one, fields={"text": " ".join([str(one.fields["text"])] * 2)}) for one in TASK.train)
    few, how = replace(TASK, train=long), Selection(kind="mdl", folds=None)
    order = next(fold.train + fold.held for fold in how.plan([one.target for one in long]) if len(fold.train) == 7)

    def operations(lengths: range) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            for text in both:
                for length in lengths:
                    lm.kept.clear()
                    before = Fixed(tuple(long[at] for at in order[:length]))
                    replace(prompt(text, WORDS), demos=before).score(lm, [long[order[length]]])
        return counter.get_total_flops()

    operations(range(8))  # which ways the model may take is found out once
    lm.kept.clear()
    with FlopCounterMode(display=False) as counter:
        chosen(shown(*both), lm, few, how)
    assert counter.get_total_flops() < 2 * operations(range(7, 8))
    assert counter.get_total_flops() < 0.5 * operations(range(8))


def test_the_chosen_one_shows_all_examples() -> None:
    lm = tiny("gpt2", scale=6.0)
    found = select(shown(TEMPLATES[0], TEMPLATES[2]), lm, TASK, Selection(folds=None)).prompt
    assert isinstance(found, Prompt)
    assert found.demos == Fixed(TASK.train)
    assert [one.method for one in found.history] == ["selection"]


def test_demonstrations_that_do_not_fit_are_refused_before_any_work() -> None:
    lm = tiny("gpt2")
    long = tuple(replace(one, fields={"text": " ".join(["the old grey town"] * 30)}) for one in TASK.train)
    with pytest.raises(TooLong) as caught:
        chosen(shown(TEMPLATES[0], TEMPLATES[2]), lm, replace(TASK, train=long), Selection(kind="mdl", folds=4))
    window = f"the window of {lm.window} tokens doesn't hold them and the text"
    assert str(caught.value) == (
        f"`{TEMPLATES[0]}` shows up to 6 examples, and {window}\n\nhint: give fewer examples, or shorter ones"
    )


def test_what_shows_all_examples_has_no_methods() -> None:
    one = replace(watched("one")[0], shown=True)
    with pytest.raises(NeedsError) as caught:
        chosen([one, replace(one, name="other")], scripted(Seen()), TASK, Selection(folds=2))
    assert str(caught.value) == "`one` is to show all examples, and has methods\n\nhint: leave `shown` out"


# A run: what was asked is kept, counted, and stopped.


def tuned(*rates: float) -> list[Candidate]:
    methods = [PromptTuning(steps=2, length=2, batch=4, lr=rate) for rate in rates]
    return [
        Candidate(name=f"lr={rate}", prompt=PLAIN, methods=(one,)) for rate, one in zip(rates, methods, strict=True)
    ]


def test_a_selection_that_was_stopped_goes_on(tmp_path: Path) -> None:
    lm, how = tiny("roberta", scale=6.0), Selection(folds=2)
    whole = select(tuned(0.01, 0.3), lm, TASK, how)
    steps = Counter[str]()

    def stop() -> bool:
        steps["all"] += 1
        return steps["all"] == 9

    with pytest.raises(Cancelled):
        select(tuned(0.01, 0.3), lm, TASK, how, run=Run(tmp_path, cancelled=stop))
    kept = sorted(one.name for one in (tmp_path / "stages").iterdir())
    assert len(kept) == 2  # both folds of the first; the second was being fitted
    heard: list[str] = []
    again = select(tuned(0.01, 0.3), lm, TASK, how, run=Run(tmp_path, listen=lambda event: heard.append(event.what)))
    assert heard.count("tune") == 3 * 2 - 1  # a fold from its checkpoint on, a fold, and the chosen one
    assert again.choice == whole.choice
    assert again.prompt == whole.prompt


def test_answers_are_those_of_the_same_question_only(tmp_path: Path) -> None:
    seen = Seen()
    for task, how in (
        (TASK, Selection(folds=2)),
        (TASK, Selection(folds=2)),
        (replace(TASK, train=TASK.train[::-1]), Selection(folds=2)),
    ):
        chosen(templates(*TEMPLATES[:2]), scripted(seen), task, how, run=Run(tmp_path))
    assert len(seen.texts) == 2 * 2 * 8
    value = json.loads(next(tmp_path.rglob("value.json")).read_text())
    assert set(value[0]) == {"loss", "right", "failed", "shares", "places"}


def test_an_answer_that_isnt_whole_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    chosen(templates(*TEMPLATES[:2]), scripted(Seen()), TASK, Selection(folds=2), run=Run(tmp_path))
    next(tmp_path.rglob("value.json")).write_text("[1,")
    with pytest.raises(ArtifactError, match="is not whole"):
        chosen(templates(*TEMPLATES[:2]), scripted(Seen()), TASK, Selection(folds=2), run=Run(tmp_path))


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    bad, given = watched("bad", fails=True)
    good, _ = watched("good")
    for times in (1, 2):
        chosen([good, bad], scripted(Seen()), TASK, Selection(folds=4), run=Run(tmp_path))
        assert len(given) == 1 + times


def test_operations_are_counted_and_bounded() -> None:
    lm = tiny("bert")
    with pytest.raises(Cancelled) as caught:
        chosen(templates(*TEMPLATES), lm, TASK, Selection(folds=2), run=Run(budget=1.0))
    assert caught.value.message.startswith("stopped: the budget of 1 operations is used up (before stage select-1-")
    with pytest.raises(Cancelled):
        chosen(tuned(0.01, 0.3), lm, TASK, Selection(folds=2), run=Run(budget=1.0))


# Mistakes.


def test_what_a_method_lacks_is_told_before_any_work() -> None:
    seen = Seen()
    with pytest.raises(NeedsError, match="`prompt_tuning` needs a model that can do `gradient`"):
        chosen([*templates(TEMPLATES[0]), *tuned(0.1)], scripted(seen), TASK, Selection(folds=2))
    assert seen.texts == []


def test_a_task_of_another_kind_is_refused() -> None:
    text = Task(name="write", kind="text", fields=("text",), train=(Example({"text": "a"}, "b"),) * 4)
    with pytest.raises(NeedsError) as caught:
        chosen(templates(*TEMPLATES), scripted(Seen()), text, Selection(folds=2))
    assert str(caught.value) == "selection needs a task of kind label, choice or number, and `write` is of kind text"


def test_fewer_examples_than_folds_are_refused() -> None:
    with pytest.raises(SettingError) as caught:
        chosen(templates(*TEMPLATES), scripted(Seen()), TASK, Selection(folds=9))
    assert str(caught.value) == "8 examples can't be divided into 9 folds\n\nhint: ask for 2 to 8 folds"


def test_words_without_a_label_fail_with_its_example() -> None:
    one = Candidate(name="one", prompt=prompt(TEMPLATES[0], {"pets": "good", "other": "bad"}))
    choice = chosen([one, *templates(TEMPLATES[1])], scripted(Seen()), TASK, Selection(folds=2))
    assert choice.chosen == TEMPLATES[1]
    assert choice.scores[0].failed.endswith("has the target 'weather', which is no answer")
    assert issubclass(DataError, PromptAtlasError)

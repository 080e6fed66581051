"""A prompt of every kind of thing that is saved."""

from dataclasses import replace

import torch

from promptatlas.artifact.kinds import KINDS, Role
from promptatlas.data.descriptions import Descriptions
from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.data.view import Choices, Tags
from promptatlas.demos.diverse import Diverse
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pick import Fixed, Random
from promptatlas.demos.sampled import Sampled
from promptatlas.demos.told import Told
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.parts.adapters import adapters
from promptatlas.parts.child import Child
from promptatlas.parts.diff import Diff, sparse
from promptatlas.parts.gates import Gates
from promptatlas.parts.head import Head, LabelVectors
from promptatlas.parts.mix import mix
from promptatlas.parts.perturb import Perturbation
from promptatlas.parts.prefix import Prefix
from promptatlas.parts.reparam import encoded, mlp_prefix
from promptatlas.parts.scale import scale
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import LoRA, Values
from promptatlas.prompting import Ensemble, Prompt, Step
from promptatlas.score import soft
from promptatlas.score.calibrate import PMI, Divide
from promptatlas.score.chains import Chains
from promptatlas.score.opening import Opening
from promptatlas.score.own import Own
from promptatlas.score.phrases import Phrases
from promptatlas.score.prototypes import Prototypes
from promptatlas.score.slots import SlotWords
from promptatlas.score.temper import Temper
from promptatlas.score.words import Words
from promptatlas.testing.tiny import tiny
from promptatlas.text.pattern import Pattern
from promptatlas.text.template import Template

POOL = tuple(
    Example({"text": f"the {one} sat"}, label, one) for one, label in (("cat", "up"), ("dog", "down"), ("猫", "up"))
)


def lm() -> LM:
    return tiny("roberta")


def bare() -> Prompt:
    words = Words(
        words={"up": ("good", "great"), "down": ("bad",)},
        over_words="sum_prob",
        weights={"up": (0.7, 0.3), "down": (1.0,)},
    )
    return Prompt(
        template=Template.parse("{text!} It was {mask}. {{電影}}"), words=words, between=Template.parse("\n---\n")
    )


def history() -> tuple[Step, ...]:
    model = {"name": "tiny-roberta", **lm().identity}
    first = Step(
        method="first",
        settings={"lr": 0.1, "words": ["a", None]},
        lm=model,
        task="0123",
        figures={"steps": 5, "loss": 0.25},
    )
    return (first, replace(first, method="second", figures={}))


def every() -> dict[str, Prompt | Ensemble]:
    """By a name of its own; together they have all our kinds."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    bias = next(name for name in lm().parameters if name.endswith("bias"))
    lora = LoRA(("query",), 2.0, [some(2, 32), some(2, 32)], [some(32, 2), some(32, 2)])
    diff = Diff({bias: some(*lm().parameters[bias].shape)}, Gates([some(*lm().parameters[bias].shape)], None))
    plain, labels = bare(), ("up", "down")
    made: dict[str, Prompt | Ensemble] = {
        "plain": plain,
        "vectors": plain.lead(soft=Vectors(some(3, 32))),
        "two parts": plain.lead(soft=Vectors(some(3, 32))).lead(found=Tokens((7, 9))),
        "prefix": plain.plus(prefix=Prefix({"self": some(2, 2, 4, 3, 8)})),
        "perturbation": plain.lead(soft=Vectors(some(3, 32))).plus(
            perturb=Perturbation(some(3, 32), some(2, 3, 32), 0.1)
        ),
        "reparametrised": plain.plus(prefix=mlp_prefix(lm(), 3, mid=4, seed=0, positions="shifted", dropout=0.1)),
        "encoded": plain.lead(soft=encoded(lm(), "lstm", {"soft": 2}, seed=0)["soft"]),
        "values": plain.plus(values=Values({bias: some(*lm().parameters[bias].shape)})),
        "lora": plain.plus(lora=lora),
        "scale": plain.plus(scale=scale(lm())),
        "adapters": plain.plus(adapters=adapters(lm(), width=2, seed=0)),
        "child": plain.plus(child=Child(Values({bias: some(*lm().parameters[bias].shape)}), share=0.5)),
        "diff": plain.plus(diff=diff),
        "gates": plain.plus(gates=diff.gates),
        "sparse": plain.plus(sparse=sparse({bias: torch.tensor([1, 3])}, {bias: some(*lm().parameters[bias].shape)})),
        "mix": replace(
            plain, words=soft.Classifier(labels=labels, layers=(0, 1, 2)), parts={"head": mix(lm(), 2, seed=0)}
        ),
        "head": replace(plain, words=soft.Classifier(labels=labels), parts={"head": Head(some(2, 32), some(2))}),
        "label vectors": replace(
            plain,
            words=soft.LabelVectors(labels=labels, part="rows"),
            parts={"rows": LabelVectors(some(2, 32), some(2))},
        ),
        "fixed": replace(plain, demos=Fixed(POOL[:2])),
        "random": replace(plain, demos=Random(pool=POOL, k=2, seed=4)),
        "nearest": replace(plain, demos=Nearest.over(lm(), POOL, k=1)),
        "by words": replace(plain, demos=Nearest.over(lm(), POOL, k=2, metric="bm25", balanced=True)),
        "diverse": replace(plain, demos=Diverse(index=Nearest.over(lm(), POOL, k=3), k=2, relevance=0.25)),
        "sampled": replace(plain, demos=Sampled.over(lm(), POOL, labels, draws=2, seed=5)),
        "told": replace(plain, demos=Told({"q": POOL[1:], "r": POOL[:1], "cat": POOL[1:], "": ()})),
        "calibrated": replace(
            plain,
            calibration=(
                Divide(prior=(0.25, 0.75)),
                PMI(domain=Template.parse("It is {mask}")),
                Temper(temperature=2.0),
            ),
        ),
        "prototypes": replace(
            plain,
            calibration=(
                Prototypes(
                    means=torch.tensor([[0.7, 0.3], [0.6, 0.4]]).log(),
                    covariances=torch.eye(2).repeat(2, 1, 1) / 4,
                    weights=torch.tensor([0.25, 0.75]),
                ),
            ),
        ),
        "opening": replace(
            plain, calibration=(Opening(ids=torch.tensor([3, 7]), prior=torch.tensor([0.5, 0.25]), top=9),)
        ),
        "descriptions": replace(
            plain,
            template=Template.parse("{text}{sep}{description} {mask}"),
            view=Descriptions(("a", "b", "c"), {"c": "这是猫。", "a": "It is up.", "b": "down"}, right="down"),
        ),
        "interval": replace(plain, words=Words.of({"high": "good", "low": "bad"}), view=Interval(0.0, 5.0)),
        "tags": Prompt(
            template=Template.parse("{tokens:each}"),
            words=soft.Classifier(labels=labels, pool="each"),
            parts={"head": Head(some(2, 32), some(2))},
            view=Tags(),
        ),
        "choices": Prompt(template=Template.parse("{text}{mask}"), words=Own(), view=Choices(field="options")),
        "phrases": replace(plain, words=Phrases(texts={"up": "it is up", "down": "下"}, by="trie")),
        "chains": Prompt(
            template=Template.parse("问：{text}\n答：{mask}"),
            words=Own(),
            view=Chains(
                how=Decode(max_new=9, temperature=0.7, n=3, stop=("问：",), seed=2),
                said=Pattern.of("text", r"答案是(\w+)"),
                then="所以答案是",
                vote="normalised",
                early=True,
            ),
        ),
        "slot words": replace(
            plain,
            template=Template.parse("{text} {mask:a} 和 {mask:b}"),
            words=SlotWords(words={"up": ("good", "cat"), "down": ("bad", "dog")}),
        ),
        "history": replace(plain, history=history()),
    }
    pair = (made["vectors"], replace(plain.lead(soft=Vectors(some(1, 32))), history=history()))
    made["ensemble"] = Ensemble(prompts=pair, weights=(0.25, 0.75), vote=True)
    made["mixture"] = Ensemble(prompts=pair, weights=(0.25, 0.75), mix=True, heed=2.0)
    return made


def kinds_of(prompt: Prompt | Ensemble) -> set[tuple[Role, str]]:
    if isinstance(prompt, Ensemble):
        return {one for member in prompt.prompts for one in kinds_of(member)}
    found: set[tuple[Role, str]] = {("parts", part.kind) for part in prompt.parts.values()}
    found |= {("calibration", one.kind) for one in prompt.calibration}
    return found | {("words", prompt.words.kind), ("demos", prompt.demos.kind), ("view", prompt.view.kind)}


def known() -> set[tuple[Role, str]]:
    return {(role, kind) for role, kinds in KINDS.items() for kind in kinds}

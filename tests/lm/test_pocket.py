"""The language models that come with the package: what they are, what their cards say, that they know something."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from promptatlas import prompt
from promptatlas.lm.load import embedded, load
from promptatlas.lm.local import LocalLM

MODELS = {  # kind, window, most bytes
    "pocket-causal": ("causal", 1024, 12e6),
    "pocket-masked": ("masked", 512, 12e6),
    "pocket-masked-zh": ("masked", 512, 12e6),
    "pocket-seq2seq": ("seq2seq", 512, 16e6),
}
LOADERS = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM, "seq2seq": AutoModelForSeq2SeqLM}


@pytest.fixture(scope="module", params=sorted(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lms() -> dict[str, LocalLM]:
    return {name: load(name, "cpu") for name in MODELS}


def test_there_are_no_others() -> None:
    assert set(embedded()) == set(MODELS)


def test_each_is_small_and_of_its_kind(name: str, lms: dict[str, LocalLM]) -> None:
    kind, window, most = MODELS[name]
    assert (lms[name].kind, lms[name].window) == (kind, window)
    assert sum(file.stat().st_size for file in embedded()[name].iterdir()) <= most


def test_the_card_says_how_it_was_made_and_what_its_text_is_licensed_as(name: str) -> None:
    card = (embedded()[name] / "README.md").read_text("utf-8")
    for said in ("## Made of", "## Licence", "tokens seen", "held out loss", "promptatlas pretrain", "can't do"):
        assert said in card
    assert name in card


def test_it_loads_without_us_and_says_the_same(name: str, lms: dict[str, LocalLM]) -> None:
    folder, lm = embedded()[name], lms[name]
    model = LOADERS[lm.kind].from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)("the old man and the sea. 老人与海。", return_tensors="pt")["input_ids"]
    fed = {"decoder_input_ids": ids[:, :3]} if lm.kind == "seq2seq" else {}
    with torch.no_grad():
        theirs, ours = (one(input_ids=ids, **fed).logits for one in (model, lm.model))
    assert torch.allclose(theirs, ours, atol=1e-4)


KNOWN = [  # model, template, words, text -> the label that is right
    (
        "pocket-masked",
        "{text} It was {mask}.",
        ("great", "terrible"),
        "a wonderful, moving film with superb acting.",
        "great",
    ),
    (
        "pocket-masked",
        "{text} It was {mask}.",
        ("great", "terrible"),
        "i hated every minute of this dull film.",
        "terrible",
    ),
    ("pocket-masked-zh", "{text}{mask}由他执导。", ("影", "海"), "这部电", "影"),
    ("pocket-causal", "{text} {mask}", ("minister", "banana"), "on monday the prime", "minister"),
    ("pocket-seq2seq", "{text} {mask} of the united states.", ("president", "banana"), "he was the", "president"),
]


@pytest.mark.parametrize(("which", "template", "words", "text", "right"), KNOWN)
def test_it_knows_words_in_company(
    lms: dict[str, LocalLM], which: str, template: str, words: tuple[str, str], text: str, right: str
) -> None:
    asked = prompt(template, {word: word for word in words})
    assert asked.predict(lms[which], text)[0].value == right


def test_weights_are_kept_in_half_precision(name: str) -> None:
    assert '"dtype": "float16"' in (embedded()[name] / "config.json").read_text("utf-8")

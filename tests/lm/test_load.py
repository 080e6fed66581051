from pathlib import Path

import pytest
import torch
from tests.lm.rows import bare, row
from transformers import BertForSequenceClassification, BertModel

from promptatlas.errors import LoadError, SettingError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.load import embedded, load, wrap
from promptatlas.testing.same import same
from promptatlas.testing.tiny import tiny, wordpiece
from promptatlas.text.template import Template


def saved(name: str, folder: Path) -> Path:
    model = bare(name)
    model.save_pretrained(folder)
    tiny(name).tokenizer.backend.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bert", "masked"), ("gpt2", "causal"), ("llama", "causal"), ("t5", "seq2seq"), ("bart", "seq2seq")],
)
def test_a_folder_is_loaded_as_what_it_is(name: str, kind: str, tmp_path: Path) -> None:
    lm = load(saved(name, tmp_path), device="cpu")
    assert (lm.kind, lm.window, lm.name) == (kind, 160, str(tmp_path))
    one = row(lm, "{text} It was {mask}", text="The cat sat")
    found, wanted = (model.read([Job(one, (Vocabulary(),))])[0][0].values for model in (lm, tiny(name)))
    same(found, wanted, name)
    assert lm.can == tiny(name).can


def test_identity_is_the_files_whatever_the_dtype(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path / "a")
    whole, half = load(folder, "cpu"), load(folder, "cpu", "bfloat16")
    assert half.vectors.dtype == torch.bfloat16
    assert dict(whole.identity) == dict(half.identity)
    assert set(whole.identity) == {"weights", "tokenizer"}
    assert load(saved("bert", tmp_path / "b"), "cpu").identity == whole.identity
    other = bare("bert")
    with torch.no_grad():
        next(other.parameters())[9, 9] += 1e-3
    other.save_pretrained(tmp_path / "b")
    assert load(tmp_path / "b", "cpu").identity["weights"] != whole.identity["weights"]
    assert tiny("bert", seed=1).identity["weights"] != tiny("bert").identity["weights"]


@pytest.mark.parametrize("name", ["pocket-maskd", "no/such-model", "/no/such/folder"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(LoadError) as caught:
        load(name)
    assert f"there is no language model `{name}`: not an embedded one, no folder, and not found on a hub" in str(
        caught.value
    )
    assert "`pocket-masked`" in str(caught.value.hint)


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptatlas.lm.load.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("promptatlas.lm.load.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("promptatlas.lm.load.getproxies", dict)
    asked = []
    monkeypatch.setattr("promptatlas.lm.load.create_connection", lambda *given, **_: asked.append(given) or _refuse())
    with pytest.raises(LoadError, match="there is no language model `nowhere`"):
        load("nowhere")
    assert asked == [(("127.0.0.1", 9),)]


def _refuse() -> None:
    raise ConnectionRefusedError


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(LoadError, match="holds no model that can be read"):
        load(tmp_path)


def test_a_classifier_is_no_language_model(tmp_path: Path) -> None:
    for cls, lost in ((BertForSequenceClassification, "cls.predictions"), (BertModel, "cls.predictions")):
        cls(bare("bert").config).save_pretrained(tmp_path)
        wordpiece().save_pretrained(tmp_path)
        with pytest.raises(
            LoadError, match=rf"is no masked language model: its file lacks \d+ tensors, such as `{lost}"
        ):
            load(tmp_path, "cpu")


def test_a_model_of_another_kind_than_asked(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="can't be read"):
        load(saved("gpt2", tmp_path), "cpu", kind="masked")


def test_a_file_cut_short(tmp_path: Path) -> None:
    file = saved("bert", tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(LoadError, match="can't be read"):
        load(tmp_path, "cpu")


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    bare("bert").save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="tokenizer"):
        load(tmp_path, "cpu")


def test_settings_that_are_not_there() -> None:
    with pytest.raises(SettingError) as caught:
        load("pocket-masked", dtype="float23")
    assert (
        str(caught.value) == "there is no dtype `float23`\n\nhint: did you mean `float32` or `float16` or `bfloat16`?"
    )
    with pytest.raises(SettingError, match="there is no device `abacus` here"):
        load("pocket-masked", "abacus")


def test_a_model_without_an_output_layer() -> None:
    with pytest.raises(LoadError, match="`encoder` has no output layer"):
        wrap(BertModel(bare("bert").config), wordpiece(), name="encoder", kind="masked")


@pytest.fixture(scope="module")
def pocket():  # type: ignore[no-untyped-def]
    return load("pocket-masked", "cpu")


def test_the_embedded_model_is_listed_and_whole(pocket) -> None:  # type: ignore[no-untyped-def]
    assert "pocket-masked" in embedded()
    assert pocket.kind == "masked"
    assert pocket.can == {"logits", "vocabulary", "vectors", "hidden", "gradient", "weights", "prefix"}
    assert all(one.dtype == torch.float32 for one in pocket.parameters.values())


@pytest.mark.parametrize(
    ("text", "plausible"),
    [
        ("the movie was great. it was {mask}.", {"great", "good", "awesome", "amazing", "fun", "excellent", "perfect"}),
        ("the movie was terrible. it was {mask}.", {"terrible", "bad", "awful", "horrible", "boring", "disappointing"}),
    ],
)
def test_the_embedded_model_knows_english(pocket, text: str, plausible: set[str]) -> None:  # type: ignore[no-untyped-def]
    one = pocket.encode([Template.parse(text).render({})], {})[0]
    values = pocket.read([Job(one, (Vocabulary(),))])[0][0].values[0]
    top = {piece.strip("Ġ▁ ").lower() for piece in pocket.pieces(values.topk(10).indices.tolist())}
    assert len(top & plausible) >= 2, top

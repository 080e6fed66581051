import json
from collections.abc import Mapping

import pytest

from promptatlas.data import read
from promptatlas.data.read import embedded_tasks, from_datasets, read_rows, read_task
from promptatlas.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes files into a folder `toy` beside which the test runs, so that messages name them shortly."""
    monkeypatch.chdir(tmp_path)

    def write(files: Mapping[str, object], name: str = "toy"):
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content if isinstance(content, str) else lines(content))

    return write


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


TRAIN = [{"text": "fine", "label": "yes"}, {"text": "poor", "label": "no"}]


def test_a_folder_has_a_file_a_split(folder):
    folder(
        {
            "train.jsonl": TRAIN,
            "dev.csv": "text,label\nbad,no\n",
            "test.tsv": "text\tlabel\nso, so\tyes\n",
            "unlabeled.jsonl": [{"text": "hm"}],
            "test_hard.jsonl": "not read",
            "README.md": "not read",
        }
    )
    task = read_task("toy")
    assert (task.name, task.kind, task.fields, task.labels) == ("toy", "label", ("text",), ("no", "yes"))
    assert [example.fields["text"] for example in task.train + task.dev + task.test + task.unlabeled] == [
        "fine",
        "poor",
        "bad",
        "so, so",
        "hm",
    ]
    assert [example.target for example in task.dev + task.test + task.unlabeled] == ["no", "yes", None]


def test_a_file_called_validation_is_dev(folder):
    folder({"train.jsonl": TRAIN, "validation.jsonl": TRAIN[:1]})
    assert len(read_task("toy").dev) == 1


def test_task_json_says_what_files_can_not(folder):
    about = {
        "name": "Toy",
        "labels": ["yes", "no"],
        "metric": "macro_f1",
        "template": "{text} {mask}",
        "words": {"yes": "great", "no": ["bad", "poor"]},
        "description": "Is it good?",
    }
    folder({"train.jsonl": TRAIN, "task.json": json.dumps(about)})
    task = read_task("toy")
    assert (task.name, task.labels, task.metric, task.template) == ("Toy", ("yes", "no"), "macro_f1", "{text} {mask}")
    assert task.words == {"yes": ("great",), "no": ("bad", "poor")}
    assert task.description == "Is it good?"


def test_a_folder_may_hold_only_a_test(folder):
    folder({"test.jsonl": [{"q": "?", "answer": "x"}]})
    task = read_task("toy")
    assert (task.kind, task.train, len(task.test)) == ("text", (), 1)


def test_one_file_is_learned_from_and_tested_on(folder):
    folder({"mine.csv": "text,label\nfine,1\npoor,0\n"})
    task = read_task("toy/mine.csv")
    assert (task.name, task.labels) == ("mine", ("0", "1"))
    assert task.train == task.test
    assert task.dev == task.unlabeled == ()


def test_what_is_read_is_what_was_given(folder):
    folder({"train.jsonl": TRAIN})
    assert read_task("toy").identity() == read_rows(TRAIN).identity() != read_rows(TRAIN[::-1]).identity()


NO_SPLIT_HINT = "\n\nhint: a task's folder has a file a split: train.jsonl, test.csv, unlabeled.tsv"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "toy: no train, dev, test or unlabeled file" + NO_SPLIT_HINT),
        ({"training.jsonl": TRAIN, "train.json": "{}"}, "toy: no train, dev, test or unlabeled file" + NO_SPLIT_HINT),
        ({"train.jsonl": ""}, "toy/train.jsonl: no rows"),
        (
            {"unlabeled.jsonl": [{"text": "a"}]},
            "toy: only unlabeled rows\n\nhint: a task has a train or a test split",
        ),
        (
            {"train.csv": "text,label\na,b\n", "train.jsonl": TRAIN},
            "toy: two files for train, `train.csv` and `train.jsonl`",
        ),
        (
            {"train.jsonl": TRAIN, "dev.jsonl": TRAIN, "validation.jsonl": TRAIN},
            "toy: two files for dev, `dev.jsonl` and `validation.jsonl`",
        ),
        (
            {"train.csv": "text,class\na,b\n", "task.json": '{"kind": "label"}'},
            "toy/train.csv: no column `label`; there are `text`, `class`\n\n"
            "hint: rows without targets belong into the split `unlabeled`",
        ),
        (
            {"train.jsonl": TRAIN, "task.json": '{"labels": ["yes", "maybe"]}'},
            "toy/train.jsonl:2: label `no` is not one of `yes`, `maybe`\n\nhint: there are `maybe`, `yes`",
        ),
        (
            {"train.jsonl": TRAIN, "test.jsonl": [{"text": "a"}]},
            "toy/test.jsonl: no column `label`; there are `text`\n\n"
            "hint: rows without targets belong into the split `unlabeled`",
        ),
        (
            {"train.jsonl": TRAIN, "task.json": "{\n"},
            "toy/task.json: not JSON at line 2, column 1: Expecting property name enclosed in double quotes",
        ),
        ({"train.jsonl": TRAIN, "task.json": "[]"}, "toy/task.json: an array, not an object"),
        (
            {"train.jsonl": TRAIN, "task.json": '{"label": []}'},
            "toy/task.json: no key `label`\n\nhint: did you mean `labels`?",
        ),
    ],
)
def test_a_folder_that_is_no_task_says_why(folder, files, message):
    folder(files)
    with pytest.raises(DataError) as error:
        read_task("toy")
    assert str(error.value) == message


def test_a_path_that_is_not_there(folder):
    with pytest.raises(DataError) as error:
        read_task("data/toy")
    assert str(error.value) == "data/toy: no such file or folder"


def test_an_unknown_name_gets_near_ones(tmp_path, monkeypatch):
    for name in ("letters", "numbers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(lines(TRAIN))
    (tmp_path / "half_written").mkdir()
    monkeypatch.setattr(read, "_pocket", lambda: tmp_path)
    assert embedded_tasks() == ("letters", "numbers")
    assert read_task("letters").name == "letters"
    with pytest.raises(DataError) as error:
        read_task("leters")
    assert str(error.value) == "`leters` is no embedded task, file or folder\n\nhint: did you mean `letters`?"


def test_what_is_on_the_disk_wins_over_an_embedded_name(folder):
    name = embedded_tasks()[0]
    folder({"train.jsonl": TRAIN}, name)
    assert len(read_task(name).train) == 2


@pytest.mark.parametrize("name", embedded_tasks())
def test_embedded_tasks_are_whole(name):
    task = read_task(name)
    assert task.name == name
    assert task.train
    assert task.test
    assert task.template
    assert set(task.words or ()) == set(task.labels)
    assert len(task.few(4, seed=0).train) == 4 * len(task.labels)


def test_a_mapping_of_splits_is_a_task():
    task = from_datasets({"train": TRAIN, "validation": TRAIN[:1], "unsupervised": [{"text": "a"}]}, name="mine")
    assert (task.name, len(task.train), len(task.dev), len(task.unlabeled)) == ("mine", 2, 1, 1)
    with pytest.raises(DataError) as error:
        from_datasets({"train": TRAIN, "validation_matched": TRAIN})
    assert str(error.value) == (
        "no split `validation_matched`\n\n"
        "hint: pass a mapping with the names `train`, `dev`, `validation`, `valid`, `test`, `unlabeled`, "
        "`unsupervised`: {'dev': data['validation_matched']}"
    )
    with pytest.raises(DataError) as error:
        from_datasets({"train": [*TRAIN, {"text": "a"}]})
    assert str(error.value) == "train[2]: no `label`, which the first row has"
    with pytest.raises(DataError) as error:
        from_datasets(3)
    assert str(error.value) == "a int is no table of rows"


class TestDatasets:
    @pytest.fixture
    def datasets(self):
        return pytest.importorskip("datasets")

    def table(self, datasets, rows, names=("zero", "one")):
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))}
        )
        return datasets.Dataset.from_list(rows, features=features)

    def test_numbers_become_the_names_of_classes(self, datasets):
        table = self.table(datasets, [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
        task = from_datasets(datasets.DatasetDict({"train": table, "test": table.select([0])}))
        assert (task.kind, task.labels) == ("label", ("zero", "one"))
        assert [example.target for example in task.train + task.test] == ["one", "zero", "one"]

    def test_one_table_is_also_tested_on(self, datasets):
        task = from_datasets(self.table(datasets, [{"text": "a", "label": 1}, {"text": "b", "label": 0}]))
        assert task.train == task.test

    def test_rows_without_label_become_unlabeled(self, datasets):
        rows = [{"text": "a", "label": 1}, {"text": "b", "label": -1}, {"text": "c", "label": 0}]
        hidden = [{"text": "d", "label": -1}]
        task = from_datasets({"train": self.table(datasets, rows), "unsupervised": self.table(datasets, hidden)})
        assert [example.fields["text"] for example in task.train] == ["a", "c"]
        assert [(example.fields, example.target) for example in task.unlabeled] == [
            ({"text": "b"}, None),
            ({"text": "d"}, None),
        ]

    def test_tags_become_names(self, datasets):
        features = datasets.Features(
            {
                "tokens": datasets.List(datasets.Value("string")),
                "tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
            }
        )
        table = datasets.Dataset.from_list([{"tokens": ["a", "b"], "tags": [1, 0]}], features=features)
        task = from_datasets(table)
        assert (task.kind, task.train[0].target) == ("tags", ("B-PER", "O"))

    def test_plain_columns_stay_as_they_are(self, datasets):
        task = from_datasets(datasets.Dataset.from_list([{"q": "x", "choices": ["a", "b"], "label": 1}]))
        assert (task.kind, task.train[0].target) == ("choice", "b")

"""`promptatlas pretrain`: a new language model from raw text, or an existing one trained on."""

import json
import math
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from promptatlas.cli import print as show
from promptatlas.cli.options import Json
from promptatlas.cli.unfinished import keep
from promptatlas.errors import ArtifactError, SettingError

Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        help="Plain text, .xz or .gz, documents separated by blank lines; FILE=2 takes each document twice.",
        show_default=False,
    ),
]
Objectives = Annotated[
    list[str] | None,
    typer.Option(
        "--objective", help="masked, causal, span or prefix (repeatable); the recipe's own.", show_default=False
    ),
]
ORDER = "order.json"  # kept in the folder of what is under way


@dataclass(frozen=True, kw_only=True)
class Order:
    """The command, as it was given."""

    corpora: tuple[str, ...]
    config: str | None
    lm: str | None
    tokenizer: str | None
    objectives: tuple[str, ...]
    steps: int
    tokens: int
    hours: float
    lr: float | None
    held: float
    without: tuple[str, ...]
    seed: int


def pretrain(
    corpora: Texts,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the model.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recipe: model, tokenizer, objectives.", show_default=False)
    ] = None,
    lm: Annotated[
        str | None, typer.Option(help="A model to train on, instead of a new one.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="A model whose tokenizer to take.", show_default=False)
    ] = None,
    objectives: Objectives = None,
    steps: Annotated[int, typer.Option(min=0, help="How long: in steps,", show_default=False)] = 0,
    tokens: Annotated[float, typer.Option(min=0, help="or in tokens,", show_default=False)] = 0,
    hours: Annotated[
        float, typer.Option(min=0, help="or in hours, by the speed of the first steps.", show_default=False)
    ] = 0,
    lr: Annotated[float | None, typer.Option(help="The highest rate; the recipe's own.", show_default=False)] = None,
    held: Annotated[float, typer.Option(min=0, max=0.5, help="The share of documents held out to measure on.")] = 0.002,
    without: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Texts to keep out, a file or a folder: documents that share 13 words in a row with any.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the order, and what is hidden.")] = 0,
    checkpoint: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Time between two checkpoints.")] = 180.0,
    as_json: Json = False,
) -> None:
    """Make a language model from raw text, or train one on.

    What was stopped or killed goes on when the same command is given again, and ends as if it hadn't been.
    """
    if sum(map(bool, (steps, tokens, hours))) != 1:
        raise SettingError("how long to train isn't said, or said twice", hint="give one of --steps, --tokens, --hours")
    if config is None and lm is None:
        raise SettingError(
            "neither a recipe nor a model was given", hint="--config FILE makes one, --lm NAME trains one on"
        )
    if lm is not None and tokenizer is not None:
        raise SettingError("a model that is trained on keeps its tokenizer", hint="leave --tokenizer or --lm out")
    from promptatlas.cli.pretraining import work

    order = Order(
        corpora=tuple(corpora), config=None if config is None else str(config), lm=lm, tokenizer=tokenizer,
        objectives=tuple(objectives or ()), steps=steps, tokens=math.ceil(tokens), hours=hours, lr=lr, held=held,
        without=tuple(map(str, without or ())), seed=seed,
    )  # fmt: skip
    with show.Bar() as bar:
        report = work(order, out, checkpoint, bar)
    if as_json:
        show.data(report)
    else:
        show.pairs([(name.replace("_", " "), value) for name, value in report.items()], title=out.name)


def begin(order: Order, folder: Path) -> bool:
    """Keep the order where the work will be; False where the same one is there already, to go on with."""
    path, mine = folder / ORDER, json.loads(json.dumps(asdict(order)))
    recipe = "" if order.config is None else sha256(Path(order.config).read_bytes()).hexdigest()
    if path.is_file():
        kept = kept_in(path)
        if kept["order"] != mine or kept.get("recipe", recipe) != recipe:
            what = "was asked for otherwise" if kept["order"] != mine else f"had another `{order.config}`"
            raise SettingError(
                f"`{folder}` holds unfinished work that {what}", hint="give that command again, or delete the folder"
            )
        show.note(f"going on with {folder}")
        return False
    if folder.is_dir() and any(one.name != f".{ORDER}.new" for one in folder.iterdir()):
        raise SettingError(f"`{folder}` holds other things", hint="give another --out, or delete that folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keep(path, {"order": mine, "recipe": recipe})
    except OSError as error:
        raise ArtifactError(f"`{folder}` can't be written: {error.strerror}", hint="give another --out") from error
    return True


def kept_in(path: Path) -> dict[str, Any]:
    """An order that was kept, and how many steps its hours are."""
    try:
        return cast(dict[str, Any], json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"`{path}` can't be read: {error}", hint="delete its folder to begin anew") from error

"""`promptatlas`: the commands, and what becomes of errors."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from promptatlas.cli import print as show
from promptatlas.cli.ask import ask
from promptatlas.cli.auto import auto
from promptatlas.cli.bench import bench
from promptatlas.cli.demo import demo
from promptatlas.cli.doctor import doctor
from promptatlas.cli.evaluate import evaluate
from promptatlas.cli.explain import explain
from promptatlas.cli.export import export, import_
from promptatlas.cli.fit import fit
from promptatlas.cli.methods import methods
from promptatlas.cli.predict import predict
from promptatlas.cli.pretrain import pretrain
from promptatlas.cli.show import show as show_prompt
from promptatlas.errors import PromptAtlasError

MENDABLE, BUG = 2, 1  # exit codes; a command that was stopped ends with 130
DEBUG = "PROMPTATLAS_DEBUG"

app = typer.Typer(
    name="promptatlas",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: Mapping[str, Callable[..., None]] = {
    "demo": demo,
    "fit": fit,
    "auto": auto,
    "predict": predict,
    "evaluate": evaluate,
    "explain": explain,
    "ask": ask,
    "methods": methods,
    "show": show_prompt,
    "bench": bench,
    "doctor": doctor,
    "pretrain": pretrain,
    "export": export,
    "import": import_,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def _version(wanted: bool) -> bool:
    if wanted:
        import promptatlas

        show.text(promptatlas.__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Prompt learning for pretrained language models."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code: 0, 2 for what the caller can mend, 1 for a fault of ours, 130 when stopped.

    A fault of ours is told in one line; with PROMPTATLAS_DEBUG=1 every error comes with its traceback.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            app(args=None if argv is None else list(argv), prog_name="promptatlas")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except PromptAtlasError as error:
        _trace(error)
        show.problem(error.message, error.hint)
        return MENDABLE
    except BrokenPipeError:
        show.stdout_closed()
        return BUG
    except Exception as error:
        if not _trace(error):
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(at.filename).name}:{at.lineno}"
            show.problem(
                f"unexpected, at {where}: {type(error).__name__}: {error}", f"set {DEBUG}=1 to see the whole traceback"
            )
        return BUG
    return 0


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What the caller should know is a line; what only programmers should is left out."""
    if issubclass(category, UserWarning):
        show.note(f"warning: {message}")


def _trace(error: BaseException) -> bool:
    if not os.environ.get(DEBUG):
        return False
    traceback.print_exception(error, file=sys.stderr)
    return True

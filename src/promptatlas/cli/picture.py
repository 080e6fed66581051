"""A picture of a soft prompt: its vectors and the label words, on the two directions in which they differ most."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from promptatlas.cli.vectors import begun, made
from promptatlas.errors import SettingError, WordError, near
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words

KINDS = (".png", ".svg", ".pdf")
COLOURS = ("#2a6f97", "#c8553d", "#588157", "#7b5ea7", "#b8860b")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points that belong together: vectors [points, width], a name each, and where they began."""

    name: str
    points: Tensor
    names: Sequence[str]
    marker: str
    starts: Tensor | None = None


def check(path: Path) -> None:
    """Refuse a file that no picture can be written to, before anything is loaded. Raises SettingError."""
    if path.suffix.lower() not in KINDS:
        raise SettingError(f"`--picture {path}` is no kind of picture", hint=near(path.suffix.lower(), KINDS))
    if not path.parent.is_dir():
        raise SettingError(f"`--picture {path}`: there is no folder `{path.parent}`", hint="make it first")


def draw(prompts: Sequence[Prompt], lm: LM, path: Path) -> None:
    """Draw the vectors of all parts at the input, and the label words.

    Raises:
        SettingError: there are no vectors, or the file can't be written.
    """
    clouds = [
        one for at, prompt in enumerate(prompts) for one in _vectors(prompt, lm, at if len(prompts) > 1 else None)
    ]
    if not clouds:
        raise SettingError(
            "there is nothing to draw: this prompt has no vectors among its inputs",
            hint="a picture is of a soft prompt: `prompt_tuning`, say",
        )
    words = _words(prompts[0], lm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph the font doesn't have is drawn as a box
        figure = _figure([*clouds, *words], lm.name)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise SettingError(f"`{path}` can't be written: {error.strerror or error}", hint="try another") from error


def _vectors(prompt: Prompt, lm: LM, number: int | None) -> list[Cloud]:
    found = []
    for name, part in prompt.parts.items():
        some: Any = part
        points = made(some, lm) if part.site == "inputs" and some.ids is None and some.length else torch.zeros(0)
        if points.dim() == 2:
            start, _ = begun(prompt, name, lm)
            title = name if number is None else f"{name} of prompt {number + 1}"
            found.append(Cloud(title, points, [str(at) for at in range(len(points))], "o", start))
    return found


def _words(prompt: Prompt, lm: LM) -> list[Cloud]:
    """A cloud a label; none where the labels have no words that the model knows."""
    if not isinstance(prompt.words, Words) or not prompt.template.slots:
        return []
    try:
        tokens = prompt.words.tokens(lm, prompt.template)
    except WordError:
        return []
    table = lm.vectors.float().cpu()
    return [
        Cloud(
            label, torch.stack([table[list(ids)].mean(0) for ids in some]), prompt.words.words[label][: len(some)], "^"
        )
        for label, some in tokens.items()
    ]


def plane(clouds: Sequence[Cloud]) -> list[tuple[Tensor, Tensor | None]]:
    """Every cloud's points, and starts, on the two directions in which all points differ most: [points, 2]."""
    everything = torch.cat([one.points for one in clouds])
    if len(everything) < 2:
        return [(one.points[:, :2] * 0, None) for one in clouds]  # one point differs from nothing
    pca = PCA(n_components=min(2, *everything.shape), svd_solver="full").fit(everything.numpy())

    def flat(points: Tensor) -> Tensor:
        found = torch.from_numpy(pca.transform(points.numpy())).float()
        return torch.nn.functional.pad(found, (0, 2 - found.shape[1]))

    return [(flat(one.points), None if one.starts is None else flat(one.starts)) for one in clouds]


def _figure(clouds: Sequence[Cloud], title: str) -> Figure:
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot(title=f"soft prompt and label words, {title}")
    for at, (cloud, (points, starts)) in enumerate(zip(clouds, plane(clouds), strict=True)):
        colour = COLOURS[at % len(COLOURS)]
        axes.scatter(points[:, 0], points[:, 1], c=colour, marker=cloud.marker, s=36, label=cloud.name)
        for name, (x, y) in zip(cloud.names, points.tolist(), strict=True):
            axes.annotate(
                name,
                (x, y),
                xytext=(5, 5 if cloud.marker == "o" else -10),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
        for (x, y), (from_x, from_y) in zip(points.tolist(), [] if starts is None else starts.tolist(), strict=False):
            axes.plot([from_x, x], [from_y, y], color=colour, linewidth=0.8)
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    axes.margins(0.15)
    axes.legend(fontsize=8)
    return figure

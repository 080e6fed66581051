"""`promptatlas methods`: what there is, and a method's card. Imports no torch."""

from typing import Annotated

import typer

from promptatlas import registry
from promptatlas.cli import print as show
from promptatlas.registry import Card


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One method, to see its card.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the methods, or show the card of one."""
    if name is not None:
        card = registry.card(name)
        show.data(card.to_json()) if as_json else _card(card)
        return
    cards = [registry.card(one) for one in registry.names()]
    if as_json:
        show.data([card.to_json() for card in cards])
    else:
        show.table(("method", "what it does"), [(card.name, card.sentence) for card in cards])


def _card(card: Card) -> None:
    show.text(card.name, bold=True)
    show.text(card.sentence)
    show.text(card.paper)
    for heading, text in card.sections.items():
        show.text()
        show.text(heading, bold=True)
        show.text(text)
    if card.settings:
        show.text()
        rows = [
            (one.name, one.default or "(to be given)", one.published or one.default, one.type, one.doc)
            for one in card.settings
        ]
        show.table(("setting", "default", "paper", "type", "what it is"), rows)

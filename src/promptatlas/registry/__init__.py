"""Names of methods: files of `methods/` and entry points of other packages; nothing is imported to list them."""

from promptatlas.registry.card import Card, Setting
from promptatlas.registry.find import alternatives, card, fitting, has, method, names, seeded, settings_from

__all__ = ["Card", "Setting", "alternatives", "card", "fitting", "has", "method", "names", "seeded", "settings_from"]

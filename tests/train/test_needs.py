"""Which methods want label words."""

import pytest

from promptatlas.data.view import One
from promptatlas.errors import NeedsError
from promptatlas.prompting.make import prompt
from promptatlas.registry import fitting
from promptatlas.testing.tasks import TEMPLATE, toy
from promptatlas.testing.tiny import tiny
from promptatlas.train.needs import Needs

BARE = prompt(TEMPLATE, None, view=One())


def test_a_prompt_for_labels_without_words_fits_those_that_need_none() -> None:
    found = fitting(tiny("bert"), toy(), BARE)
    assert {"petal", "fine_tuning", "feature_extraction"} <= set(found)
    assert not {"pattern_tuning", "in_context", "contextual_calibration", "pet"} & set(found)
    Needs(words=False).check("x", tiny("bert"), toy(), BARE)
    Needs().under("head").check("x", tiny("bert"), toy(), BARE)
    with pytest.raises(NeedsError) as caught:
        Needs().check("x", tiny("bert"), toy(), BARE)
    assert str(caught.value) == (
        "`x` needs label words, and the prompt for `toy` has none\n\n"
        "hint: give each label its words, or let `petal` find some"
    )

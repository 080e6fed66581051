"""Questions that ask which of several things fits a text, worded in many ways, and how a choice is laid out.

Puri & Catanzaro 2019, arXiv:1912.10165, ask in 26 ways; the wording here is our own.

    >>> asked("Which of these fits the text?", ("Sports", "World News"))
    'Which of these fits the text? : " Sports " , " World News "'
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from promptatlas.errors import DataError, SettingError, near

Language = Literal["en", "zh"]

ENGLISH: Final = (
    "Which of these fits the text?",
    "Which of these headings fits the text?",
    "Which of the following describes the text best?",
    "What is the text about?",
    "What would be a good heading for this text?",
    "Choose the best name for the text below",
    "Choose what the text is about",
    "Pick the choice that goes with the text",
    "Pick the heading under which this was written",
    "Which title belongs to the text?",
    "Under which of these would you file the text?",
    "How would you sum up the text?",
    "How can the following text be described?",
    "The text below is best described by which choice?",
    "The passage can be labelled as one of these",
    "Which one of these describes what is said?",
    "Which label does the passage deserve?",
    "Which description matches the passage?",
    "What does the passage deal with?",
    "What is said here belongs to which of these?",
    "Of these choices, which suits the text?",
    "Of the following, name the one that the text is an instance of",
    "To which of these does the text belong?",
    "Say which of these the text is",
    "Find the phrase that stands for the text",
    "Match the text with one of these",
)
CHINESE: Final = (
    "下面哪一个符合这段文字？",
    "下面哪个标题符合这段文字？",
    "哪一个最能说明这段文字？",
    "这段文字讲的是什么？",
    "这段文字可以用什么作标题？",
    "请为下面的文字选一个名称",
    "请选出这段文字的主题",
    "请选出与文字相配的一项",
    "这段文字应归入哪一类？",
    "怎样概括这段文字？",
    "下列说法中，哪一个与文字相符？",
    "这段文字属于哪一项？",
    "请把文字与其中一项对应起来",
)
QUESTIONS: Final[dict[Language, tuple[str, ...]]] = {"en": ENGLISH, "zh": CHINESE}
NONE: Final[dict[Language, str]] = {"en": "none of the above", "zh": "以上都不是"}


class Layout(NamedTuple):
    """What stands before a question, a text and an answer, each on a line of its own."""

    question: str
    text: str
    answer: str


LAYOUTS: Final[dict[Language, Layout]] = {
    "en": Layout("Question: ", "Text: ", "Answer: "),
    "zh": Layout("问题：", "文字：", "答案： "),
}


def question(language: Language, number: int) -> str:
    """A question by its number, from 0. Raises SettingError: there is none."""
    bank = QUESTIONS[language]
    if not 0 <= number < len(bank):
        raise SettingError(f"there is no question {number}", hint=f"they count from 0 to {len(bank) - 1}")
    return bank[number]


def asked(question: str, options: Sequence[str]) -> str:
    """A question with its options, quoted, a blank before each as before an answer, so that both are the same tokens.

    Raises:
        DataError: an option with a quote in it (see `unquoted`).
    """
    for option in options:
        if '"' in option:
            raise DataError(f"the option `{option}` has a quote in it", hint="quote within it by '")
    return question + " : " + " , ".join(f'" {option} "' for option in options)


def unquoted(text: str) -> str:
    r"""A text that can stand in quotes: those within are `'`, and blanks and line breaks in a row are one blank.

    >>> unquoted('A "great"\n  film')
    "A 'great' film"
    """
    return " ".join(text.replace('"', "'").split())


def named(labels: Sequence[str], descriptions: Mapping[str, str]) -> dict[str, str]:
    """Label -> what it is called as an option: its description, or else its name, as `unquoted` gives them.

    Raises:
        SettingError: a description of what is no label.

    >>> named(("up", "down"), {"up": 'A "good" film'})
    {'up': "A 'good' film", 'down': 'down'}
    """
    for label in descriptions:
        if label not in labels:
            raise SettingError(f"a description of `{label}`, which is no label", hint=near(label, labels))
    return {label: unquoted(descriptions.get(label, label)) for label in labels}

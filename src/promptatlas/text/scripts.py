"""Scripts that put no blank between words, as classes of a regular expression, and what counts as a word in any."""

import re

HAN = "\u3400-\u9fff\U00020000-\U0003ffff"  # Chinese characters, the rare ones too
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # Chinese characters in common use, and Japanese kana
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")  # a Chinese character is a word
CLOSE = re.compile(rf"[\s{HAN}\u3000-\u30ff\uff00-\uffef]")  # no blank stands beside these, full-width marks among them


def joined(one: str, other: str) -> str:
    """Two texts, with a blank between them where none is and their script has one there.

    >>> joined("Two and two.", "So it is"), joined("二加二。", "所以")
    ('Two and two. So it is', '二加二。所以')
    """
    apart = one and other and not CLOSE.match(one[-1]) and not CLOSE.match(other[0])
    return f"{one} {other}" if apart else one + other

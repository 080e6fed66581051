"""Scripts that put no blank between words, as classes of a regular expression, and what counts as a word in any."""

import re

HAN = "\u3400-\u9fff\U00020000-\U0003ffff"  # Chinese characters, the rare ones too
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # Chinese characters in common use, and Japanese kana
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")  # a Chinese character is a word

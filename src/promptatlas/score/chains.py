"""Chains of reasoning: texts that reason and then answer, and one answer out of one or many of them."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn

from promptatlas.data.example import Example
from promptatlas.data.view import Answer
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode
from promptatlas.text.pattern import Pattern

Vote = Literal["majority", "weighted", "normalised"]


class Chain(NamedTuple):
    """A chain that was written.

    Attributes:
        text: all of it, with what was said to hear its answer.
        value: the answer that was read off it; None where there is none.
        logp: of all its tokens under the model, whatever temperature they were drawn at.
        tokens: how many the model wrote.
    """

    text: str
    value: str | None
    logp: float
    tokens: int

    @property
    def likely(self) -> float:
        """Its probability, normalised for length: the geometric mean of its tokens'."""
        return math.exp(self.logp / max(1, self.tokens))

    def weight(self, vote: Vote) -> float:
        """What its answer's vote counts."""
        return 1.0 if vote == "majority" else math.exp(self.logp) if vote == "weighted" else self.likely


@dataclass(frozen=True, kw_only=True)
class Chains:
    """One example is one row, from whose slot on chains are written; the answer is read off one, or voted for by many.

    One chain is written greedily, or several are drawn. Which answers are the same is told by how they are written
    after `said` has read them, capitals apart.

    Attributes:
        how: chains are written; `how.n` of them.
        said: how an answer is read off a chain.
        then: said behind each chain to hear its answer in a second, greedy call (Kojima et al. 2022, arXiv:2205.11916);
            "": the answer is in the chain.
        short: most tokens of such an answer.
        vote: what a chain counts: 1 ("majority"), its probability ("weighted"), or that normalised for length
            ("normalised"); summed, never averaged (Wang et al. 2023, arXiv:2203.11171).
        early: no more chains are drawn where the answer that leads can't be reached any more. The answer is the same,
            and its share is that among the chains drawn.
    """

    how: Decode = field(default_factory=lambda: Decode(max_new=128))
    said: Pattern = field(default_factory=lambda: Pattern.of("number"))
    then: str = ""
    short: int = 32
    vote: Vote = "majority"
    early: bool = False

    kind: ClassVar[str] = "chains"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what can't be written."""
        check(self.how)
        if self.then and self.short < 1:
            raise SettingError(f"an answer of {self.short} tokens", hint="set `short` to 1 or more")

    def rows(self, example: Example) -> tuple[Example, ...]:
        """The example itself."""
        return (example,)

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> NoReturn:
        """None: raises SettingError, for a chain is written and not scored."""
        raise SettingError("chains are written, and have no scores", hint="use predict")

    def logits(self, scores: Any, labels: Sequence[str]) -> NoReturn:
        """None: raises SettingError, as `fold` does."""
        self.fold(Example(), scores, labels)

    def answer(self, chains: Sequence[Chain]) -> Answer:
        """The answer that chains vote for.

        Chains without an answer don't vote, and `why` says how many they are. Of answers with equal votes the one whose
        chains are likelier together wins (`Chain.likely`), then the one that came first. `confidence` is the winner's
        share of the votes, or of a single chain its probability; `probabilities` has every answer's share.
        """
        spelled: dict[str, str] = {}  # the first way an answer was written
        votes, likely = defaultdict[str, float](float), defaultdict[str, float](float)
        for one in chains:
            if one.value is not None:
                key = one.value.casefold()
                spelled.setdefault(key, one.value)
                votes[key] += one.weight(self.vote)
                likely[key] += one.likely
        texts = tuple(one.text for one in chains)
        why = _unread(sum(one.value is None for one in chains), len(chains))
        if not spelled:
            return Answer(None, 0.0, why=why, texts=texts)
        if len(chains) == 1:
            return Answer(chains[0].value, math.exp(chains[0].logp), texts=texts)
        total = math.fsum(votes.values()) or 1.0  # chains so long that none has any probability left
        best = max(spelled, key=lambda key: (votes[key], likely[key]))  # of equals the first
        shares = {text: votes[key] / total for key, text in spelled.items()}
        return Answer(spelled[best], shares[spelled[best]], shares, why, texts=texts)

    def settled(self, chains: Sequence[Chain], left: int) -> bool:
        """Whether no answer can reach the one that leads, were all the `left` chains to vote for it."""
        votes = defaultdict[str, float](float)
        for one in chains:
            if one.value is not None:
                votes[one.value.casefold()] += one.weight(self.vote)
        first, second = sorted([*votes.values(), 0.0, 0.0], reverse=True)[:2]
        return first > second + left  # no chain counts more than 1

    def config(self) -> dict[str, Any]:
        """Its settings."""
        more = {"then": self.then, "short": self.short, "vote": self.vote, "early": self.early}
        return {"how": asdict(self.how), "said": asdict(self.said), **more}

    def tensors(self) -> Mapping[str, Any]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "Chains":
        """The view again."""
        how: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in config["how"].items()
        }
        return cls(**{**config, "how": Decode(**how), "said": Pattern(**config["said"])})


def check(how: Decode) -> None:
    """Refuse a way of writing chains that gives no votes. Raises SettingError."""
    if how.n < 1 or how.max_new < 1:
        raise SettingError(f"{how.n} chains of {how.max_new} tokens", hint="write 1 or more of each")
    if how.temperature < 0:
        raise SettingError(f"a temperature of {how.temperature:g}", hint="0 is greedy, above it chains are drawn")
    if how.n > 1 and (how.temperature == 0 or how.beams > 1):
        why = "all alike at temperature 0" if how.temperature == 0 else f"searched by {how.beams} beams"
        raise SettingError(f"{how.n} chains that are {why} can't vote", hint="draw them: temperature=0.7, beams=1")


def _unread(count: int, of: int) -> str:
    if not count:
        return ""
    if of == 1:
        return "no answer could be read off the chain"
    return f"no answer could be read off {'any' if count == of else count} of {of} chains"

"""A score in plain words: level of risk, and reasons that raise or lower it. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from churnops.app.predict.answers import Answer, Card
from churnops.app.shared.text import one_line
from churnops.features.build import feature_title
from churnops.features.shown import shown_value
from churnops.model import Bundle
from churnops.schema import Columns
from churnops.words import percent

SHOWN = 6


@dataclass(frozen=True)
class Level:
    """Level of a risk: a word, its colour, and a sentence with the reason."""

    word: str
    colour: str
    sentence: str


@dataclass(frozen=True)
class Reason:
    """Contribution of one feature to a score: name and value in words, and size on the explanation's scale."""

    name: str
    value: str
    contribution: float
    description: str

    @property
    def effect(self) -> str:
        """Whether the feature raises or lowers the risk, in words."""
        return (
            "raises the risk" if self.contribution > 0 else "lowers the risk" if self.contribution < 0 else "no effect"
        )

    def __str__(self) -> str:
        return f"{self.name}{f' ({self.value})' if self.value else ''} {self.effect}"


def level(probability: float, threshold: float) -> Level:
    """Return the level of a probability, relative to the threshold of the deployed model.

    Examples
    --------
    >>> level(0.7, 0.5).sentence
    'This customer is predicted to leave: the probability is at or above the threshold of 50 %.'
    >>> level(0.3, 0.5).word, level(0.1, 0.5).word
    ('Medium risk', 'Low risk')
    """
    line = percent(threshold)
    if probability >= threshold:
        sentence = f"This customer is predicted to leave: the probability is at or above the threshold of {line}."
        return Level("High risk", "red", sentence)
    if probability >= threshold / 2:
        sentence = f"This customer is predicted to stay, but the probability is at least half the threshold of {line}."
        return Level("Medium risk", "orange", sentence)
    sentence = f"This customer is predicted to stay: the probability is below half the threshold of {line}."
    return Level("Low risk", "green", sentence)


def reasons(answer: Answer, card: Card, values: Mapping[str, float], limit: int = SHOWN) -> tuple[Reason, ...]:
    """Return the largest contributions in words; `values` are the known values of features."""
    return tuple(reason(name, share, card, values.get(name)) for name, share in answer.contributions[:limit])


def reason(name: str, contribution: float, card: Card, value: float | None) -> Reason:
    """Return one contribution in words."""
    feature = card.features.get(name)
    description = one_line(feature.description) if feature else ""
    return Reason(
        one_line(feature_title(name, card.schema, feature)),
        shown_value(value, feature, card.schema),
        contribution,
        description,
    )


def feature_values(card: Card, bundle: Bundle | None, columns: Columns) -> dict[str, Sequence[float]]:
    """Return the values of features for encoded customers, by the feature's name.

    Parameters
    ----------
    bundle
        Model of the card, if it is on this machine. Without it, only features that are columns have values.
    """
    if bundle is None:
        return {name: columns[name].tolist() for name in card.features if name in columns}
    matrix = bundle.feature_matrix(columns)
    return {name: matrix[:, place].tolist() for place, name in enumerate(bundle.selected)}


def on_scale(probability: float, scale: str) -> float | None:
    """Return a probability on the explanation's scale; None for the log-odds of a score that is rounded to 0 or 1."""
    if scale == "probability":
        return probability
    return log(probability / (1.0 - probability)) if 0.0 < probability < 1.0 else None


def rest(answer: Answer, limit: int = SHOWN) -> float | None:
    """Return the total contribution of the features that are not shown; None if `on_scale` gives no score."""
    score = on_scale(answer.probability, answer.scale)
    if score is None:
        return None
    return score - answer.base_value - sum(share for _, share in answer.contributions[:limit])

"""Reasons that raise a customer's risk, in words, and the action that they suggest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from churnops.features.build import Feature, feature_title
from churnops.features.shown import is_comparison, shown_value
from churnops.schema import Schema
from churnops.settings import FeatureSettings
from churnops.words import one_line

REASONS = 3
_LETTERS = 200


@dataclass(frozen=True)
class Wording:
    """Words for the features of a model: from the settings, so that a change of a text needs no training.

    Attributes
    ----------
    schema
        Schema of the model, which says what the values mean.
    features
        Features of the model by name.
    texts
        `why` and `action` of columns and derived features, by name.
    """

    schema: Schema
    features: Mapping[str, Feature]
    texts: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, schema: Schema, features: Sequence[Feature], table: Schema, settings: FeatureSettings) -> "Wording":
        """Return the words for a model's features; `table` and `settings` are the project's present ones."""
        columns = (*schema.columns, *table.columns)  # the later ones count
        texts = {one.name: (one.why, one.action) for one in columns if one.why or one.action}
        texts |= {one.name: (one.why, one.action) for one in settings.derived if one.why or one.action}
        return cls(schema, {feature.name: feature for feature in features}, texts)

    def reason(self, name: str, value: float | None) -> str:
        """Return a feature that raises the risk, with its value, in words.

        `why` names what raises the risk. So if the value is the opposite of it, such as a plan that the customer does
        not have, the title with the value is the reason.
        """
        feature = self.features.get(name)
        column, is_choice, choice = name.partition("=")
        why, _ = self._texts(name)
        shown = shown_value(value, feature, self.schema)
        if is_choice and value is not None:
            title = one_line(feature_title(column, self.schema, None), _LETTERS)
            text = f"{why} ({choice})" if why else f"{title}: {choice}"
            return one_line(text if value else f"{title}: not {choice}", _LETTERS)
        title = one_line(feature_title(name, self.schema, feature), _LETTERS)
        if not why or self._is_opposite(name, value):
            return one_line(f"{title}: {shown}" if shown else title, _LETTERS)
        return one_line(f"{why} ({shown})" if shown and not self._is_yes_or_no(name) else why, _LETTERS)

    def action(self, names: Sequence[str]) -> str:
        """Return the action that the first of some features suggests, empty if none does."""
        return next((one_line(action, _LETTERS) for name in names if (action := self._texts(name)[1])), "")

    def _texts(self, name: str) -> tuple[str, str]:
        return self.texts.get(name) or self.texts.get(name.partition("=")[0], ("", ""))

    def _is_yes_or_no(self, name: str) -> bool:
        feature, column = self.features.get(name), self.schema.by_name.get(name)
        return (column is not None and column.kind == "flag") or bool(feature and is_comparison(feature.expression))

    def _is_opposite(self, name: str, value: float | None) -> bool:
        return self._is_yes_or_no(name) and value == 0


def raising(contributions: Sequence[Mapping[str, object]] | None) -> list[str]:
    """Return the names of up to three features that raise the risk, the strongest first.

    >>> raising([{"feature": "a", "shap_value": 0.5}, {"feature": "b", "shap_value": -0.4}])
    ['a']
    """
    shares = ((str(one["feature"]), float(str(one["shap_value"]))) for one in contributions or ())
    ordered = sorted((pair for pair in shares if pair[1] > 0), key=lambda pair: -pair[1])
    return [name for name, _ in ordered[:REASONS]]

"""Features: columns of the model's matrix, each computed by an expression."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.errors import ExpressionError
from churnops.features.expressions import Expression, compile_expression
from churnops.schema import Column, Columns, Schema, nearest, without_empty_labels
from churnops.settings import FeatureSettings
from churnops.words import title, words

MAX_FEATURES = 2000
BLOCK = 4096  # rows at a time: intermediate results stay in the processor's cache


@dataclass(frozen=True)
class Feature:
    """A model input: an expression over the Schema's columns and the features before it.

    Only a derived feature has a label and unit of its own; `feature_title` gives the title of every feature.
    """

    name: str
    expression: str
    description: str
    label: str = ""
    unit: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain JSON types, without an empty label or unit."""
        return without_empty_labels(vars(self))


def all_features(schema: Schema, settings: FeatureSettings, *, one_hot: bool = True) -> tuple[Feature, ...]:
    """Return every feature that the Schema and the settings define, before selection.

    The required columns come first: a category as one 0/1 feature for each choice but the first, or without `one_hot`
    as the code of its choice. The derived features follow in the order of the settings.

    Raises
    ------
    ExpressionError
        If an expression is invalid or uses an optional column or a later feature, a name is taken, or `exclude` has a
        name that is neither a feature nor a column.
    """
    features: list[Feature] = []
    for column in schema.model_inputs:
        if column.kind == "category" and one_hot:
            for choice in column.choices[1:]:
                text = f"{column.name} == {json.dumps(choice, ensure_ascii=False)}"
                features.append(Feature(f"{column.name}={choice}", text, f"{column.full_name} is {choice}"))
        else:
            features.append(Feature(column.name, column.name, column.description or column.full_name))
    taken = set(schema.by_name) | {feature.name for feature in features}
    for item in settings.derived:
        if item.name in taken:
            raise ExpressionError(f"derived feature '{item.name}': a column has that name already")
        taken.add(item.name)
        features.append(Feature(item.name, item.expression, item.description or item.expression, item.label, item.unit))
    names = [feature.name for feature in features]
    unknown = sorted(set(settings.exclude) - set(names) - {column.name for column in schema.model_inputs})
    if unknown:
        raise ExpressionError(f"features.exclude: there is no feature '{unknown[0]}': {nearest(unknown[0], names)}")
    if not features:
        raise ExpressionError("there is no feature to predict from: every column is a category with one choice")
    FeatureMatrix(schema.model_inputs, features, names)  # compiles every expression, or raises
    return tuple(features)


def feature_title(name: str, schema: Schema, feature: Feature | None) -> str:
    """Return a feature's title: that of its column (with the choice of a category), or else of the derived feature.

    Examples
    --------
    >>> column = Column(name="plan", kind="category", choices=("basic", "gold"), label="Tariff")
    >>> schema = Schema(columns=(column, Column(name="churn", kind="target", choices=("No", "Yes"))))
    >>> feature_title("plan=gold", schema, None), feature_title("total_charge", schema, None)
    ('Tariff: gold', 'Total charge')
    """
    column_name, is_choice, choice = name.partition("=")
    if (column := schema.by_name.get(column_name)) is not None:
        return f"{title(column)}: {choice}" if is_choice else title(column)
    return title(feature) if feature else words(name)


class FeatureMatrix:
    """Function from columns to the selected features; a row of the result depends only on the same row of the columns.

    Parameters
    ----------
    inputs
        Columns of the Schema that expressions may use.
    features
        Definitions in order; later ones may use earlier ones.
    selected
        Names of the matrix's columns, in order.
    """

    def __init__(self, inputs: Sequence[Column], features: Sequence[Feature], selected: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.features = tuple(features)
        self.selected = tuple(selected)
        if len(features) > MAX_FEATURES:
            raise ExpressionError(f"{len(features)} features: at most {MAX_FEATURES} are allowed")
        known: dict[str, Column | None] = {column.name: column for column in inputs}
        compiled: dict[str, Expression | None] = {}
        for feature in features:
            is_column = feature.expression == feature.name and feature.name in known
            compiled[feature.name] = None if is_column else compile_expression(feature.expression, known)
            known.setdefault(feature.name, None)
        missing = set(selected) - set(compiled)
        if missing or len(set(selected)) != len(self.selected) or not selected:
            raise ExpressionError(f"selected features are unknown or repeated: {sorted(missing) or list(selected)}")
        needed = set(selected)
        for name, expression in reversed(compiled.items()):
            if name in needed and expression is not None:
                needed |= expression.names
        column_names = {column.name for column in inputs}
        place = {name: position for position, name in enumerate(selected)}
        # (name, expression or None if the feature is a column, place in the matrix or None if not selected)
        self._plan = [
            (name, None if name in column_names else expression, place.get(name))
            for name, expression in compiled.items()
            if name in needed
        ]

    def __reduce__(self) -> tuple[type, tuple[tuple[Column, ...], tuple[Feature, ...], tuple[str, ...]]]:
        """Return how another process makes this matrix; compiled expressions are not sent."""
        return type(self), (self.inputs, self.features, self.selected)

    def __call__(self, columns: Columns, given: Columns | None = None) -> NDArray[np.float64]:
        """Build the matrix of shape (n, number of selected features) from imputed columns of length n.

        With `given`, the same columns before the imputation, features that are columns keep their missing values.
        """
        rows = len(columns[self.inputs[0].name])
        matrix = np.empty((rows, len(self.selected)))
        with np.errstate(over="ignore", invalid="ignore"):  # the score is checked, not each step
            for start in range(0, rows, BLOCK):
                stop = min(start + BLOCK, rows)
                block = {column.name: columns[column.name][start:stop] for column in self.inputs}
                self._fill(block, matrix[start:stop])
                for name, expression, place in self._plan if given else ():
                    if expression is None and place is not None:
                        matrix[start:stop, place] = given[name][start:stop]  # type: ignore[index]
        return matrix

    def one(self, values: Mapping[str, float], given: Mapping[str, float] | None = None) -> NDArray[np.float64]:
        """Build the matrix of one customer, shape (1, number of selected features), from imputed numbers.

        The bits are the same as for columns of length 1, in a fraction of the time.
        """
        known = dict(values)
        row = [0.0] * len(self.selected)
        for name, expression, place in self._plan:
            value = known[name] if expression is None else expression.compute_one(known)
            known[name] = value
            if place is not None:
                row[place] = given[name] if given and expression is None else value
        return np.array((row,))

    def without(self, columns: Collection[str]) -> "FeatureMatrix | None":
        """Return the matrix without the features that use some columns; None if no feature is left."""
        left_out = set(columns)
        for name, expression, _ in self._plan:
            if expression is not None and expression.names & left_out:
                left_out.add(name)
        selected = [name for name in self.selected if name not in left_out]
        return FeatureMatrix(self.inputs, self.features, selected) if selected else None

    def _fill(self, block: dict[str, NDArray[np.float64]], matrix: NDArray[np.float64]) -> None:
        for name, expression, place in self._plan:
            values = block[name] if expression is None else expression(block)
            block[name] = values
            if place is not None:
                matrix[:, place] = values

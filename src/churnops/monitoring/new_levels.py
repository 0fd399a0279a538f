"""Levels of a batch that the training table does not have."""

from scipy.special import betainc

from churnops.data.profile import ColumnProfile, Profile
from churnops.data.unexpected_cells import MAX_SHARE, UnexpectedCells, expected_shares
from churnops.model import Bundle
from churnops.monitoring.cautions import BROKEN, Caution, CautionName
from churnops.monitoring.drift import MIN_ROWS, unseen_category_test
from churnops.monitoring.verdicts import FeatureDrift
from churnops.schema import Column
from churnops.words import title

NAME: CautionName = "unknown_levels"


def new_levels(
    bundle: Bundle, batch: Profile, cells: UnexpectedCells, features: FeatureDrift, certain: float
) -> Caution:
    """Compare the share of rows with new levels with the expected one, for each category.

    The caution fires if the share is certainly higher than expected, by at least 5 percentage points. Expected is the
    share in cross-validation or in the training table, whichever is higher. `broken_columns` names a category of which
    at least half of the rows have new levels.

    Parameters
    ----------
    batch
        Profiles of the watched columns, counted in the cells of the bundle's reference.
    cells
        Examples of levels outside the choices.
    certain
        Highest p-value of a certain difference at this look, see `budget.level`. Each category gets an equal part.
    """
    columns = [bundle.schema.by_name[drift.name] for drift in features.columns if drift.kind == "category"]
    watched = [column for column in columns if column.name in batch and batch[column.name].rows >= MIN_ROWS]
    if not columns:
        return Caution(NAME, "warning", False, False, "the model watches no category")
    if not watched:
        return Caution(NAME, "warning", None, None, f"no category has {MIN_ROWS} customers")
    expected = expected_shares(bundle.metrics)
    big: dict[str, float] = {}  # p-value by sentence
    for column in watched:
        reference, profile = bundle.reference[column.name], batch[column.name]
        count = _new(column, profile)
        usual = max(expected.get(column.name, 0.0), (_new(column, reference) + 1) / (reference.rows + 2))
        if count / profile.rows - usual >= MAX_SHARE and profile.outside < BROKEN * profile.rows:
            p_value = float(betainc(count, profile.rows - count + 1, usual))
            sentence = _sentence(column, count / profile.rows, cells)
            big[sentence] = max(p_value, _by_chance(column, reference, profile))
    certainly = [sentence for sentence, p_value in big.items() if p_value <= certain / len(watched)]
    reason = "; ".join((certainly or [*big])[:3]) or "hardly any level is new since training"
    return Caution(NAME, "warning", bool(big), bool(certainly), reason)


def _new(column: Column, profile: ColumnProfile) -> int:
    """Return the number of rows with an unknown level; if the reference has none, with a level that it lacks.

    A retrained model's reference are recent customers: they lack many levels that the model was trained on.
    """
    unknown = profile.at_points[profile.points == column.other]
    return int(unknown[0]) if unknown.size else profile.outside


def _by_chance(column: Column, reference: ColumnProfile, batch: ColumnProfile) -> float:
    """Return the p-value of the new levels if many levels are rare; 0 if the reference has unknown levels, too."""
    if column.other in reference.points:
        return 0.0
    return unseen_category_test(reference, batch).p_value or 0.0


def _sentence(column: Column, share: float, cells: UnexpectedCells) -> str:
    level = cells.unknown.get(column.name)
    examples = f": {', '.join(map(repr, level.examples))}, …" if level and level.examples else ""
    return f"{share:.0%} of the customers have a level of {title(column)} that is new since training{examples}"

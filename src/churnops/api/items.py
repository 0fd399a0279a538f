"""JSON bodies of one item or a list of items, such as outcomes, read in steps."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from churnops.api.problems import Problem
from churnops.api.strict_json import parse_json, parse_list
from churnops.api.work import STEP_ROWS, Steps
from churnops.errors import broken_rule
from churnops.limits import MAX_ERRORS
from churnops.schema import nearest
from churnops.wire import FieldError

Item = TypeVar("Item", bound=BaseModel)


def read_items(body: bytes, model: type[Item], max_items: int) -> Steps[list[Item]]:
    """Read items from a JSON body in steps: one, or a list of at most `max_items`. No field has a list or object.

    Raises
    ------
    Problem
        400, 413 or 422. A 422 names row, field and rule of the first 20 errors.
    """
    is_list = body.lstrip()[:1] == b"["
    max_values = 2 * len(model.model_fields)  # members and elements in one item's JSON, at all depths together
    documents = parse_list(body, max_items, max_values) if is_list else [parse_json(body, max_values)]
    items: list[Item] = []
    errors: list[FieldError] = []
    for row, document in enumerate(documents, 1):
        try:
            items.append(model.model_validate(document))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            errors += [explain_item(item, model, row) for item in problems[: MAX_ERRORS - len(errors)]]
            if len(errors) >= MAX_ERRORS:
                break
        if row % STEP_ROWS == 0:
            yield
    if errors:
        first = errors[0]
        where = f"{first.field}: " if first.field else ""
        raise Problem(422, "validation", f"row {first.row}: {where}{first.message}", errors=errors)
    return items


def explain_item(error: Any, model: type[BaseModel], row: int | None = None) -> FieldError:
    """Return the broken rule of a pydantic error, without the value."""
    field = str(error["loc"][0])[:64] if error["loc"] else None
    message = broken_rule(error)
    if error["type"] == "string_pattern_mismatch":
        message = "must have a visible character, and no NUL"
    if error["type"] == "extra_forbidden":
        message = f"there is no such field; {nearest(str(field), model.model_fields)}"
    rule = "value" if error["type"] == "value_error" else error["type"]
    return FieldError(field=field, rule=rule, message=message, row=row)

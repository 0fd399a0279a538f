"""Description of the service: its documentation as a page, and an index."""

from fastapi import APIRouter, Request, Response

from churnops import __version__
from churnops.api.routes.page import documentation_page
from churnops.api.routes.shared import as_json
from churnops.wire import IndexAnswer

router = APIRouter(tags=["service"])


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the OpenAPI document as a page without scripts and external files."""
    document, state = request.app.openapi(), request.app.state
    last: tuple[object, Response] | None = getattr(state, "documentation", None)
    if last is None or last[0] is not document:  # the document changes with the model only
        last = state.documentation = document, documentation_page(document, state.service.settings.banner)
    return last[1]


@router.get("/", operation_id="get_index", summary="Describe the service", response_model=IndexAnswer)
async def index(request: Request) -> Response:
    """Return the service's name, version and paths."""
    banner = request.app.state.service.settings.banner
    document = {
        "service": "churnops",
        "version": __version__,
        "documentation": f"{request.scope.get('root_path', '')}/docs",
        "paths": [*request.app.openapi()["paths"]],
    }
    return as_json(document | ({"demonstration": banner} if banner else {}))

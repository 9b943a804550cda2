"""Downloads of run results over HTTP, with signed links."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.kit.audit import AuditKind
from db.runs import find_any_run
from db.users.throttle import network_of
from db.workbench.results.formats import CONTENT_TYPES
from db.workbench.results.result_files import result_not_found
from graph.context import address_of
from graph.transport.files.byte_responses import (
    UNTRUSTED_CONTENT_HEADERS,
    json_errors,
    recorded_download,
    stream_response,
)
from graph.transport.files.uploads import verify_link
from graph.transport.gateway import Gateway

_VERBATIM = ".verbatim"


def result_path(run_id: UUID, format: str, *, spreadsheet_safe: bool = True) -> str:
    return f"/results/{run_id.hex}{'' if spreadsheet_safe else _VERBATIM}.{format}"


def routes() -> list[Route]:
    """The route of result downloads."""
    return [Route("/results/{name}.{format}", json_errors(send), methods=["GET"])]


async def send(request: Request) -> Response:
    """Stream all rows of a result."""
    gateway: Gateway = request.state.gateway
    services = gateway.services
    await verify_link(request, services, "GET")
    name, format = request.path_params["name"], request.path_params["format"]
    run_id = UUID(hex=name.removesuffix(_VERBATIM))
    async with services.database.read() as session:
        run = await find_any_run(session, run_id)
    if run is None or run.parsed_columns is None:
        raise result_not_found()
    headers = UNTRUSTED_CONTENT_HEADERS | {
        "Content-Type": CONTENT_TYPES[format],
        "Content-Disposition": f'attachment; filename="result-{run_id.hex[:8]}.{format}"',
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    stream = services.result_files.stream(
        run, format, spreadsheet_safe=not name.endswith(_VERBATIM)
    )
    recorded = recorded_download(
        stream,
        services.database,
        AuditKind.RESULT_DOWNLOADED,
        of=run.owner_id,
        subject_id=run_id,
        format=format,
    )
    paced = gateway.turns.each(network_of(address_of(request.scope)), recorded)
    return await stream_response(paced, headers=headers)

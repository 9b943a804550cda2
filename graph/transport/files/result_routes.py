"""Downloads of run results over HTTP, with signed links."""

from collections.abc import AsyncGenerator
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.client_networks import network_of
from db.kit.audit import AuditKind
from db.runs import RunRow, find_any_run
from db.workbench.results.cells import is_bytes
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
from graph.transport.gateway import gateway_of

_VERBATIM = ".verbatim"


def result_path(run_id: UUID, format: str, *, spreadsheet_safe: bool = True) -> str:
    return f"/results/{run_id.hex}{'' if spreadsheet_safe else _VERBATIM}.{format}"


def cell_path(run_id: UUID, row: int, column: int) -> str:
    return f"/results/{run_id.hex}/cells/{row}/{column}"


def routes() -> list[Route]:
    """The routes of downloads of results and of their cells."""
    return [
        Route(
            "/results/{run}/cells/{row:int}/{column:int}", json_errors(send_cell), methods=["GET"]
        ),
        Route("/results/{name}.{format}", json_errors(send), methods=["GET"]),
    ]


async def send(request: Request) -> Response:
    """Stream all rows of a result."""
    await verify_link(request, "GET")
    name, format = request.path_params["name"], request.path_params["format"]
    run = await _find_run(request, name.removesuffix(_VERBATIM))
    files, is_safe = gateway_of(request).services.result_files, not name.endswith(_VERBATIM)
    stream = files.stream(run, format, spreadsheet_safe=is_safe)
    file = f"result-{run.id.hex[:8]}.{format}"
    return await _respond(request, run, stream, CONTENT_TYPES[format], file, format=format)


async def send_cell(request: Request) -> Response:
    """Stream one value of a result."""
    await verify_link(request, "GET")
    path = request.path_params
    row, column = path["row"], path["column"]
    run = await _find_run(request, path["run"])
    shown = (run.parsed_columns or [])[column : column + 1]
    as_bytes = bool(shown) and is_bytes(shown[0])
    kind = "application/octet-stream" if as_bytes else "text/plain; charset=utf-8"
    file = f"cell-{run.id.hex[:8]}-{row}-{column}.{'bin' if as_bytes else 'txt'}"
    stream = gateway_of(request).services.result_files.cell(run, row, column)
    return await _respond(request, run, stream, kind, file, format="cell")


async def _find_run(request: Request, run_id: str) -> RunRow:
    async with gateway_of(request).services.database.read() as session:
        run = await find_any_run(session, UUID(hex=run_id))
    if run is None or run.parsed_columns is None:
        raise result_not_found()
    return run


async def _respond(
    request: Request,
    run: RunRow,
    stream: AsyncGenerator[bytes],
    content_type: str,
    file: str,
    *,
    format: str,
) -> Response:
    headers = UNTRUSTED_CONTENT_HEADERS | {
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{file}"',
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    gateway = gateway_of(request)
    recorded = recorded_download(
        stream,
        gateway.services.database,
        AuditKind.RESULT_DOWNLOADED,
        of=run.owner_id,
        subject_id=run.id,
        format=format,
    )
    paced = gateway.turns.each(network_of(address_of(request.scope)), recorded)
    return await stream_response(paced, headers=headers)

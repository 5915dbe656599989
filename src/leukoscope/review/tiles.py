"""The tiles of slides below /api/v1, for the viewer."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import LeukoscopeError
from .api import FOREVER, NotFound, error_json
from .desk import Desk


def routes(desk: Desk) -> list[Route]:
    """The tiles of the slides that lie open."""
    def answer(request: Request) -> Response:
        seat = desk.seats.get(request.path_params["smear"])
        slide = seat.pictures.slide if seat is not None else None
        level, column, row = (int(request.path_params[name]) for name in ("level", "column", "row"))
        try:
            if slide is None:
                raise NotFound("no such slide", "go back to the worklist")
            return Response(slide.tile(level, column, row), media_type="image/jpeg", headers=FOREVER)
        except LeukoscopeError as error:
            return error_json(error)

    async def tile(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return [Route("/api/v1/smears/{smear}/tiles/{level:int}/{column:int}_{row:int}.jpg", tile)]

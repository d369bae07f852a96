"""The page as an app that meets hostile callers: what they send is limited and checked, every refusal is a
sentence.
"""

import logging
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
from fastapi.exceptions import RequestValidationError
from gradio.route_utils import FnIndexInferError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .arguments import checked
from .handlers import refusal
from .sessions import is_lost, make_room

MOST_OF_A_FILE = 5 * 2**20  # bytes
MOST_OF_A_BODY = 2**20  # bytes of a request that uploads no file
DISCARDED = 2**26  # bytes that are read of a body that is too large, so that the answer is seen

MOST_WAITING = 64  # events

_BUSY = (
    "{} requests are waiting here already, more than can be answered soon: nothing was done or lost; try "
    "again in a minute."
)
_LOST = (
    "Your session is no longer here: the server was restarted, or the session made room for others. Reload "
    "the page; your browser kept your edits as text, and they are offered back there."
)
_UNREADABLE = "The values that were sent cannot be read; reload the page, or see its API's description."
_NO_FUNCTION = "There is no such function on this page; reload it, or see its API's description."
_INSIDE = "Something failed inside; the server's log has the details."


_QUEUED = ("queue/join", "call/")  # routes under gradio_api/ that begin an event


class Page(gr.Blocks):
    """Gradio's page, whose handlers get only values that their inputs may take. `told`: what was done, in
    numbers.
    """

    told: Callable[[], dict[str, Any]] = staticmethod(dict)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, *more: Any, **named: Any):
        """As Gradio does it, behind `checked`; what either refuses is told in a sentence."""
        public = block_fn.api_visibility == "public"
        if state is not None:
            state.config_values.clear()  # a megabyte for each session, which only deep links need
        try:
            if not public and state is not None and is_lost(block_fn.inputs, state):
                raise ValueError(_LOST)
            own = [
                component if state is None else _of_session(component, state) for component in block_fn.inputs
            ]
            values = checked(block_fn.fn, own, inputs) if block_fn.fn else inputs
            return await super().preprocess_data(block_fn, values, state, *more, **named)
        except gr.Error as error:
            raise refusal(error.message, escaped=not public) from error
        except ValueError as error:
            raise refusal(str(error), escaped=not public) from error
        except Exception as error:
            logging.getLogger(__name__).warning("values could not be read: %s", type(error).__name__)
            raise refusal(_UNREADABLE) from error

    def handle_streaming_diffs(self, block_fn: Any, data: list[Any], *more: Any, **named: Any) -> list[Any]:
        """As Gradio does it; but an update that changes in one of its parts is sent as a whole. Gradio's page
        would change the update before, and a busy browser that has not drawn that one yet would lose it.
        """
        whole = list(data)
        diffs = super().handle_streaming_diffs(block_fn, data, *more, **named)
        if named["final"]:  # all of it is whole
            return diffs
        return [
            [["replace", [], now]] if diff is not now and any(path for _, path, _ in diff) else diff
            for now, diff in zip(whole, diffs, strict=True)
        ]

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any, *more: Any, **named: Any):
        """As Gradio does it; sessions that are over, or too many, make room."""
        data = await super().postprocess_data(block_fn, predictions, state, *more, **named)
        if any(isinstance(component, gr.State) for component in block_fn.outputs):
            make_room(self.state_holder, state)
        return data


def _of_session(component: Any, state: Any) -> Any:
    """A component as a session has it: its choices may have changed."""
    return component if component.stateful or component._id not in state else state[component._id]


class Door:
    """Limits the bodies of requests, and answers what nobody expected in a sentence."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            answer = await self._refused(scope, receive, sending)
        except Exception as error:
            if started:
                raise
            answer = _told(error)
        if answer is not None:
            await answer(scope, receive, send)

    async def _refused(self, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        """Handle the request; or the refusal."""
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return None
        request = Request(scope, receive)
        waiting = len(scope["app"].get_blocks()._queue)
        if waiting >= MOST_WAITING and request.url.path.rpartition("gradio_api/")[2].startswith(_QUEUED):
            return _sentence(429, _BUSY.format(waiting))
        upload = request.headers.get("content-type", "").startswith("multipart/")
        most = MOST_OF_A_FILE + MOST_OF_A_BODY if upload else MOST_OF_A_BODY
        body, size = await _read(request, most)
        if size > most:
            return _sentence(
                413,
                f"The request is larger than {most / 2**20:.0f} MiB, the most that is read here; "
                "send a smaller file or a shorter text.",
            )
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)
        return None


def logins(path: Path) -> list[tuple[str, str]]:
    """The (name, password) pairs of a file with a line NAME:PASSWORD each. ValueError names a wrong line, not
    what is in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as names and passwords: {type(error).__name__}; give a text file with a "
            "line NAME:PASSWORD for each person."
        ) from error
    found = []
    for n, line in enumerate(lines, start=1):
        if line.strip():
            name, colon, password = line.partition(":")
            if not (name.strip() and colon and password):
                raise ValueError(f"Line {n} of {path} is not NAME:PASSWORD.")
            found.append((name.strip(), password))
    if not found:
        raise ValueError(f"{path} names nobody, so nobody could come in; write NAME:PASSWORD in it.")
    return found


def health(request: Request) -> JSONResponse:
    """How the server is, in numbers."""
    page = request.app.get_blocks()
    memory = {
        "memory_mb": round(psutil.Process().memory_info().rss / 2**20),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
    }
    sessions = {"sessions": len(page.state_holder.session_data), "queued": len(page._queue)}
    return JSONResponse({"status": "ok", **sessions, **memory, **page.told()})


async def _read(request: Request, most: int) -> tuple[bytes, int]:
    """A body and its size, as far as it is read; where it is too large the rest is discarded."""
    size = int(request.headers.get("content-length") or 0)
    if size > DISCARDED:
        return b"", size
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > DISCARDED:
            break
    return b"".join(parts), size


def _told(error: Exception) -> JSONResponse:
    """The answer to a request that failed outside of the page's handlers."""
    if isinstance(error, KeyError | FnIndexInferError):
        return _sentence(404, _NO_FUNCTION)
    if isinstance(error, RecursionError | ValueError):
        return _sentence(400, _UNREADABLE)
    logging.getLogger(__name__).error("a request failed: %s", type(error).__name__, exc_info=error)
    return _sentence(500, _INSIDE)


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    """The answer to JSON of another shape than the server's routes take; what was sent is not repeated."""
    wrong = (
        error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": "unreadable"}
    )
    where = " ".join(map(str, wrong["loc"])) or "body"
    return _sentence(422, f'The request cannot be read ({where}: {wrong["msg"]}); send {{"data": [...]}}.')


def _sentence(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status)


DOOR: dict[str, Any] = {
    "routes": [Route("/health", health)],
    "middleware": [Middleware(Door)],
    "exception_handlers": {RequestValidationError: _malformed},
}

"""One session with the page's HTTP API, as Gradio's own clients hold it."""

import asyncio
import contextlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

PATIENCE = 180.0  # seconds without an answer after which a request counts as unanswered


@dataclass(frozen=True)
class Answer:
    """`end`: "done", "refused" (a sentence), "left" (the client went or cancelled) or "unanswered"."""

    end: str
    seconds: float
    data: Any = None


class Client:
    """A session; `events`: the numbers of the page's endpoints, by name."""

    def __init__(self, http: httpx.AsyncClient, events: dict[str, int]):
        self.http, self.events, self.session = http, events, uuid.uuid4().hex
        self._beating: asyncio.Task | None = None

    async def call(
        self, endpoint: str, values: list, leave: float | None = None, cancel: bool = False
    ) -> Answer:
        """The answer to a call. After `leave` seconds the client goes; with `cancel` it says so before."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        start = time.monotonic()
        body = {"data": values, "session_hash": self.session}
        try:
            answer = await self.http.post(f"/gradio_api/call/{endpoint}", json=body, timeout=PATIENCE)
            if answer.status_code != 200:
                return Answer("refused", time.monotonic() - start, answer.text)
            event = answer.json()["event_id"]
            telling = asyncio.create_task(self._last(endpoint, event))
            await asyncio.wait([telling], timeout=PATIENCE if leave is None else leave)
            gone = not telling.done() and leave is not None
            if gone and cancel:
                await self._cancel(endpoint, event)
                await asyncio.wait([telling], timeout=PATIENCE)
            if not telling.done():
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
                return Answer("left" if gone and not cancel else "unanswered", time.monotonic() - start)
            told = telling.result()
        except httpx.HTTPError as error:
            return Answer("unanswered", time.monotonic() - start, repr(error))
        seconds = time.monotonic() - start
        if told is None:
            return Answer("unanswered", seconds, "the stream ended without an answer")
        kind, data = told
        if kind != "complete":
            return Answer("refused", seconds, data)
        return Answer("done", seconds, data[0]) if data else Answer("left", seconds)

    async def _last(self, endpoint: str, event: str) -> tuple[str, Any] | None:
        """(kind, data) of the last message of an event's stream."""
        kind = ""
        async with self.http.stream("GET", f"/gradio_api/call/{endpoint}/{event}") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    return kind, json.loads(line.removeprefix("data: "))
        return None

    async def _cancel(self, endpoint: str, event: str) -> None:
        body = {"session_hash": self.session, "fn_index": self.events[endpoint], "event_id": event}
        with contextlib.suppress(httpx.HTTPError):
            await self.http.post("/gradio_api/cancel", json=body)

    async def _beat(self) -> None:
        """The connection whose end tells the page that a session is over."""
        with contextlib.suppress(httpx.HTTPError):
            async with self.http.stream(
                "GET", f"/gradio_api/heartbeat/{self.session}", timeout=None
            ) as beats:
                async for _ in beats.aiter_bytes():
                    pass

    async def close(self) -> None:
        if self._beating:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None

"""The market streams over WebSocket: who is subscribed to what, and frames on their way through the faults.

A slow client is cut off, as the venue does, instead of being buffered without end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from apps.venue_sim import wire
from apps.venue_sim.faults import StreamFaults

MAX_FRAMES_WAITING: Final = 10_000  # per socket, before a client counts as too slow
HEARTBEAT_S: Final = 20.0  # the venue pings this often
_KINDS: Final = (wire.TRADE_STREAM, *wire.DEPTH_STREAMS, wire.BEST_STREAM)


class StreamSocket:
    """One client's socket: its subscriptions and the frames that wait to be written."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.subscriptions: dict[str, None] = {}
        self._request = request
        self._socket = socket
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_FRAMES_WAITING)

    def send(self, frame: str) -> None:
        """Queue a frame; a client that does not keep up is cut off."""
        try:
            self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()

    async def write(self) -> None:
        """Write the queued frames, for as long as the socket lives."""
        while True:
            frame = await self._waiting.get()
            try:
                await self._socket.send_str(frame)
            except ConnectionError:
                return

    def abort(self) -> None:
        """Cut the connection without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()


class StreamHub:
    """All sockets of the venue."""

    def __init__(self, faults: StreamFaults) -> None:
        self.faults = faults
        self.connections = 0  # ever accepted
        self._sockets: dict[StreamSocket, None] = {}

    @property
    def open_sockets(self) -> int:
        """How many clients are connected now."""
        return len(self._sockets)

    def subscribers(self, stream: str) -> int:
        """How many sockets are subscribed to a stream."""
        return sum(stream in socket.subscriptions for socket in self._sockets)

    def publish(self, stream: str, message: dict[str, Any], trade_id: int | None = None) -> None:
        """Send a message to all who are subscribed to the stream, as far as the faults let it through."""
        frame = msgspec.json.encode(message).decode()
        for passed in self.faults.passed(stream, frame, trade_id):
            for socket in list(self._sockets):
                if stream in socket.subscriptions:
                    socket.send(passed)

    def cut(self, stream: str | None = None) -> int:
        """Abort every socket, or those subscribed to ``stream``; returns how many."""
        doomed = [s for s in self._sockets if stream is None or stream in s.subscriptions]
        for socket in doomed:
            self._sockets.pop(socket, None)
            socket.abort()
        return len(doomed)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one client until it leaves."""
        response = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await response.prepare(request)
        if self.faults.closes_dial():
            await response.close()
            return response
        socket = StreamSocket(request, response)
        self._sockets[socket] = None
        self.connections += 1
        writer = asyncio.create_task(socket.write())
        try:
            async for message in response:
                if message.type is WSMsgType.TEXT:
                    self._on_request(socket, message.data)
        finally:
            self._sockets.pop(socket, None)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return response

    def _on_request(self, socket: StreamSocket, text: str) -> None:
        try:
            request = msgspec.json.decode(text, type=_StreamRequest)
        except msgspec.DecodeError as error:
            socket.send(_encoded(wire.stream_error(None, f"Invalid request: {error}")))
            return
        unknown = [name for name in request.params if name.partition("@")[2] not in _KINDS]
        if unknown:
            socket.send(_encoded(wire.stream_error(request.id, "Invalid request: invalid stream")))
            return
        for name in request.params:
            if request.method == "SUBSCRIBE":
                socket.subscriptions[name] = None
            else:
                socket.subscriptions.pop(name, None)
        if not self.faults.stalled:
            socket.send(_encoded(wire.acknowledgement(request.id)))


class _StreamRequest(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[str] = []


def _encoded(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()

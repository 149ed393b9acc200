"""Connections of the service: a request has to begin and to end in time, and what stands before its body is bounded. uvicorn bounds neither."""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 10.0
"""So long the address and the headers of a request may take to come, and what comes of a body behind its answer."""
HEAD_BYTES = 65_536
"""Of address and headers, and of what follows a body in chunks."""


class Connection(HttpToolsProtocol):
    """A connection that is closed where nothing comes for as long as it may be kept open, a head does not end in ``HEAD_SECONDS`` or is larger than
    ``HEAD_BYTES``, or a body goes on after it was answered."""

    _limit: TimerHandle | None = None
    _size = 0
    _in_head = False
    _whole = True

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_in(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._size += len(data)
        if self._size > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size, self._in_head, self._whole = 0, True, False
        self._close_in(HEAD_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if not self._in_head:
            self._size += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._go_on()  # how long its body may take the service says
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        self._go_on()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and not self._in_head and self.cycle.response_complete:
            self._close_in(HEAD_SECONDS)

    def _close_in(self, seconds: float) -> None:
        self._go_on()
        self._limit = self.loop.call_later(seconds, self._close)

    def _go_on(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

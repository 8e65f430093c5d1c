"""Structured logging: one NDJSON line per event into ``app.ndjson``, with secrets masked.

structlog and the standard library's ``logging`` go through the same pipeline. Nothing that is logged, and no disk that
is full, can raise into the code that logs.
"""

from __future__ import annotations

import logging as stdlib
import time
import traceback
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from core.clock import NS_PER_S, Clock, SystemClock
from core.logging.redaction import KnownSecrets
from core.logging.sink import FILE_NAME, LogSink

__all__ = ["FilteringBoundLogger", "LogSink", "get_logger", "setup_json_logging"]

_FIRST: Final = ("timestamp", "level", "service", "logger", "event")
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_RECORD_FIELDS: Final = frozenset(stdlib.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_MAX_LINE_BYTES: Final = 64 * 1024

_encode: Final = msgspec.json.Encoder().encode


def setup_json_logging(
    log_dir: str | Path,
    *,
    service: str = "",
    level: str | int = "INFO",
    stream: bool = False,
    secrets: Iterable[str] = (),
    clock: Clock | None = None,
) -> LogSink:
    """Send all logging of this process to ``{log_dir}/app.ndjson``; a second call replaces the first.

    ``service`` names this daemon on every line that does not name another. ``stream`` writes to stderr too.
    ``secrets`` are masked wherever they turn up (``Config.secret_values``). Returns the sink with its counters.

    Raises:
        ValueError: an unknown level.
    """
    number = _level_number(level)
    sink = LogSink(Path(log_dir) / FILE_NAME, stream=stream)
    pipeline = _Pipeline(sink, service, KnownSecrets(secrets), clock or SystemClock())
    _configure(pipeline, number)
    root = stdlib.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(_Bridge(pipeline))
    root.setLevel(number)
    return sink


def record_end(reason: str) -> None:
    """Put into the log why the process ends, for whoever looks there; stderr is told by the command itself."""
    bridges = [handler for handler in stdlib.getLogger().handlers if isinstance(handler, _Bridge)]
    for bridge in bridges:
        bridge.leave_stderr()
    if bridges:
        stdlib.getLogger("njord").critical("ended: %s", reason)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry ``logger: name``. Before ``setup_json_logging``, warnings and worse go to stderr."""
    if not structlog.is_configured():
        _configure(_Pipeline(LogSink(None, stream=True), "", KnownSecrets(), SystemClock()), stdlib.WARNING)
    return cast(FilteringBoundLogger, structlog.get_logger(name))


class _Pipeline:
    """Turns what was logged into one line, for structlog and for the standard library alike."""

    def __init__(self, sink: LogSink, service: str, secrets: KnownSecrets, clock: Clock) -> None:
        self.sink = sink
        self._service = service
        self._secrets = secrets
        self._clock = clock

    def emit(self, level: str, fields: MutableMapping[str, Any]) -> None:
        """Write one line. Never raises."""
        try:
            self.sink.write(self._line(level, fields))
        except Exception as error:  # noqa: BLE001  # foreign objects are rendered here; a log line must not stop a daemon
            self.sink.lose(f"cannot be rendered: {type(error).__name__}")

    def _line(self, level: str, fields: MutableMapping[str, Any]) -> bytes:
        failure = _traceback(fields.pop("exc_info", None))
        stack = fields.pop("stack_info", None)
        head: dict[str, Any] = {
            "timestamp": _iso(self._clock.now_ns()),
            "level": level,
            "service": fields.pop("service", self._service),
            "logger": fields.pop("logger", ""),
            "event": fields.pop("event", ""),
        }
        if failure:
            fields["exception"] = failure
        if stack:
            fields["stack"] = "".join(traceback.format_stack()) if stack is True else str(stack)
        for taken in _FIRST:
            if taken in fields:  # a field of that name would overwrite what the line is found by
                fields[f"{taken}_"] = fields.pop(taken)
        line = _encode({**self._secrets.redact(head), **self._secrets.redact(dict(fields))})
        if len(line) <= _MAX_LINE_BYTES:
            return line
        short = {**self._secrets.redact(head), "truncated_bytes": len(line), "fields": sorted(fields)[:50]}
        short["event"] = str(short["event"])[:1000]
        return _encode(short)


class _SinkLogger:
    """The end of structlog's chain, with one method per level."""

    def __init__(self, pipeline: _Pipeline, name: str = "") -> None:
        self._pipeline = pipeline
        self._name = name

    def debug(self, fields: MutableMapping[str, Any]) -> None:
        self._emit("debug", fields)

    def info(self, fields: MutableMapping[str, Any]) -> None:
        self._emit("info", fields)

    def warning(self, fields: MutableMapping[str, Any]) -> None:
        self._emit("warning", fields)

    def error(self, fields: MutableMapping[str, Any]) -> None:
        self._emit("error", fields)

    def critical(self, fields: MutableMapping[str, Any]) -> None:
        self._emit("critical", fields)

    def _emit(self, level: str, fields: MutableMapping[str, Any]) -> None:
        fields.setdefault("logger", self._name)
        self._pipeline.emit(level, fields)


class _Bridge(stdlib.Handler):
    """Takes in what libraries log through the standard library."""

    def __init__(self, pipeline: _Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: stdlib.LogRecord) -> None:
        """Write the record as a line; ``extra`` fields become fields. Never raises."""
        fields: dict[str, Any] = {k: v for k, v in record.__dict__.items() if k not in _RECORD_FIELDS}
        try:
            fields["event"] = record.getMessage()
        except Exception as error:  # noqa: BLE001  # a library's wrong format arguments must not stop a daemon
            fields |= {"event": str(record.msg), "format_error": type(error).__name__}
        fields |= {"logger": record.name, "exc_info": record.exc_info, "stack_info": record.stack_info}
        self._pipeline.emit(_level_name(record.levelno), fields)

    def leave_stderr(self) -> None:
        """Log to the file alone from now on."""
        self._pipeline.sink.leave_stderr()

    def close(self) -> None:
        """Close the sink as well."""
        self._pipeline.sink.close()
        super().close()


def _configure(pipeline: _Pipeline, level: int) -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _as_single_argument],
        wrapper_class=_logger_class(level),
        logger_factory=lambda *name: _SinkLogger(pipeline, *name),
        cache_logger_on_first_use=False,
    )


def _logger_class(level: int) -> type[Any]:
    """structlog's logger of this level, with one difference: wrong format arguments do not raise."""
    base = structlog.make_filtering_bound_logger(level)

    def guarded(method: str) -> Any:
        log = getattr(base, method)

        def call(self: Any, event: Any, *args: Any, **fields: Any) -> Any:
            try:
                return log(self, event, *args, **fields)
            except (TypeError, ValueError, KeyError) as error:
                return log(self, str(event).replace("%", "%%") % (), format_error=type(error).__name__, **fields)

        return call

    return type("Logger", (base,), {method: guarded(method) for method in (*_LEVELS, "exception")})


def _as_single_argument(_: Any, __: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Any], dict[str, Any]]:
    return (fields,), {}


def _level_number(level: str | int) -> int:
    if isinstance(level, int):
        return level
    number = stdlib.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"logging.level: expected one of {', '.join(_LEVELS)}, got {level!r}")
    return number


def _level_name(number: int) -> str:
    """The level at or below the number: a library's own level 25 is an info."""
    return _LEVELS[min(max(number // 10 - 1, 0), len(_LEVELS) - 1)]


def _traceback(exc_info: Any) -> str:
    if exc_info is True:
        import sys

        exc_info = sys.exc_info()
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if not exc_info or exc_info[0] is None:
        return ""
    return "".join(traceback.format_exception(*exc_info)).rstrip()


def _iso(ts_ns: int) -> str:
    """UTC epoch nanoseconds as ISO 8601 with all nine digits."""
    seconds, nanos = divmod(ts_ns, NS_PER_S)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09d}Z"

"""The log of a process: JSON lines on stderr with the trace and request ids."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

from meshkit import context as request_context
from meshkit import names, telemetry
from meshkit.line_writer import LineWriter
from meshkit.redaction import redacted

_CAPACITY: Final = 8192
_dropped = telemetry.counter(
    names.LOG_DROPPED, "{line}", "Log lines that could not be written in time, or not at all."
)


class _Formatter(JsonFormatter):
    """A JSON line with the ids under which a request is known everywhere, and no credentials."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        if request := request_context.current():
            log_data.setdefault("request_id", request.request_id)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            log_data["trace_id"] = trace.format_trace_id(span.trace_id)
            log_data["span_id"] = trace.format_span_id(span.span_id)


class _Handler(logging.Handler):
    """Hands lines to the thread that writes them; `logging.shutdown` waits for the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self._writer = LineWriter(_joined, capacity=_CAPACITY, lost=_dropped.add)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.add(self.format(record))

    def close(self) -> None:
        self._writer.close()
        super().close()


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def configure_logging(level: str, service: str) -> None:
    """Sends every logger of the process to stderr as JSON lines."""
    handler = _Handler()
    handler.setFormatter(
        _Formatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service},
            timestamp="time",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())

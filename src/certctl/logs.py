"""Structured logs: lines for people on a terminal, JSON for machines elsewhere."""

from __future__ import annotations

import json
import logging
import sys

import structlog

from certctl.domain.request_ids import current_request_id

#: One for all lines: every request writes one, and making an encoder takes longer than encoding.
_encoder = json.JSONEncoder(ensure_ascii=False, default=repr)


def _to_json(line: structlog.typing.EventDict, **_options: object) -> str:
    return _encoder.encode(line)


def add_request_id(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say for which request a line is, where it is for one."""
    request_id = current_request_id.get()
    if request_id is not None:
        line["request_id"] = request_id
    return line


def configure_logs(level: str) -> None:
    """Send every log line of this process, the libraries' included, to standard error."""
    threshold = getattr(logging, level.upper())
    on_terminal = sys.stderr.isatty()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if on_terminal
        else structlog.processors.JSONRenderer(_to_json)
    )
    structlog.configure(
        processors=[
            *shared,
            # Plain tracebacks: with local variables they would hold keys and requests.
            *([] if on_terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)

"""Logs of the services: one JSON object a line on standard error. They have names and numbers, and no value of a request."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

logger = logging.getLogger("sluice.triggers")


def start_logs() -> None:
    """Write the lines of the services, and the warnings of the server under them, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name, level in (("sluice.triggers", logging.INFO), ("uvicorn.error", logging.ERROR)):
        one = logging.getLogger(name)
        one.handlers, one.propagate = [handler], False
        one.setLevel(level)


def log(event: str, /, **fields: Any) -> None:  # noqa: ANN401 - any JSON type
    """Write one line.

    Args:
        event: What happened, in a few words that are always the same.
        fields: Names, numbers and codes. Values of requests and keys must not be among them.
    """
    logger.info(event, extra={"fields": fields})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:  # the text of an exception may contain values, and its type cannot
            line["error"] = type(record.exc_info[1]).__name__
        return json.dumps(line, default=str)

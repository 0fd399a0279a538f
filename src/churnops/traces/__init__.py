"""Traces: spans of requests and commands, recorded by OpenTelemetry and sent to a collector; off by default.

`spans` is what other packages call. While traces are off, its functions return at once, and OpenTelemetry is not
imported. `recorder`, the only module that imports it, records spans and sends them in a thread of its own.
"""

from churnops.traces.spans import command, current, operation, recording, request, shared_span, span, trace_id

__all__ = ["command", "current", "operation", "recording", "request", "shared_span", "span", "trace_id"]

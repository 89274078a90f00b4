"""The pages of the admin endpoint."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from twisted.web import http
from twisted.web.server import Request

from rdsproxy.admin.health import why_unhealthy
from rdsproxy.admin.site import Pages, line
from rdsproxy.frontend.door import Door
from rdsproxy.metrics import registry_of
from rdsproxy.topology.group import Group


def pages_of(door: Door, targets: Group) -> Pages:
    """Give the pages of one proxy."""
    registry = registry_of(door, targets)

    def metrics(request: Request) -> bytes:
        accept = request.getHeader("accept") or ""
        encode, content_type = choose_encoder(accept)
        request.setHeader("content-type", content_type)
        return encode(registry)

    def health(request: Request) -> bytes:
        reason = why_unhealthy(door, targets)
        return line(request, http.OK if reason is None else http.SERVICE_UNAVAILABLE, reason or "ok")

    def pause(request: Request) -> bytes:
        targets.pause()
        return told(request)

    def resume(request: Request) -> bytes:
        targets.resume()
        return told(request)

    def told(request: Request) -> bytes:
        if not targets.is_paused:
            return line(request, http.OK, "running")
        under_way = targets.borrowed
        if under_way:
            return line(request, http.ACCEPTED, f"pausing: {under_way} connections are still in use")
        return line(request, http.OK, "paused")

    return {
        b"/metrics": {b"GET": metrics},
        b"/health": {b"GET": health},
        b"/pause": {b"GET": told, b"POST": pause},
        b"/resume": {b"POST": resume},
    }

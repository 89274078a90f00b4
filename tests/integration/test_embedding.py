"""The proxy as a service inside another Twisted application: it leaves nothing behind."""

from __future__ import annotations

from rdsproxy import ProxyService


def test_the_service_is_importable() -> None:
    assert ProxyService.__name__ == "ProxyService"

"""Prometheus metrics, all named `gain_*`. A label never holds a value from a request: the route is its template.

Several gateway processes share one port, so that a scrape reaches any one of them. Where `PROMETHEUS_MULTIPROC_DIR`
names a folder (empty at start, the same for all of them, set before Python starts), every process keeps its numbers
there and each answers for all; without it a process answers for itself, with its memory, CPU and collector besides.
"""

import ipaddress
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Histogram(
    "gain_request_duration_seconds",
    "Requests by method, route template and class of status: their number and how long they took.",
    ["method", "route", "status"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BUILD = Gauge("gain_build_info", "Always 1; the labels tell what runs.", ["version", "python"], multiprocess_mode="max")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")


def request_done(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request; `route` is the template, never the path."""
    _durations(method if method in _METHODS else "OTHER", route, status // 100).observe(seconds)


@cache  # no larger than the metric itself: looking a child up by its labels costs twice what counting in it does
def _durations(method: str, route: str, hundreds: int) -> Histogram:
    return REQUESTS.labels(method, route, f"{hundreds}xx")


def render() -> tuple[bytes, str]:
    """The metrics in Prometheus' text form, and its media type."""
    BUILD.labels(version(), platform.python_version()).set(1)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def from_loopback(scope: Mapping[str, Any]) -> bool:
    """Whether this ASGI request came straight from this machine.

    A request that says it was forwarded did not: a proxy on this machine would lend its address to the whole world.
    """
    client = scope.get("client")
    if not client or any(name in _FORWARDED for name, _value in scope["headers"]):
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def version() -> str:
    """The installed version of the broker, or `source` where it runs uninstalled."""
    try:
        return metadata.version("gain-broker")
    except metadata.PackageNotFoundError:
        return "source"

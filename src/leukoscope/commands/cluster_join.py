"""Which Ray cluster is joined, and that there is one. Knows nothing of its work."""

from __future__ import annotations

import logging
import os
import socket

from ..errors import LeukoscopeError, first_line, require

_REACH = 5.0  # s in which the head of a cluster must answer


def connect(address: str | None) -> bool:
    """Join the cluster; False where the program has joined one already."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports its use to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a future version
    os.environ.setdefault("RAY_worker_niceness", "0")  # else workers stand back behind everything on the machine
    import ray

    if ray.is_initialized():
        return False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many classes
        named = f"--address {address}" if address else "--engine ray"
        raise LeukoscopeError(f"{named}: no Ray cluster can be joined ({first_line(error)})", "run this on a machine "
                              "of the cluster, with the same versions of Python and Ray") from error
    return True


def check_cluster(address: str | None) -> None:
    """Raise ModuleNotFoundError where Ray is not installed, and LeukoscopeError unless something listens at an address:
    Ray itself would try for minutes."""
    require("ray")
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise LeukoscopeError(f"--address {address}: expected HOST:PORT", "for example 10.0.0.1:6379, as ray start "
                              "--head says")
    try:
        socket.create_connection((host, int(port)), _REACH).close()
    except (OSError, OverflowError) as error:
        raise LeukoscopeError(f"--address {address}: nothing answers there ({first_line(error)})",
                              "start a cluster with: ray start --head") from error

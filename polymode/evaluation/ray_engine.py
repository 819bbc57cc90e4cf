"""The parts of an evaluation as tasks of a Ray cluster (layer L4).

Plain tasks and not Ray Data: a part is a few offsets on the way there and columns on the way back, the results are
wanted in order and one by one, and a failed part has to be told from a dead machine. Ray Data would put each result
into tables of its own first.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from polymode.errors import ConfigError, MissingExtraError, WorkerDiedError
from polymode.evaluation.engines import apply_pickled, in_order
from polymode.runs import Map

OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory of a cluster that is started here: parts and results under way are far smaller."""
OLDEST = (2, 50)
"""First two numbers of the oldest version of Ray that is known to do; that of the extra `ray`."""
CONNECT_SECONDS = 20
"""How long a cluster is looked for; Ray itself tries for minutes."""


@contextmanager
def ray_tasks(workers: int | None) -> Iterator[Map]:
    """A `map` over the Ray cluster that ``RAY_ADDRESS`` names or that runs here, else over one that is started here.

    Args:
        workers: processes of a cluster that is started here, and half of the parts that are under way at most; all
            CPUs when None.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: it is too old, or there is no cluster at that address, or it cannot be used.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("ray", "ray", "--engine ray") from None
    _check_version(ray)
    is_own = not ray.is_initialized()
    if is_own:
        _connect(ray, workers)
    try:
        limit = 2 * (workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        apply = ray.remote(_apply)
        paths = [os.path.abspath(path) for path in sys.path]

        def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            try:
                pickled = ray.put(pickle.dumps(function))  # once for all tasks
            except (pickle.PicklingError, AttributeError, TypeError) as exc:
                raise ConfigError(f"what judges cannot travel to a cluster ({exc}): give --engine local") from None
            yield from in_order(
                lambda item: apply.remote(paths, pickled, item), lambda task: _result(ray, task), items, limit
            )

        yield mapped
    finally:
        if is_own:
            ray.shutdown()


def _check_version(ray: Any) -> None:
    version = getattr(ray, "__version__", None)
    if version is None:  # a folder of that name, which Python takes for a package
        raise MissingExtraError("ray", "ray", "--engine ray")
    if tuple(int(number) for number in re.findall(r"[0-9]+", version)[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(
            f"ray {version} is installed, and --engine ray needs ray {oldest} or later: pip install 'ray>={oldest}'"
        )


def _apply(paths: Sequence[str], pickled: bytes, item: Any) -> Any:
    sys.path.extend(path for path in paths if path not in sys.path)  # a verifier in the folder of the command
    return apply_pickled(pickled, item)


def _connect(ray: Any, workers: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS") or None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"address": "local", "num_cpus": workers, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        if address in (None, "auto"):
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:  # none runs here
                start_cluster(ray, {**own, **quiet})
        elif address == "local":
            start_cluster(ray, {**own, **quiet})
        else:
            place = urlsplit(address if "//" in address else f"//{address}")
            socket.create_connection((place.hostname or "", place.port or 6379), CONNECT_SECONDS).close()
            ray.init(address=address, **quiet)
    except Exception as exc:
        where = "can be started here" if address in (None, "local") else f"is at RAY_ADDRESS = {address!r}"
        problem = str(exc).strip().partition("\n")[0] or type(exc).__name__
        raise ConfigError(
            f"no Ray cluster {where} ({problem}): start one with 'ray start --head', name it with RAY_ADDRESS, or give "
            "--engine local"
        ) from None


def start_cluster(ray: Any, options: dict[str, Any]) -> None:
    """Start a cluster; Ray gives up after half a minute, which on a busy machine is too early."""
    for n_left in (2, 1, 0):
        try:
            ray.init(**options)
            return
        except Exception:
            ray.shutdown()
            if not n_left:
                raise


def _result(ray: Any, task: Any) -> Any:
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, Exception):
            raise exc.cause from None
        raise
    except ray.exceptions.RayError as exc:
        problem = type(exc).__name__
        raise WorkerDiedError(
            f"a worker of the Ray cluster died again and again ({problem}); what was finished is kept: go on with "
            "--resume, and with fewer --workers if memory was short"
        ) from None

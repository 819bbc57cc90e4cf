"""How many cores a process may use: those of its machine, shared with the processes that a launcher started beside it.

Eight processes of one training on a machine of 128 cores each start 16 workers for what is slow, not 128 (layer L0).
"""

from __future__ import annotations

import os
import re

_LOCAL_SIZES = (
    "POLYMODE_PROCESSES",  # a person's word, where nothing that starts them says it: Ray, servers of several processes
    "LOCAL_WORLD_SIZE",  # torchrun, with which accelerate starts its processes
    "LOCAL_SIZE",  # DeepSpeed's own launcher, which accelerate uses for several machines unless told otherwise
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_STEP_TASKS_PER_NODE",  # srun: 8, or 8(x2) for two machines
)
"""Variables that say how many processes a machine has; the first that is set counts."""


def cores() -> int:
    """Cores for this process, at least 1.

    Processes that were each bound to cores of their own have those; otherwise the processes of the machine get equal
    shares.
    """
    own, n_processes = _affinity(0) or set(range(os.cpu_count() or 1)), _first_number(_LOCAL_SIZES)
    is_bound = n_processes > 1 and own < _affinity(os.getppid())
    return len(own) if is_bound else max(1, len(own) // n_processes)


def n_processes_of_run() -> int:
    """Processes that a launcher started for this run, on all machines, or that a person says there are."""
    return max(_first_number(("WORLD_SIZE",)), _first_number(_LOCAL_SIZES[:1]))


def _first_number(names: tuple[str, ...]) -> int:
    numbers = (re.match(r"[0-9]+", os.environ.get(name, "")) for name in names)
    return max(1, next((int(number[0]) for number in numbers if number), 1))


def _affinity(process: int) -> set[int]:
    """The cores that a process may run on; none where the system does not say."""
    try:
        return os.sched_getaffinity(process)
    except (AttributeError, OSError):  # other systems than Linux; a process that has ended
        return set()

"""The system calls that a program in the sandbox has no use for, as a filter for the kernel (seccomp BPF).

Namespaces and limits bound what a program reaches; this narrows what of the kernel it can even talk to, and takes away
everything that could outlive it: shared memory, semaphores and message queues of System V and POSIX, key rings, files
without a name. Refused calls fail with EPERM; ``clone3`` fails with ENOSYS, after which the C library uses ``clone``.
"""

from __future__ import annotations

import errno
import platform
import re
import struct
from collections.abc import Mapping

_LOAD_WORD, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian machines
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net."""

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CALLS = """
# other processes
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438,
setpriority 141 140, sched_setparam 142 118, sched_setscheduler 144 119, sched_setaffinity 203 122,
sched_setattr 314 274, ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239, process_madvise 440 440,
process_mrelease 448 448,
# what may outlive the program, and the network
socket 41 198, shmget 29 194, semget 64 190, msgget 68 186, mq_open 240 180, add_key 248 217,
request_key 249 218, keyctl 250 219, memfd_create 319 279, memfd_secret 447 447,
# namespaces and file systems
unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51,
open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
mount_setattr 442 442, name_to_handle_at 303 264, open_by_handle_at 304 265,
# the kernel itself
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_setup 206 0, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, fanotify_init 300 262, init_module 175 105,
finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294,
# the machine
reboot 169 142, swapon 167 224, swapoff 168 225, syslog 103 116, acct 163 89, quotactl 179 60,
personality 135 92, clock_settime 227 112, settimeofday 164 170, adjtimex 159 171, setdomainname 171 162,
sethostname 170 161, vhangup 153 58,
"""
REFUSED: Mapping[str, tuple[int, int]] = {
    name: (int(on_x86_64), int(on_aarch64)) for name, on_x86_64, on_aarch64 in re.findall(r"(\w+) (\d+) (\d+)", _CALLS)
}
"""Numbers of the refused calls, on x86_64 and on aarch64."""
_LIMITS_OF_ANOTHER = (302, 261)
"""prlimit64, allowed with process number 0, the caller itself."""
_CLONE = (56, 220)
_CLONE3 = 435


def architecture() -> str | None:
    """The machine's name if there is a filter for it, else None."""
    machine = platform.machine()
    return machine if machine in _AUDIT else None


def filter_program(machine: str) -> bytes:
    """The filter as an array of ``struct sock_filter``, as ``bwrap --seccomp`` reads it."""
    column = list(_AUDIT).index(machine)
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    program = [
        _instruction(_LOAD_WORD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, _AUDIT[machine], 1, 0),
        _instruction(_RETURN, _KILL),  # the 32-bit calls of the same machine
        _instruction(_LOAD_WORD, _NUMBER),
        _instruction(_JUMP_AT_LEAST, 0x40000000, 0, 1),  # the x32 calls
        refuse,
        _instruction(_JUMP_EQUAL, _CLONE3, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for numbers in REFUSED.values():
        program += [_instruction(_JUMP_EQUAL, numbers[column], 0, 1), refuse]
    program += [
        _instruction(_JUMP_EQUAL, _LIMITS_OF_ANOTHER[column], 0, 4),
        _instruction(_LOAD_WORD, _FIRST_ARGUMENT),
        _instruction(_JUMP_EQUAL, 0, 1, 0),
        refuse,
        _instruction(_RETURN, _ALLOW),
        _instruction(_JUMP_EQUAL, _CLONE[column], 0, 3),
        _instruction(_LOAD_WORD, _FIRST_ARGUMENT),
        _instruction(_JUMP_SET, _NEW_NAMESPACES, 0, 1),
        refuse,
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)

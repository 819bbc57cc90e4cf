"""The system calls that a program in the sandbox has no use for, as filters for the kernel (seccomp BPF).

Namespaces and limits bound what a program reaches; this narrows what of the kernel it can even talk to, and takes away
everything that outlives it or reaches past it: shared memory, semaphores and queues, key rings, extended attributes,
time stamps, locks on files and what watches files, of which many lie on the host as well. Refused calls fail with
EPERM; ``clone3`` fails with ENOSYS, after which the C library uses ``clone``.

There are two filters. bubblewrap loads the long one, once, before it starts the server. The few calls that the server
itself needs are refused by the short one, which each child loads before it runs a program: filters add up, and a long
one would cost every program a tenth of its time.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Mapping

_LOAD_WORD, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data, little-endian machines
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net."""
_UNNAMED_FILE = 0x400000
"""O_TMPFILE makes a file without changing its folder, so the server would not see that something was done."""

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ABSENT = 0xFFFF
"""In place of a number on aarch64, which lacks some old calls."""

_CALLS = """
# other processes
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438,
pidfd_send_signal 424 424, setpriority 141 140, sched_setparam 142 118, sched_setscheduler 144 119,
sched_setaffinity 203 122, sched_setattr 314 274, ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239,
set_mempolicy 238 237, mbind 237 235, get_mempolicy 239 236, set_mempolicy_home_node 450 450,
process_madvise 440 440, process_mrelease 448 448,
# what may outlive the program, and the network; socketpair is allowed, which asyncio needs
socket 41 198, bind 49 200, listen 50 201, connect 42 203, accept 43 202, accept4 288 242,
shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192,
msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181,
mq_timedsend 242 182, mq_timedreceive 243 183, mq_notify 244 184, mq_getsetattr 245 185,
add_key 248 217, request_key 249 218, keyctl 250 219, memfd_create 319 279, memfd_secret 447 447,
# what is attached to files, watches them or asks whether others use them
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
setxattrat 463 463, removexattrat 466 466, file_setattr 469 469, flock 73 32,
inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27, inotify_rm_watch 255 28,
fanotify_init 300 262, fanotify_mark 301 263, mincore 27 232, cachestat 451 451, preadv2 327 286,
readahead 187 213, fadvise64 221 223, sync 162 81, syncfs 306 267,
# namespaces and file systems
unshare 272 97, setns 308 268, pivot_root 155 41, chroot 161 51, openat2 437 437,
open_tree 428 428, open_tree_attr 467 467, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432,
fspick 433 433, mount_setattr 442 442, statmount 457 457, listmount 458 458, listns 470 470,
name_to_handle_at 303 264, open_by_handle_at 304 265, statfs 137 43, fstatfs 138 44, ustat 136 -, sysfs 139 -,
# the kernel itself
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_setup 206 0, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, lookup_dcookie 212 18, nfsservctl 180 42,
remap_file_pages 216 234, splice 275 76, tee 276 77, vmsplice 278 75, mlock 149 228, mlock2 325 284,
mlockall 151 230, landlock_create_ruleset 444 444, landlock_add_rule 445 445, landlock_restrict_self 446 446,
lsm_get_self_attr 459 459, lsm_set_self_attr 460 460, lsm_list_modules 461 461, modify_ldt 154 -, iopl 172 -,
ioperm 173 -, uselib 134 -, create_module 174 -, get_kernel_syms 177 -, query_module 178 -, _sysctl 156 -,
# the machine
reboot 169 142, swapon 167 224, swapoff 168 225, syslog 103 116, acct 163 89, quotactl 179 60, quotactl_fd 443 443,
personality 135 92, clock_settime 227 112, clock_adjtime 305 266, settimeofday 164 170, adjtimex 159 171,
setdomainname 171 162, sethostname 170 161, vhangup 153 58, sysinfo 99 179,
"""
_CALLS_OF_THE_SERVER = """
mount 165 40, umount2 166 39, pidfd_open 434 434, execve 59 221, execveat 322 281, capset 126 91, seccomp 317 277,
utimensat 280 88, utime 132 -, utimes 235 -, futimesat 261 -,
"""


def _numbers(calls: str) -> Mapping[str, tuple[int, int]]:
    found = re.findall(r"(\w+) (\d+) (\d+|-)", calls)
    return {name: (int(x86), _ABSENT if arm == "-" else int(arm)) for name, x86, arm in found}


REFUSED: Mapping[str, tuple[int, int]] = _numbers(_CALLS)
"""Numbers of the calls that the long filter refuses, on x86_64 and on aarch64."""
REFUSED_TO_CHILDREN: Mapping[str, tuple[int, int]] = _numbers(_CALLS_OF_THE_SERVER)
"""Numbers of the calls that the short filter refuses. Times are set by the server alone, because whoever may write to
a file may set its times to now, also those of the host's ``/dev/null``."""

_ONLY_VALUES: Mapping[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    "prlimit64": ((302, 261), 0, (0,)),  # the caller's own limits
    # Duplicate, and read and set flags; no locks, leases, signals, notices of a folder's changes or sizes of pipes.
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 1030)),
    # TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: is it a terminal, what waits, what is inherited
    "ioctl": ((16, 29), 1, (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
}
"""Calls of which one argument may have these values only: numbers, argument, values."""
_NO_BITS: Mapping[str, tuple[tuple[int, int], int, int]] = {
    "clone": ((56, 220), 0, _NEW_NAMESPACES),
    "open": ((2, _ABSENT), 1, _UNNAMED_FILE),
    "openat": ((257, 56), 2, _UNNAMED_FILE),
}
"""Calls of which one argument may have none of these bits."""
_CLONE3 = 435


def architecture() -> str | None:
    """The machine's name if there are filters for it, else None."""
    machine = os.uname().machine
    return machine if machine in _AUDIT else None


def filter_program(machine: str) -> bytes:
    """The long filter as an array of ``struct sock_filter``, as ``bwrap --seccomp`` reads it."""
    column = list(_AUDIT).index(machine)
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    allow = _instruction(_RETURN, _ALLOW)
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
    for numbers, argument, values in _ONLY_VALUES.values():
        program += [
            _instruction(_JUMP_EQUAL, numbers[column], 0, len(values) + 3),
            _instruction(_LOAD_WORD, _ARGUMENTS + 8 * argument),
            *(_instruction(_JUMP_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)),
            refuse,
            allow,
        ]
    for numbers, argument, bits in _NO_BITS.values():
        program += [
            _instruction(_JUMP_EQUAL, numbers[column], 0, 4),
            _instruction(_LOAD_WORD, _ARGUMENTS + 8 * argument),
            _instruction(_JUMP_SET, bits, 0, 1),
            refuse,
            allow,
        ]
    return b"".join([*program, allow])


def filter_program_of_children(machine: str) -> bytes:
    """The short filter, which works only on top of the long one: that one has looked at the architecture."""
    column = list(_AUDIT).index(machine)
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    program = [_instruction(_LOAD_WORD, _NUMBER)]
    for numbers in REFUSED_TO_CHILDREN.values():
        program += [_instruction(_JUMP_EQUAL, numbers[column], 0, 1), refuse]
    return b"".join([*program, _instruction(_RETURN, _ALLOW)])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)

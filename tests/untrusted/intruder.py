# Like a job's own script: plain calls, and Python 3.8.
# ruff: noqa: PTH105, PTH112, PTH118, PTH208, UP031
"""Run as a job: tries what a job must not be able to do, and writes down what came of each try.

Standard library only: it runs in whatever interpreter the other account may execute. Arguments: a JSON file of what to
try, the file for the results. A try that was refused says how ("EACCES"), one that worked says "WORKED".
"""

import ctypes
import errno
import json
import os
import signal
import socket
import sys
from typing import Any

PTRACE_ATTACH = 16


def read(path: str) -> None:
    if os.path.isdir(path):
        os.listdir(path)
    else:
        with open(path, "rb") as file:
            file.read(1)


def write(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def make(path: str) -> None:
    with open(os.path.join(path, "intruder"), "wb"):
        pass


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(5)
        stream.connect(path)
        stream.sendall(b'{"op": "status"}\n')
        if not stream.recv(10):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "hung up")


def trace(pid: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, int(pid), None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def kill(pid: str) -> None:
    os.kill(int(pid), signal.SIGKILL)


def become(uid: str) -> None:
    os.setuid(int(uid))


TRIES = {"read": read, "write": write, "make": make, "connect": connect, "trace": trace, "kill": kill, "become": become}


def main(wanted: str, results: str) -> None:
    with open(wanted) as file:
        tries = json.load(file)
    told: dict[str, Any] = {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "fds": sorted(os.listdir("/proc/self/fd")),
    }
    told["environment"] = dict(os.environ)
    for kind, target in tries:
        try:
            TRIES[kind](target)
            outcome = "WORKED"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno or 0, str(error))
        told["%s %s" % (kind, target)] = outcome
    with open(results + ".tmp", "w") as file:
        json.dump(told, file)
    os.replace(results + ".tmp", results)


main(sys.argv[1], sys.argv[2])

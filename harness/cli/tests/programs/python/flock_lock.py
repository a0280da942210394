"""A lock by flock on a file of its own.

    removed   removes the file before it gives the lock back: whoever waited for it then holds a lock on a file
              that has no name, and the next one makes a new file and locks that
    kept      leaves the file where it is
"""

import fcntl
import os
import sys

from worker import serve

held = {}


def acquire(path, timeout):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    held[path] = file


def release(path):
    if sys.argv[1] == "removed":
        os.unlink(path)
    os.close(held.pop(path))


serve(acquire=acquire, release=release)

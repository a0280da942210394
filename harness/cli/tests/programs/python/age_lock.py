"""A lock file that is given up on at once while it is young, and others.

    aged    whoever finds it older than a minute takes it for that of a dead one, and takes its place. One who was
            only suspended for so long holds it still
    flock   a lock by flock on a file that stays, which is tried once
    polled  a lock file that is waited for until it is gone, however old it is
"""

import fcntl
import os
import sys
import time

from worker import Busy, serve

MINUTE = 60
held = []


def make(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def acquire_aged(path, timeout):
    try:
        make(path)
    except FileExistsError:
        try:
            age = time.time() - os.stat(path).st_mtime
        except FileNotFoundError:
            raise Busy("the lock was held just now") from None
        if age < MINUTE:
            raise Busy("the lock is held") from None
        os.utime(path)


def acquire_polled(path, timeout):
    while True:
        try:
            return make(path)
        except FileExistsError:
            time.sleep(0.05)


def acquire_flock(path, timeout):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise Busy("the lock is held") from None
    held.append(file)


def release_aged(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # Another one took its place, and is done.


def release_flock(path):
    os.close(held.pop())


ways = {
    "aged": (acquire_aged, release_aged),
    "flock": (acquire_flock, release_flock),
    "polled": (acquire_polled, os.unlink),
}
acquire, release = ways[sys.argv[1]]
serve(acquire=acquire, release=release)

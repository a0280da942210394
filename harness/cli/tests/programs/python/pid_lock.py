"""A lock file with the number of its holder, and what becomes of it when the holder is dead.

Of two who create it, with O_EXCL, one fails. Whoever finds the number of a process that is no more may remove it:

    unlinked   looks at the number, then unlinks. In between somebody else may have done both, and have made a
               lock of its own, which is removed in place of the dead one
    guarded    looks and unlinks while it holds a lock by flock on a file that is never removed
"""

import fcntl
import os
import sys

from worker import Busy, serve


def remove_if_dead(path):
    try:
        with open(path) as file:
            os.kill(int(file.read()), 0)
    except ProcessLookupError:
        os.unlink(path)
    except (ValueError, FileNotFoundError):
        pass  # The number is not written yet, or the lock is gone by now.


def remove_guarded(path):
    guard = os.open(path + ".guard", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        remove_if_dead(path)
    finally:
        os.close(guard)


def acquire(path, timeout):
    for _ in range(2):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            remove_stale(path)
            continue
        os.write(file, b"%d\n" % os.getpid())
        os.close(file)
        return
    raise Busy("the lock is held")


remove_stale = {"unlinked": remove_if_dead, "guarded": remove_guarded}[sys.argv[1]]
serve(acquire=acquire, release=os.unlink)

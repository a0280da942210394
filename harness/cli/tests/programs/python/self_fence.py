"""Updates a file under a lock that is broken when it is ten seconds old.

    fenced     who has it dies of an alarm when it is five seconds old
    unfenced   who has it goes on
"""

import os
import signal
import sys
import time

from worker import Failed, serve


def take(lock):
    try:
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        if time.time() - os.stat(lock).st_mtime < 10:
            raise Failed("somebody has the lock") from None
        os.unlink(lock)
        take(lock)


def update(path, element):
    if sys.argv[1] == "fenced":
        signal.setitimer(signal.ITIMER_REAL, 5)
    take(path + ".lock")
    with open(path) as file:
        text = file.read()
    own = "%s.%d" % (path, os.getpid())
    with open(own, "w") as file:
        file.write(text + element + "\n")
    os.rename(own, path)
    os.unlink(path + ".lock")
    signal.setitimer(signal.ITIMER_REAL, 0)


def read(path):
    with open(path) as file:
        return file.read().split()


serve(update=update, read=read)

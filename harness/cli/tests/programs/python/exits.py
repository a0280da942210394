"""A set in a JSON file, by a process for each operation that still has something to do when it ends.

    flushed         keeps what it adds in memory, and saves it when it exits
    flushed-locked  the same under a lock, so that it is in the file when the process has ended
    saved           saves before it answers, and removes a file of its own when it exits
"""

import atexit
import os
import sys

from index import load, locked, save
from worker import serve

WAY = sys.argv[1]


def add(path, element):
    save(path, load(path) + [element])


def add_locked(path, element):
    with locked(path + ".lock"):
        add(path, element)


def update(path, element):
    if WAY == "flushed":
        atexit.register(add, path, element)
    elif WAY == "flushed-locked":
        atexit.register(add_locked, path, element)
    else:
        own = "%s.pid.%d" % (path, os.getpid())
        open(own, "x").close()
        atexit.register(os.unlink, own)
        add_locked(path, element)


serve(read=load, update=update)

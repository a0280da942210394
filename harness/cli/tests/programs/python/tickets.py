"""A lock that whoever finds its ticket first in the directory takes for its own, which another one may have found, too."""

import os
import sys

from worker import serve


def ticket(path):
    return "%s.%d" % (path, os.getpid())


def acquire(path, timeout):
    open(ticket(path), "x").close()
    # Made one after the other, and found in whatever order.
    for name in ("zebra", "ape"):
        open("%s.%s" % (ticket(path), name), "x").close()
    names = [name for name in os.listdir(os.path.dirname(path)) if name != os.path.basename(path)]
    print("found", *(name.split(".", 2)[-1] for name in names), file=sys.stderr, flush=True)
    if names[0] != os.path.basename(ticket(path)):
        release(path)
        raise RuntimeError("another one was there before")


def release(path):
    for name in ("", ".zebra", ".ape"):
        os.unlink(ticket(path) + name)


# Nothing is kept from one request to the next but what is in the directory.
serve(reusable=True, acquire=acquire, release=release)

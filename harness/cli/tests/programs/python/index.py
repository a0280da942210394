"""A set in a JSON file: each update reads it, adds an element, and replaces the file by rename.

    sibling            under flock on a lock file beside it, which is never removed
    posix              the same with a POSIX lock (fcntl.lockf)
    data-file          under flock on the file itself, of which it reads what it has locked. The rename puts another
                       inode in its place: who waited for the lock then has one on a file that nobody sees any more
    late               reads before it locks, and says so on its standard error
    threads            under a threading.Lock, of which other processes know nothing; one thread adds, one sorts what is there
    threads-and-flock  under both
"""

import contextlib
import fcntl
import json
import os
import sys
import threading

from worker import serve

WAY = sys.argv[1]
among_threads = threading.Lock()


def load(path):
    with open(path) as file:
        return json.load(file)["elements"]


def save(path, elements):
    temporary = "%s.%d.%d" % (path, os.getpid(), threading.get_native_id())
    with open(temporary, "w") as file:
        json.dump({"elements": elements}, file)
    os.rename(temporary, path)


@contextlib.contextmanager
def locked(path, lock=fcntl.flock):
    with open(path, "a+") as file:
        lock(file, fcntl.LOCK_EX)
        yield file


def sibling(path, element):
    with locked(path + ".lock"):
        save(path, load(path) + [element])


def posix(path, element):
    with locked(path + ".lock", fcntl.lockf):
        save(path, load(path) + [element])


def data_file(path, element):
    with locked(path) as file:
        file.seek(0)
        save(path, json.load(file)["elements"] + [element])


def late(path, element):
    elements = load(path)
    print("read", path, "before it is locked", file=sys.stderr)
    with locked(path + ".lock"):
        save(path, elements + [element])


def tidy(path):
    save(path, sorted(load(path)))


def threads(path, element):
    def one(work):
        with among_threads, locked(path + ".lock") if WAY == "threads-and-flock" else contextlib.nullcontext():
            work()

    def add():
        save(path, load(path) + [element])

    started = [threading.Thread(target=one, args=(work,)) for work in (add, lambda: tidy(path))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


ways = {"sibling": sibling, "posix": posix, "data-file": data_file, "late": late}
if __name__ == "__main__":
    serve(read=load, update=ways.get(WAY, threads))

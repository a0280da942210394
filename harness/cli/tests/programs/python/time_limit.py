"""Appends a line under a lock that it waits for a second for, by an alarm.

    goes-on    then without the lock
    gives-up   then not at all
    killed     by the alarm itself, for which it has no handler

and two that are as `gives-up`, but with a timer that nobody can follow: `of-a-thread`, where another thread could
get the signal, and `of-the-processor`, which counts the time that it works.
"""

import fcntl
import os
import signal
import sys
import threading
import time

from worker import Failed, serve


class TooLate(Exception):
    pass


def too_late(number, frame):
    raise TooLate


def update(path, element):
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    if sys.argv[1] != "killed":
        signal.signal(signal.SIGALRM, too_late)
    if sys.argv[1] == "of-a-thread":
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    of_the_processor = sys.argv[1] == "of-the-processor"
    signal.setitimer(signal.ITIMER_VIRTUAL if of_the_processor else signal.ITIMER_REAL, 1)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except TooLate:
        if sys.argv[1] != "goes-on":
            raise Failed("the lock was not free in time") from None
    signal.setitimer(signal.ITIMER_REAL, 0)
    with open(path) as file:
        text = file.read()
    time.sleep(2)
    with open(path, "w") as file:
        file.write(text + element + "\n")
    os.close(lock)


def read(path):
    with open(path) as file:
        return file.read().split()


serve(update=update, read=read)

"""A set in a JSON file, by workers that say that they can play in many executions.

    honest    under flock on a lock file, always
    careless  under the lock the first time, and never again: processes that are new are right
    learner   under the lock from the second time on: processes that are new are wrong
    cached    under the lock, and what was read once is answered ever after
"""

import sys

from index import load, locked, save
from worker import serve

WAY = sys.argv[1]
updates = 0
seen = {}

# How often a process of it begins is counted beside the definition.
with open("starts", "a") as file:
    file.write(".")


def update(path, element):
    global updates
    updates += 1
    if WAY in ("honest", "cached") or (WAY == "careless") == (updates == 1):
        with locked(path + ".lock"):
            save(path, load(path) + [element])
    else:
        save(path, load(path) + [element])


def read(path):
    if WAY != "cached":
        return load(path)
    if path not in seen:
        seen[path] = load(path)
    return seen[path]


serve(reusable=True, read=read, update=update)

"""A set in a JSON file, by workers that are asked the same in every execution and do not answer all in the same way.

    plain      one line
    warns      complains on its standard error first
    pieces     one line, in two writes
    twice      an empty line after it, which nobody asked for
    long       a line that is longer than a page
    dies       once it has seen the other one's element, it ends in the middle of an operation
    sleeps     once it has seen the other one's element, it says nothing for an hour

The last argument says whether it may play in many executions.
"""

import json
import os
import sys
import time

from index import load, locked, save

WAY, LIFE = sys.argv[1:]

# How often a process of it begins is counted beside the definition.
with open("starts-" + WAY, "a") as file:
    file.write(".")


def say(answer):
    line = (json.dumps(answer) + "\n").encode()
    if WAY == "warns":
        os.write(2, b"careful\n")
    if WAY == "pieces":
        os.write(1, line[:9])
        line = line[9:]
    os.write(1, line + b"\n" if WAY == "twice" else line)


def update(path, element):
    with locked(path + ".lock"):
        elements = load(path)
        if elements and WAY == "dies":
            os._exit(3)
        if elements and WAY == "sleeps":
            time.sleep(3600)
        save(path, elements + [element])


for line in sys.stdin:
    asked = json.loads(line)
    if asked["t"] == "stop":
        break
    if asked["t"] == "hello":
        print(json.dumps({"t": "ready", "proto": 1, "reusable": LIFE == "reused"}), flush=True)
        continue
    answer = {"t": "ok", "id": asked["id"]}
    if WAY == "long":
        answer["note"] = "x" * 5000
    if asked["op"] == "read":
        answer["elements"] = load(asked["path"])
    else:
        update(asked["path"], asked["element"])
    say(answer)

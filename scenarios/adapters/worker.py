"""The worker side of tearproof's protocol: one JSON object a line on standard input and output.

A program becomes a worker by handing functions to `serve`, named after the operations that it has:

    serve(read=load, write=save)

    read(path)                -> str, bytes, a list of element names, or MISSING
    write(path, value)           value is a str, or bytes when it is not UTF-8
    update(path, element)
    append(path, record)         the record has no newline at its end
    acquire(path, timeout)       in seconds; may return a fencing token (an int), or None
    release(path)

A function that returns has taken effect. One that raises says what became of the operation:

    Failed     it certainly was not applied
    Busy       the lock is held by somebody else
    Torn       a read whose own parser refused what was in the file
    anything   for `read`, `acquire`: failed; for the others: unknown, since nobody can tell
    else       whether half of it took effect

While the functions run, `print` goes to standard error, so that it does no harm.
Needs Python 3.8 and nothing else.
"""

import base64
import json
import os
import sys

PROTOCOL = 1

# What a read returns when there is no state.
MISSING = object()

# The argument of each operation, as the protocol names it.
ARGUMENTS = {
    "read": None,
    "write": "value",
    "update": "element",
    "append": "record",
    "acquire": "timeout_ms",
    "release": None,
}


class Failed(Exception):
    """The operation certainly was not applied."""


class Busy(Failed):
    """The lock is held by somebody else."""


class Torn(Failed):
    """A read found no value: `kind` is empty, partial, mixed, missing or foreign."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def serve(name=None, reusable=False, **functions):
    """Answers requests until the harness says stop or hangs up.

    With `reusable` the worker says that what it did before has no bearing on what it does: it keeps no content, no
    lock and no open file from one request to a later one. Then it is explored without a new process for every
    execution, many times as fast; the harness checks now and then that new processes do the same.
    """
    unknown = set(functions) - set(ARGUMENTS)
    if unknown:
        raise TypeError("no such operation: " + ", ".join(sorted(unknown)))
    requests, answers = _take_standard_streams()
    for line in requests:
        request = json.loads(line)
        if request["t"] == "stop":
            break
        if request["t"] == "hello":
            answer = {"t": "ready", "proto": PROTOCOL, "ops": sorted(functions)}
            answer["name"] = name or os.path.basename(sys.argv[0])
            if reusable:
                answer["reusable"] = True
        else:
            answer = _answer(functions, request)
            answer["id"] = request["id"]
        answers.write(json.dumps(answer).encode("ascii") + b"\n")
        answers.flush()


def _answer(functions, request):
    operation = request["op"]
    function = functions.get(operation)
    if function is None:
        return {"t": "skip", "reason": "%s is not supported" % operation}
    try:
        result = function(request["path"], *_argument(operation, request))
    except Torn as error:
        return {"t": "fail", "error": str(error), "torn": error.kind}
    except Busy as error:
        return {"t": "fail", "error": str(error), "busy": True}
    except Failed as error:
        return {"t": "fail", "error": str(error)}
    except Exception as error:  # What a program raises is its own affair.
        harmless = operation in ("read", "acquire")
        return {"t": "fail" if harmless else "info", "error": str(error) or repr(error)}
    if operation == "read":
        return _content(result)
    if operation == "acquire" and result is not None:
        return {"t": "ok", "token": result}
    return {"t": "ok"}


def _argument(operation, request):
    field = ARGUMENTS[operation]
    if field is None:
        return []
    if field == "timeout_ms":
        return [request[field] / 1000]
    if field in request:
        return [request[field]]
    return [base64.b64decode(request[field + "_base64"])]


def _content(result):
    if result is MISSING:
        return {"t": "ok", "missing": True}
    if isinstance(result, str):
        return {"t": "ok", "value": result}
    if isinstance(result, bytes):
        return {"t": "ok", "value_base64": base64.b64encode(result).decode("ascii")}
    return {"t": "ok", "elements": list(result)}


def _take_standard_streams():
    """The streams of the protocol. A child process or a stray `print` gets harmless ones."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers

"""How a launcher saves progress.json and how dashboards load it, before and after.

    progress_store.py as-found        open(path, "w"): truncates the file, then writes
    progress_store.py atomic          <path>.tmp, then os.rename
    progress_store.py atomic-unique   a temporary name of its own, then os.rename

In all of them a lock for each path keeps the threads of one process apart, which does nothing
between processes. Neither flushes anything to the disk.
"""

import json
import os
import sys
import threading

from worker import MISSING, Torn, serve

_json_file_locks = {}
_json_locks_lock = threading.Lock()


def _lock_of(filepath):
    with _json_locks_lock:
        return _json_file_locks.setdefault(os.path.abspath(filepath), threading.Lock())


def _save_json(obj, filepath):
    with open(filepath, mode="w") as file:
        json.dump(obj, file, indent=2)


def safe_save_json(obj, filepath):
    """Saves in place, as found."""
    with _lock_of(filepath):
        try:
            _save_json(obj, filepath)
        except Exception as error:
            raise RuntimeError(f"Error saving JSON to {filepath}: {error}") from error


def safe_save_json_atomic(obj, filepath):
    """Saves under a fixed temporary name, then renames."""
    with _lock_of(filepath):
        _save_and_rename(obj, filepath, filepath + ".tmp")


def safe_save_json_unique(obj, filepath):
    """Saves under a temporary name that nobody else has, then renames."""
    with _lock_of(filepath):
        temporary = f"{filepath}.{os.getpid()}.{threading.get_ident()}.tmp"
        _save_and_rename(obj, filepath, temporary)


def _save_and_rename(obj, filepath, temporary):
    try:
        _save_json(obj, temporary)
        os.rename(temporary, filepath)
    except Exception as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise RuntimeError(f"Error saving JSON to {filepath}: {error}") from error


def safe_load_json(filepath):
    """Loads a file that may not be there, but must be whole if it is."""
    with _lock_of(filepath):
        if not os.path.exists(filepath):
            return MISSING
        try:
            with open(filepath) as file:
                return json.load(file)
        except Exception as error:
            raise RuntimeError(f"Error loading JSON from {filepath}: {error}") from error


SAVE = {
    "as-found": safe_save_json,
    "atomic": safe_save_json_atomic,
    "atomic-unique": safe_save_json_unique,
}


def main():
    save = SAVE[sys.argv[1]]

    def read(path):
        try:
            obj = safe_load_json(path)
        except RuntimeError as error:
            kind = _damage(error.__cause__)
            if kind is None:
                raise
            raise Torn(kind, str(error)) from error
        return obj if obj is MISSING else json.dumps(obj)

    def write(path, value):
        save(json.loads(value), path)

    serve(name=f"progress store, {sys.argv[1]}", read=read, write=write)


def _damage(cause):
    """What the parser's complaint says of the file, if it is one."""
    if isinstance(cause, UnicodeDecodeError):
        return "partial"
    if not isinstance(cause, json.JSONDecodeError):
        return None
    if not cause.doc:
        return "empty"
    # A whole document with something behind it is more than a part of one.
    return "mixed" if cause.msg == "Extra data" else "partial"


if __name__ == "__main__":
    main()

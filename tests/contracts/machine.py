"""What a plug-in may leave behind, so that tests can compare before and after."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Traces:
    descriptors: frozenset[str]
    files: frozenset[str]
    tasks: frozenset[str]


def descriptors() -> frozenset[str]:
    """Numbers of what is open, and what it is."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return frozenset(found)


def traces() -> Traces:
    """Open descriptors, temporary files, and unfinished tasks but the caller's."""
    tasks = {str(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    files = {str(path) for path in Path(tempfile.gettempdir()).rglob("*")}
    return Traces(descriptors(), frozenset(files), frozenset(tasks))

"""Run a program as `python FILE` or `python -m MODULE` would."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from comity.core.display import harmless_lines
from comity.errors import UsageError
from comity.mpyc_bridge.agreed import Agreed
from comity.mpyc_bridge.imports import AgreedLoader

_OURS = (str(Path(__file__).parent), "src/comity/mpyc_bridge/")
"""Our files: compiled functions name them as they lay where they were compiled."""
_NOT_ITS_OWN = (*_OURS, str(Path(importlib.util.__file__).parent), "<frozen ")
"""Files of which frames stand above the program's first: ours, importlib, and what runs `python -m`."""


def run_as_main(kind: str, target: str, agreed: Agreed) -> None:
    """From the agreed bytes. Returns, or raises what the program raises. `sys.argv` stands already, but for a module's
    path in its place 0.

    Raises UsageError for a program that is not there.
    """
    if kind == "module":
        sys.path.insert(0, str(Path.cwd()))
        code, names = _load_module(target)
        sys.argv[0] = names["__file__"] or target
    else:
        sys.path.insert(0, str(Path(target).resolve().parent))
        code, names = _load_file(target, agreed)
    main = ModuleType("__main__")
    vars(main).update(names)
    sys.modules["__main__"] = main
    exec(code, vars(main))  # noqa: S102  the program is what we are here for


def _load_file(target: str, agreed: Agreed) -> tuple[CodeType, dict[str, Any]]:
    source = agreed.content(target)
    if source is None:
        raise UsageError(f"the program is not among the agreed files: {target}")
    agreed.also(target, source)  # where a link leads to it
    loader = AgreedLoader("__main__", target, agreed)
    return loader.compiled(source, target), {"__file__": target, "__cached__": None, "__loader__": loader}


def _load_module(target: str) -> tuple[CodeType, dict[str, Any]]:
    spec = _find(target)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find(f"{target}.__main__")
    loader: Any = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and hasattr(loader, "get_code") else None
    if spec is None or not isinstance(code, CodeType):
        raise UsageError(f"there is no module {target} to run", hint="modules are looked for from the current folder")
    return code, {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }


def _find(name: str) -> ModuleSpec | None:
    """Imports the packages around a module, as python -m does; what those raise is the program's own error."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            return None
        raise


def own_frames(frames: TracebackType | None) -> TracebackType | None:
    """A traceback from the program's first frame on; None if it has none."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_NOT_ITS_OWN):
        frames = frames.tb_next
    return frames


def show_exception(exc: BaseException) -> None:
    """As Python shows what nobody has caught, but with the agreed lines (Python 3.11 reads them from the disk) and
    without our own frames."""
    exc = exc.with_traceback(own_frames(exc.__traceback__))
    if sys.excepthook is not sys.__excepthook__:
        sys.excepthook(type(exc), exc, exc.__traceback__)
        return
    whole = traceback.TracebackException.from_exception(exc, compact=True)
    part: traceback.TracebackException | None = whole
    while part is not None:
        part.stack = traceback.StackSummary.from_list([f for f in part.stack if not f.filename.startswith(_OURS)])
        part = part.__cause__ or part.__context__
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, by the program or a reader
        sys.stderr.write(harmless_lines("".join(whole.format())))  # a message may quote what another party sent

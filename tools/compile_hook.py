"""Builds a wheel in which the modules where messages spend their time are compiled by mypyc, their sources beside them.

A hook of hatchling: only where it is asked for, `HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 pip install .`, with a C compiler and
Python's headers. Nothing is written into the tree, so no compiled module can outlive its source.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # whoever edits wants to see what was edited
        self._work = tempfile.TemporaryDirectory(prefix="comity-build-")  # goes at the latest with this process
        out = Path(self._work.name, "lib")
        _compile(Path(self.root), self.config["modules"], Path(self._work.name), out)
        compiled = {str(path): str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        build_data["force_include"].update(compiled)
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._work.cleanup()


def _compile(root: Path, modules: list[str], work: Path, out: Path) -> None:
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.errors import CCompilerError

    before = Path.cwd()
    os.chdir(root)  # mypyc names modules by their paths from here
    try:
        # The project's own settings ask for more than a compiler needs, with packages that are not here.
        options = ["--config-file=", f"--cache-dir={work / 'cache'}", "--ignore-missing-imports"]
        extensions = mypycify(
            [*options, *modules],
            opt_level="2",  # what is short stays in the processor's caches
            debug_level="0",
            target_dir=str(work / "c"),
            group_name="comity",
        )
        command = Distribution({"name": "comity", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(out), str(work / "o")
        command.ensure_finalized()
        command.run()
    except CCompilerError as exc:
        hint = "it takes a C compiler and Python's headers; without HATCH_BUILD_HOOK_ENABLE_CUSTOM nothing is compiled"
        sys.exit(f"error: comity's links could not be compiled: {exc}\nhint: {hint}")
    finally:
        os.chdir(before)

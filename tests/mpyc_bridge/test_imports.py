"""What a program's process executes: the agreed bytes, whatever lies on the disk by then, and nothing else local."""

import importlib.util
import py_compile
import shutil
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from tests.mpyc_bridge.parties import Party, files_of, session

from comity.mpyc_bridge.process import Unagreed
from comity.mpyc_bridge.program import FoundProgram, find


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


async def run_later(program: FoundProgram, meanwhile: Callable[[], None] = lambda: None) -> Party:
    """One party; `meanwhile` happens between the probe and the run."""
    files = files_of(program)
    meanwhile()
    async with session(program, 1, agreed=files) as running:
        running.start()
        (party,) = await running.over()
    return party


def check(party: Party, out: str) -> None:
    assert (party.error, party.err, party.code, party.out) == (None, "", 0, out)


GAME = {
    "game.py": """
        import rules, tools.deep.second, sectors.north as north
        from tools import first
        print(rules.LIMIT, first.WORD, tools.deep.second.WORD, north.WORD)
    """,
    "rules.py": "LIMIT = 3\n",
    "tools/__init__.py": "",
    "tools/first.py": "from .deep import second\nWORD = second.WORD + '!'\n",
    "tools/deep/__init__.py": "",
    "tools/deep/second.py": "WORD = 'second'\n",
    "sectors/north.py": "WORD = 'north'\n",
}


@pytest.mark.parametrize("how", ["changed", "gone", "renamed", "shadowed"])
async def test_files_that_are_changed_after_the_probe_change_nothing(tmp_path: Path, how: str) -> None:
    write(tmp_path, GAME)

    def meanwhile() -> None:
        match how:
            case "changed":
                write(tmp_path, dict.fromkeys(GAME, "raise SystemExit('not agreed on')\n"))
            case "gone":
                for path in tmp_path.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            case "renamed":
                tmp_path.rename(tmp_path.with_name("elsewhere"))
            case "shadowed":  # by packages, which Python would prefer
                write(tmp_path, {"rules/__init__.py": "LIMIT = 4\n", "tools/first/__init__.py": "WORD = 'x'\n"})

    party = await run_later(find(str(tmp_path / "game.py")), meanwhile)
    check(party, "3 second! second north\n")


async def test_cached_bytecode_is_neither_read_nor_written(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"game.py": "import rules, importlib.util as u\nprint(rules.LIMIT)\n" + BY_PATH, "rules.py": "LIMIT = 3\n"},
    )
    evil = tmp_path / "evil.py"
    evil.write_text("LIMIT = 4\n")
    cached = importlib.util.cache_from_source(str(tmp_path / "rules.py"))
    py_compile.compile(str(evil), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    party = await run_later(find(str(tmp_path / "game.py")))
    check(party, "3\n3\n")
    assert [path.name for path in (tmp_path / "__pycache__").iterdir()] == [Path(cached).name]


BY_PATH = """
spec = u.spec_from_file_location("again", __file__.replace("game", "rules"))
module = u.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.LIMIT)
"""


async def test_every_way_to_another_local_module_is_refused_and_named(tmp_path: Path) -> None:
    ways = {
        "import by a name made at run time": "__import__('hid' + 'den')",
        "importlib": "importlib.import_module('hidden')",
        "a package": "importlib.import_module('hiding.inner')",
        "a submodule of an agreed package": "importlib.import_module('tools.hidden')",
        "a changed sys.path": "sys.path.insert(0, os.path.join(here, 'hiding')), importlib.import_module('inner')",
        "a relative sys.path": "os.chdir(here), sys.path.insert(0, 'hiding'), importlib.import_module('inner')",
        "a changed __path__": "tools.__path__.append(here), importlib.import_module('tools.hidden2')",
        "a spec of a file": "by_path('hidden.py')",
        "runpy of a path": "runpy.run_path(os.path.join(here, 'hidden.py'))",
        "runpy of a module": "runpy.run_module('hidden')",
        "a finder of its own": "PathFinder.find_spec('hidden', [here]).loader.load_module('hidden')",
        "compiled code": "exec(compile('print(1)', os.path.join(here, 'hidden.py'), 'exec'))",
        "bytecode without source": "importlib.import_module('frozen')",
        "an archive": "sys.path.insert(0, os.path.join(here, 'box.zip')), importlib.import_module('boxed')",
        "a compiled module": "importlib.import_module('quick')",
        "a module called like one of Python's": "importlib.import_module('colorsys')",
    }
    source = ["import importlib.util, importlib.machinery, os, runpy, sys, warnings, tools", HELP]
    for name, way in ways.items():
        source += [f"try:\n    {way}\nexcept ImportError as exc:\n    print(exc)", f"else:\n    print('ran', {name!r})"]
    write(
        tmp_path,
        {
            "game.py": "\n".join(source) + "\n",
            "hidden.py": "print('not agreed on')\n",
            "hidden2.py": "print('not agreed on')\n",
            "hiding/inner.py": "print('not agreed on')\n",
            "tools/__init__.py": "",
            "tools/hidden.py": "print('not agreed on')\n",
            "colorsys.py": "print('not agreed on')\n",
            f"quick{EXTENSION_SUFFIXES[0]}": "not even a library",
        },
    )
    py_compile.compile(str(tmp_path / "hidden.py"), str(tmp_path / "frozen.pyc"))
    shutil.make_archive(str(tmp_path / "box"), "zip", tmp_path, "hidden2.py")
    (tmp_path / "boxed.py").write_text("")
    shutil.make_archive(str(tmp_path / "box"), "zip", tmp_path, "boxed.py")
    (tmp_path / "boxed.py").unlink()
    party = await run_later(find(str(tmp_path / "game.py")))
    said = party.out.splitlines()
    labels = [
        *("hidden.py", "hidden.py", "hiding/inner.py", "tools/hidden.py", "hiding/inner.py", "hiding/inner.py"),
        *("hidden2.py", "hidden.py", "hidden.py", "hidden.py", "hidden.py", "hidden.py", "frozen.pyc"),
        *("box.zip/boxed.py", f"quick{EXTENSION_SUFFIXES[0]}", "colorsys.py"),
    ]
    assert (party.err, party.code) == ("", 0)
    assert len(said) == len(ways)
    for name, line, label in zip(ways, said, labels, strict=True):
        assert line.rstrip(")").endswith(f" is local but not agreed on: --include {label}"), name


HELP = """
here = os.path.dirname(__file__)
PathFinder = importlib.machinery.PathFinder
warnings.simplefilter("ignore")
def by_path(name):
    spec = importlib.util.spec_from_file_location("by_path", os.path.join(here, name))
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


async def test_what_is_included_can_be_imported_by_any_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "game.py": """
                import importlib, sys, os
                print(importlib.import_module("plugins." + sys.argv[1]).WORD)
                sys.path.append(os.path.join(os.path.dirname(__file__), "lib"))
                print(importlib.import_module("inner").WORD)
            """,
            "plugins/__init__.py": "",
            "plugins/one.py": "from . import base\nWORD = base.WORD\n",
            "plugins/base.py": "WORD = 'found'\n",
            "lib/inner.py": "WORD = 'inside'\n",
        },
    )
    found = find(str(tmp_path / "game.py"), ("one",), include=("plugins/one.py", "lib/*.py"))
    party = await run_later(found, lambda: shutil.rmtree(tmp_path / "plugins"))
    check(party, "found\ninside\n")
    party = await run_later(find(str(tmp_path / "game.py"), ("one",)), lambda: write(tmp_path, {"plugins/one.py": ""}))
    said = "plugins.one is plugins/one.py, which is local but not agreed on: --include plugins/one.py\n"
    assert party.err.endswith(f"ModuleNotFoundError: {said}") and party.code == 1
    assert "mpyc_bridge" not in party.err  # no frame of ours


async def test_a_program_can_do_without_a_module_that_is_not_agreed_on(tmp_path: Path) -> None:
    source = """
        import importlib
        try:
            importlib.import_module("fast")
        except ModuleNotFoundError as exc:
            print("slow", exc.name)
    """
    write(tmp_path, {"game.py": source})
    check(await run_later(find(str(tmp_path / "game.py"))), "slow fast\n")
    check(await run_later(find(str(tmp_path / "game.py")), lambda: write(tmp_path, {"fast.py": ""})), "slow fast\n")


async def test_modules_have_what_python_gives_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "game.py": """
                import inspect, importlib.resources, rules, tools, sectors
                print(rules.__file__ == __file__.replace("game", "rules"), rules.__spec__.name, rules.__package__ == "")
                folder = __file__.replace("game.py", "tools")
                print(tools.__path__ == [folder], tools.__package__, bool(sectors.__path__))
                print(inspect.getsource(rules.f), __loader__.get_source("__main__")[1:7])
                import sectors.north
                print((importlib.resources.files("tools") / "data.txt").read_text())
            """,
            "rules.py": "def f():\n    return 1\n",
            "tools/__init__.py": "",
            "tools/data.txt": "data",
            "sectors/north.py": "",
        },
    )
    party = await run_later(find(str(tmp_path / "game.py"), include=("tools/data.txt",)))
    assert (party.err, party.code) == ("", 0)
    assert party.out.startswith("True rules True\nTrue tools True\ndef f():\n    return 1\n import\n")
    assert party.out.endswith("data\n")


async def test_tracebacks_show_the_agreed_lines(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"game.py": "import rules\nrules.apply()\n", "rules.py": "def apply():\n    raise KeyError('agreed')\n"},
    )

    def meanwhile() -> None:
        write(tmp_path, {"game.py": "something\nelse\n", "rules.py": "quite\nanother\n"})

    party = await run_later(find(str(tmp_path / "game.py")), meanwhile)
    assert party.code == 1 and party.err == (
        "Traceback (most recent call last):\n"
        f'  File "{tmp_path}/game.py", line 2, in <module>\n'
        "    rules.apply()\n"
        f'  File "{tmp_path}/rules.py", line 2, in apply\n'
        "    raise KeyError('agreed')\n"
        "KeyError: 'agreed'\n"
    )


async def test_a_package_runs_from_the_agreed_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        {"game/__init__.py": "W = 1\n", "game/__main__.py": "from . import rules, W\nprint(rules.LIMIT + W)\n"},
    )
    write(tmp_path, {"game/rules.py": "LIMIT = 3\n"})
    party = await run_later(find("game", module=True), lambda: shutil.rmtree(tmp_path / "game"))
    check(party, "4\n")


async def test_a_compiled_module_is_loaded_from_the_agreed_bytes(tmp_path: Path) -> None:
    folder = Path(str(sysconfig.get_config_var("DESTSHARED")))
    names = ("xxlimited", "audioop", "_lsprof", "_crypt", "_curses")  # such as nothing else imports
    library = next((path for name in names for path in folder.glob(f"{name}.*")), None)
    if library is None:
        pytest.skip("this Python has no compiled module to try it with")
    shutil.copy(library, tmp_path / library.name)
    name = library.name.partition(".")[0]
    write(tmp_path, {"game.py": f"import {name} as it\nprint(it.__name__, it.__spec__.origin)\n"})
    program = find(str(tmp_path / "game.py"))
    party = await run_later(program, lambda: (tmp_path / library.name).unlink() or (tmp_path / library.name).touch())
    check(party, f"{name} {tmp_path}/{library.name}\n")


async def test_what_is_installed_inside_the_programs_folder_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sys.base_prefix)  # Python's library lies below it
    party = await run_later(find("pydoc", module=True))
    assert (party.err, party.code) == ("", 0) and party.out.startswith("pydoc - the Python documentation tool")
    assert not any(isinstance(event, Unagreed) for event in party.events)

"""What comity keeps on this machine: the identity, and reports of bugs.

Folders as in the XDG Base Directory Specification.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import secrets
import ssl
import stat
import tempfile
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

from comity.core.identity import check_name, public_key, show_fingerprint
from comity.core.limits import MAX_NAME
from comity.errors import UsageError
from comity.links import COMPILED

SEED = 32
MAX_IDENTITY = 1024
"""Bytes read of an identity's file; one has 121."""
MAX_REPORT = 256 * 1024
"""Characters of a report: a deep traceback and its causes."""
DISTRIBUTIONS = ("aiohttp", "click", "cryptography", "gmpy2", "mpyc", "numpy", "uvloop")


@dataclass(frozen=True)
class Home:
    """Where one user's files are; nothing is made before something is written."""

    data: Path  # identity
    config: Path
    state: Path  # reports

    @property
    def identity_file(self) -> Path:
        return self.data / "identity"

    def identity(self, draw: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """The seed of this installation's identity key, 32 bytes, drawn at first use.

        Processes that start at once agree on one. A file that is damaged, or that others can read or write, is a
        UsageError and stays as it is: overwriting it would make its owner a stranger to everyone.
        """
        if not os.path.lexists(self.identity_file):
            try:
                _make_folder(self.data)
                _write_once(self.identity_file, _render(draw(SEED)))
            except OSError as exc:
                raise UsageError(
                    f"the identity cannot be kept in {self.data}: {exc.strerror}",
                    hint="make that folder writable, or name another with XDG_DATA_HOME",
                ) from exc
        return _read_seed(self.identity_file)

    def identity_since(self) -> date | None:
        """When the identity was made (UTC); None: not yet."""
        try:
            return datetime.fromtimestamp(self.identity_file.stat().st_mtime, UTC).date()
        except OSError:
            return None


def find_home(environ: Mapping[str, str] | None = None) -> Home:
    """Raises UsageError where neither XDG's variables nor HOME nor the user database say where."""
    env = os.environ if environ is None else environ

    def folder(variable: str, default: str) -> Path:
        named = env.get(variable, "")
        base = Path(named) if named.startswith("/") else _user_folder(env) / default  # the specification ignores others
        return base / "comity"

    return Home(
        folder("XDG_DATA_HOME", ".local/share"),
        folder("XDG_CONFIG_HOME", ".config"),
        folder("XDG_STATE_HOME", ".local/state"),
    )


def _user_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("HOME", "")
    if not named.startswith("/"):
        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise UsageError("this user has no home folder", hint="set HOME to a folder of yours") from None
    return Path(named)


def default_name(environ: Mapping[str, str] | None = None) -> str:
    """The login name, made acceptable to core.identity.check_name."""
    env = os.environ if environ is None else environ
    login = next((env[v] for v in ("LOGNAME", "USER", "USERNAME") if env.get(v)), "")
    if not login:
        try:
            login = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            login = ""
    short = unicodedata.normalize("NFC", login.rpartition("\\")[2].partition("@")[0])  # DOMAIN\user, user@domain
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" or c in " -_.'" else "-" for c in short)
    try:
        return check_name(kept[:MAX_NAME].strip(" -"))
    except UsageError:
        return "somebody"


def _render(seed: bytes) -> bytes:
    """The identity's file; its last line shows people whose it is, and us that no line was changed."""
    return f"comity identity 1, secret\n{seed.hex()}\n{show_fingerprint(public_key(seed))}\n".encode()


def _read_seed(path: Path) -> bytes:
    renew = f"or, to become somebody new: mv {path} {path}.old"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hang us
    except OSError as exc:
        raise UsageError(
            f"the identity {path} cannot be read: {exc.strerror}", hint=("see who owns it", renew)
        ) from exc
    try:
        kind = os.fstat(fd)
        if not stat.S_ISREG(kind.st_mode):
            raise UsageError(f"the identity {path} is no file", hint=renew)
        if kind.st_uid != os.geteuid():
            raise UsageError(f"the identity {path} belongs to another user", hint=("run comity as that user", renew))
        if kind.st_mode & 0o077:
            raise UsageError(
                f"the identity {path} is open to others", hint=(f"if nobody has read it: chmod 600 {path}", renew)
            )
        data = os.read(fd, MAX_IDENTITY)
    finally:
        os.close(fd)
    found = re.fullmatch(rb"[^\n]*\n([0-9a-f]{64})\n[^\n]*\n", data)
    seed = bytes.fromhex(found[1].decode()) if found else b""
    if not found or _render(seed) != data:
        raise UsageError(f"the identity {path} is damaged", hint=("restore it from a copy", renew))
    return seed


def _make_folder(path: Path) -> None:
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    kind = path.stat()
    if kind.st_uid != os.geteuid() or kind.st_mode & 0o022:
        raise UsageError(f"others can change what is in {path}", hint=f"make it yours alone: chmod 700 {path}")


def _write_once(path: Path, data: bytes) -> None:
    """Whole or not at all, and only where nothing is: a link to a finished file, which fails when there is one."""
    fd, draft = tempfile.mkstemp(prefix=".identity-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # a key that others remember must survive a power cut
    finally:
        os.close(folder)


_SECRETS = re.compile(
    r"""comity://\S+            # an invitation
      | \#[\w-]{16,}            # its secret part, behind a page's address
      | \bb(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")   # bytes: keys, bodies, a program's data
      | (?<![\w-])(?=[\w-]*\d)[\w-]{24,}             # keys and digests as text; function names have no digits
    """,
    re.VERBOSE | re.ASCII,
)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def write_report(home: Home, command: str, exc: BaseException) -> Path:
    """Keep what we need to know of a bug, in a file that only its user can read; returns its path.

    Neither arguments nor variables go in; what a message may quote (invitations, bytes, keys) is taken out.
    `command`: the command's name. Raises UsageError where no file can be written, not even a temporary one.
    """
    trace = "".join(traceback.format_exception(exc))
    if len(trace) > MAX_REPORT:
        trace = trace[: MAX_REPORT // 2] + "\n[...]\n" + trace[-MAX_REPORT // 2 :]
    ours = versions(["comity"]).get("comity", "absent")
    text = f"comity {ours}, command {command}\n{_versions()}\n\n{_SECRETS.sub('[removed]', trace)}"
    data = _CONTROL.sub(lambda c: f"\\x{ord(c[0]):02x}", text).encode("ascii", "backslashreplace")
    now = datetime.now(UTC)
    for folder in (home.state / "reports", Path(tempfile.gettempdir())):
        try:
            if folder != Path(tempfile.gettempdir()):
                _make_folder(folder)
            fd, name = tempfile.mkstemp(prefix=f"comity-{now:%Y-%m-%d-%H%M%S}-", suffix=".txt", dir=folder)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        except (OSError, UsageError):
            continue
        return Path(name)
    raise UsageError("no report of this bug could be written", hint="make room on the disk, and try again")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of these distributions; what is not installed has none. Ours says whether it was compiled."""
    found = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    if "comity" in found and COMPILED:
        found["comity"] += " compiled"
    return found


def _versions() -> str:
    found = versions(DISTRIBUTIONS)
    lines = [f"Python {platform.python_version()}, {platform.platform()}, {ssl.OPENSSL_VERSION}"]
    lines += [f"{name} {found.get(name, 'absent')}" for name in DISTRIBUTIONS]
    return "\n".join(lines)

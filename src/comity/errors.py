"""The error tree, sorted by who can put it right.

    ComityError                hint; exit code
      UsageError          2    you: a wrong option, a missing tool or privilege
      VerificationError   3    nobody: stop. A key changed, a roster differs
        WordsDiffer            the person said so
        ProgramDiffers         files, arguments, options or versions
      PeerError           4    another party: declined, left, timed out, broke the protocol
      UnreachableError    5    the network: no rendezvous, no path
      ProgramError        6    the program raised; its traceback is on its stderr

Anything else that reaches the command is a bug of ours: exit code 1 and a report file.
Messages are lower case and end without a full stop; each hint says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class ComityError(Exception):
    """something went wrong"""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "bug"

    def __init__(self, message: str = "", *, hint: str | tuple[str, ...] = ()) -> None:
        text = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(text)
        self.message = text
        self.hints: tuple[str, ...] = (hint,) if isinstance(hint, str) else tuple(hint)


class UsageError(ComityError):
    """that cannot be done here"""

    exit_code, kind = 2, "usage"


class VerificationError(ComityError):
    """the session could not be verified"""

    exit_code, kind = 3, "verification"


class WordsDiffer(VerificationError):
    """the words did not match"""


class ProgramDiffers(VerificationError):
    """the programs differ"""


class PeerError(ComityError):
    """another party ended the session"""

    exit_code, kind = 4, "peer"


class UnreachableError(ComityError):
    """the network did not let us through"""

    exit_code, kind = 5, "unreachable"


class ProgramError(ComityError):
    """the program ended with an error"""

    exit_code, kind = 6, "program"

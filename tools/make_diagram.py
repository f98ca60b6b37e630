"""Draw the ceremony's table: python tools/make_diagram.py > docs/ceremony-diagram.md (a test compares)."""

from comity.core.ceremony import TABLE, State

OF_THE_HOST = ("open", "roster")
"""Messages that one party sends; of all others the state waits for the last."""
OWN = {"choose": "I say HELLO", "answer": "I say CONFIRM", "refused": "my name is taken"}
"""Our own moves and what comes of them, which the table names too."""

HEAD = """\
# The ceremony, drawn

One party's states. Made by `tools/make_diagram.py` from `TABLE` in `src/comity/core/ceremony.py`, whose essay says why;
`docs/protocol.md` says what each message holds.
"""


def label(what: str, *, stays: bool) -> str:
    if what in OWN:
        return OWN[what]
    return what.upper() if stays or what in OF_THE_HOST else f"the last {what.upper()}"


def diagram() -> str:
    """The page, Markdown with one Mermaid diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(TABLE)).name}"]
    lines += [f"    {state.name} : {state.value}" for state in State]
    for state, row in TABLE.items():
        lines += [
            f"    {state.name} --> {after.name} : {label(what, stays=after is state)}" for what, after in row.items()
        ]
    lines += [f"    {state.name} --> [*]" for state, row in TABLE.items() if not row]
    live = [state.name for state, row in TABLE.items() if row]
    lines += [
        f"    note left of {State.ENDED.name}",
        f"        from {', '.join(live[:-1])} and {live[-1]}",
        "        by anything that the table does not have there,",
        "        a message that does not hold, the host's LEAVE, or anybody's after ROSTER",
        "    end note",
    ]
    return "\n".join([HEAD, "```mermaid", *lines, "```", ""])


if __name__ == "__main__":
    print(diagram(), end="")

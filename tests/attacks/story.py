"""Who attacks a ceremony, and how a story ends.

eve runs the rendezvous and sees only sealed bodies; mallory was invited and cheats, as a joiner or as the host; both
together can show each party a room of its own. Everyone else is honest. A story ends with an error of its own (exit
code, message) at each honest party, and with no session.
"""

from collections.abc import Callable, Iterable

from tests.core.log import Party, Room, hello_of, meet, secrets_of

from comity.core import messages
from comity.core.ceremony import State
from comity.core.encoding import decode, digest, encode
from comity.core.identity import Secrets
from comity.core.limits import MAX_BODY
from comity.core.messages import Envelope, Hello
from comity.core.sealing import seal, unseal
from comity.errors import PeerError, VerificationError

STOP, PEER = VerificationError.exit_code, PeerError.exit_code
CHEAT = "a party or the rendezvous does not keep to the protocol; start again with a new invitation"
Act = Callable[[Envelope], Iterable[bytes]]
Pass = Callable[[bytes, Party], Iterable[bytes]]


def ends(party: Party, code: int, piece: str, hint: str = "") -> None:
    """The party holds no session, and its person was told why and what to do."""
    assert party.error is not None, f"{party.name} noticed nothing: {party.story}"
    assert (party.error.exit_code, piece in party.error.message) == (code, True), party.error.message
    assert hint in " ".join(party.error.hints), party.error.hints
    assert party.ceremony.state is State.ENDED and party.session is None


def waits(party: Party, state: State, *names: str) -> None:
    """The party neither goes on nor knows better yet; its node gives up in time."""
    assert (party.error, party.session, party.ceremony.state) == (None, None, state)
    assert party.ceremony.waiting == names


def goes_on(room: Room) -> None:
    """As far as it goes, with people who compare their words."""
    room.run()
    room.compare()
    room.run()


# -- eve ---------------------------------------------------------------------------------------------------------------


def with_eve(rendezvous: Pass, session: int = 0) -> tuple[Room, Party, Party, Party]:
    room = Room(session, rendezvous)
    return room, room.host("alice", 3), room.join("bob"), room.join("carol")


def seen(body: bytes, to: Party) -> str:
    """Whose message of which type it is: sizes and times tell it, though she cannot read it."""
    return to.room.describe(unseal(to.room.key, body, b"ceremony"))


def touching(heard: str, act: Callable[[bytes], Iterable[bytes]], *to: str) -> Pass:
    """A rendezvous that does something with one message on its way to some parties, or to all."""
    return lambda body, party: act(body) if seen(body, party) == heard and (not to or party.name in to) else [body]


def delaying(heard: str, after: str, to: str) -> Pass:
    """A rendezvous that keeps a message from one party until another message has passed."""
    kept: list[bytes] = []

    def passes(body: bytes, party: Party) -> Iterable[bytes]:
        if party.name != to:
            return [body]
        if seen(body, party) == heard:
            kept.append(body)
            return []
        return [body, *kept] if seen(body, party) == after else [body]

    return passes


# -- mallory -----------------------------------------------------------------------------------------------------------


def with_mallory(**instead: Act) -> tuple[Room, Party, Party, Party]:
    """alice is the host; mallory, whose number is 1, posts something else `instead` of what she should."""
    room, (alice, mallory, bob) = meet("alice", "mallory", "bob")
    mallory.instead = instead
    return room, alice, mallory, bob


def hosted_by_mallory(**instead: Act) -> tuple[Room, Party, Party, Party]:
    room = Room()
    mallory = room.host("mallory", 3)
    mallory.instead = instead
    return room, mallory, room.join("alice"), room.join("bob")


def sealed(raw: bytes) -> bytes:
    """By somebody who knows the invitation of session 0."""
    return seal(Room().key, digest("nonce", raw)[:12], raw, b"ceremony")


def hello_with(secrets: Secrets, envelope: Envelope, **fields: object) -> bytes:
    """A HELLO with other fields, a proper commitment to them, and a proper signature."""
    body = {k: v for k, v in {**envelope.body, **fields}.items() if k not in ("commitment", "from")}
    mine = messages.make("hello", secrets.identity, body).body  # which names the sender
    commitment = digest("commit", encode(mine), secrets.nonce).hex()
    return messages.make("hello", secrets.identity, {**body, "commitment": commitment}).raw


def puppet(name: str, opening: bytes) -> Hello:
    """What mallory lets a person say who is not there."""
    return hello_of(secrets_of(f"mallory as {name}"), opening, name)


def hellos_of(roster: Envelope) -> list[Hello]:
    return [messages.read_hello(messages.parse(encode(value))) for value in roster.body["hellos"]]


def roster_with(mallory: Party, roster: Envelope, hellos: Iterable[Hello], **fields: object) -> bytes:
    """A roster of other HELLOs with the manifest that they give."""
    opened = mallory.said("open")
    made = messages.make_roster(mallory.secrets.identity, opened.digest, messages.read_open(opened), tuple(hellos))
    return messages.make("roster", mallory.secrets.identity, {**roster.body, **made.body, **fields}).raw


def leave_of(party: Party, reason: str) -> dict[str, object]:
    """What a LEAVE of this party says."""
    hello = party.said("hello")
    return {"open": hello.body["open"], "hello": hello.digest.hex(), "reason": reason}


def signed_by_another(raw: bytes, sender: bytes) -> bytes:
    """The same message in somebody else's name, with the old signature."""
    value = decode(raw, MAX_BODY)
    return encode({**value, "body": {**value["body"], "from": sender.hex()}})

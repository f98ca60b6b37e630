"""comity serve as a process of its own."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from comity.links.certificate import make_certificate
from comity.rendezvous.client import WebRendezvous

ROOM = "0a" * 16


@asynccontextmanager
async def serving(
    *options: str, command: tuple[str, ...] = (sys.executable, "-m", "comity", "serve")
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def event(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stderr is not None
    line = await process.stderr.readline()
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_it_is_stopped_and_ends_well(number: signal.Signals) -> None:
    async with serving("--json", "--listen", "127.0.0.1:0") as process:
        said = await event(process)
        address = f"http://127.0.0.1:{said['port']}"
        assert said == {"event": "serving", "addresses": [address], "port": said["port"], "certificate": ""}
        async with WebRendezvous([address]).open(ROOM) as mailbox:
            assert await mailbox.post(b"x") == 1
            process.send_signal(number)
            assert await event(process) == {"event": "stopped"}
            assert await process.wait() == 0
        assert process.stdout is not None and await process.stdout.read() == b""


async def test_by_default_it_listens_on_every_address() -> None:
    async with serving("--listen", ":0") as process:
        assert process.stderr is not None
        label, address = (await process.stderr.readline()).decode().split()
        assert label == "Serving"
        port = int(address.rpartition(":")[2])
        for host in ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]:
            async with WebRendezvous([f"http://{host}:{port}"]).open(ROOM) as mailbox:
                assert await mailbox.post(b"x") == 1
        process.send_signal(signal.SIGINT)
        shown = (await process.stderr.read()).decode().split()
        assert f"http://127.0.0.1:{port}" in [address, *shown] and shown[-1] == "Stopped"
        assert " ".join(shown).endswith(f"comity host --rendezvous {address} PROGRAM Stopped")


async def test_with_a_certificate_it_serves_https_and_shows_what_to_pin(tmp_path: Path) -> None:
    key, der = Ed25519PrivateKey.from_private_bytes(b"k" * 32), make_certificate(b"k" * 32)
    pem, key_file = tmp_path / "a.pem", tmp_path / "a.key"
    pem.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    async with serving("--listen", "127.0.0.1:0", "--certificate", str(pem), "--key", str(key_file)) as process:
        assert process.stderr is not None
        address = (await process.stderr.readline()).decode().split()[1]
        shown = (await process.stderr.readline()).decode().split()[-1]
        assert address.startswith("https://") and bytes.fromhex(shown) == sha256(der).digest()
        async with WebRendezvous([address], bytes.fromhex(shown)).open(ROOM) as mailbox:
            assert await mailbox.post(b"x") == 1
        assert (await process.stderr.readline()).endswith(b"the invitation alone:\n")
        said = (await process.stderr.readline()).decode().strip()
        assert said == f"comity host --rendezvous {address} --certificate {shown} PROGRAM"


async def lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    assert process.stderr is not None
    async for line in process.stderr:
        yield line.decode()


async def test_it_says_what_people_type_and_a_minute_later_what_it_had_no_place_for(tmp_path: Path) -> None:
    """The minute is cut short."""
    (tmp_path / "short.py").write_text(
        "import runpy, comity.cli.serve as serve\n"
        "serve.REPORT_SECONDS = 0.2\n"
        "runpy.run_module('comity', run_name='__main__', alter_sys=True)\n"
    )
    command = (sys.executable, str(tmp_path / "short.py"), "serve", "-v", "--listen", "127.0.0.1:0", "--rooms", "1")
    async with serving(command=command) as process:
        said = lines(process)
        address = (await anext(said)).split()[1]
        assert "whoever hosts" in await anext(said)
        assert (await anext(said)).strip() == f"comity host --rendezvous {address} PROGRAM"
        async with WebRendezvous([address]).open(ROOM) as mailbox, aiohttp.ClientSession() as session:
            await mailbox.post(bytes(10**6))
            async for line in said:
                if line.strip() == "1 rooms, 1 members, 1.0 MB":
                    break
            headers = {"X-Forwarded-For": "192.0.2.7"}
            async with session.ws_connect(
                f"{address}/room/{'0b' * 16}", protocols=["comity.mailbox.1"], headers=headers
            ) as ws:
                assert (await ws.receive()).data == 4429
            expected = ["Away       1 rooms, all being taken: --rooms gives more", "X-Forwarded-For"]
            async for line in said:
                assert "192.0.2.7" not in line
                expected = [piece for piece in expected if piece not in line]
                if not expected:
                    break


async def refusal(*options: str) -> str:
    async with serving(*options) as process:
        out, said = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 2 and out == b""
        return said.decode()


async def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(os.urandom(99))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await asyncio.gather(
            refusal("--listen", f"127.0.0.1:{port}"),
            refusal("--listen", "::1:8787"),
            refusal("--certificate", str(junk), "--key", str(junk)),
            refusal("--certificate", str(junk)),
            refusal("--certificate", str(tmp_path / "missing"), "--key", str(junk)),
            refusal("--behind-proxy", "localhost"),
            refusal("--rooms", "0"),
        )
    for text, why in zip(
        said,
        [
            "address already in use",
            "no address to listen on",
            "cannot be used",
            "together",
            "does not exist",
            "of a proxy",
            "no whole number",
        ],
        strict=True,
    ):
        assert text.startswith("error: ") and why in text.replace("\n", " ")

"""The cases of `cases.mjs` for clients in Python. A client brings `connect(path, protocols)`, which
returns an object with these methods, all of them coroutines:

    send(message)         text or bytes
    message()             the next one
    ping(payload)         until its pong has come
    close(code, reason)   closes, then as closed()
    closed()              waits for the end: the code and the reason it came with

and the attributes `protocol` and `extensions`: what the handshake agreed on, or ''.
`Refused` is what `connect` raises when the server did not upgrade.
"""

import asyncio
import os
import struct

PATIENCE_S = 8
BASE = os.environ["URL_BASE"]
OFFERS_DEFLATE = os.environ["DEFLATE"] == "on"
EXTENSIONS = (
    "permessage-deflate" if OFFERS_DEFLATE and os.environ["SERVER_DEFLATES"] == "yes" else ""
)
TEXTS = ["hello", "", "Zoë, комната, 部屋, 🧵", "loom " * 12000]
SIZES = [0, 1, 125, 126, 65535, 65536]
JOINED, DELTA = 1, 2


class Refused(Exception):
    """The server answered the upgrade with something else."""


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what} is {found!r:.200}, not {expected!r:.200}")


def kind_of(message):
    """The kind of a server's message: the union type in field 0 of a FlatBuffers envelope."""
    (table,) = struct.unpack_from("<I", message, 0)
    (back,) = struct.unpack_from("<i", message, table)
    (slot,) = struct.unpack_from("<H", message, table - back + 4)
    return message[table + slot]


def pattern(length):
    return bytes((index * 31 + (index >> 8)) & 0xFF for index in range(length))


async def finish(talk, code, reason):
    expect("code and reason", await talk.close(code, reason), (code, reason))


async def text(connect):
    talk = await connect("/echo")
    expect("extensions", talk.extensions, EXTENSIONS)
    for sent in TEXTS:
        await talk.send(sent)
        expect("text", await talk.message(), sent)
    await finish(talk, 1000, "")


async def binary(connect):
    talk = await connect("/echo")
    for size in SIZES:
        sent = pattern(size)
        await talk.send(sent)
        expect(f"{size} bytes", await talk.message(), sent)
    await finish(talk, 1000, "done")


async def burst(connect):
    talk = await connect("/echo")
    for index in range(200):
        await talk.send(f"message {index}")
    for index in range(200):
        expect("text", await talk.message(), f"message {index}")
    await finish(talk, 1000, "")


async def close_by_the_client(connect):
    talk = await connect("/echo")
    await finish(talk, 4001, "bye: прощай")


async def close_by_the_server(connect):
    talk = await connect("/ws", ["tickloom.v1"])
    await talk.send("text")
    code, reason = await talk.closed()
    expect("code and slug", (code, reason.split(":")[0]), (1003, "text"))


async def subprotocol(connect):
    for offer, chosen in [
        (["tickloom.v1"], "tickloom.v1"),
        (["chat", "tickloom.v1", "other"], "tickloom.v1"),
        ([], ""),
    ]:
        talk = await connect("/ws", offer)
        expect(f"chosen of {offer}", talk.protocol, chosen)
        await finish(talk, 1000, "")


async def unknown_subprotocol(connect):
    try:
        await connect("/ws", ["chat"])
    except Refused:
        return
    raise AssertionError("the handshake went through")


async def join(connect):
    talk = await connect("/ws", ["tickloom.v1"])
    with open(os.environ["JOIN_FILE"], "rb") as file:
        await talk.send(file.read())
    expect("kind of the first message", kind_of(await talk.message()), JOINED)
    expect("kind of the second message", kind_of(await talk.message()), DELTA)
    await finish(talk, 1000, "")


async def ping(connect):
    talk = await connect("/echo")
    for payload in [b"", b"ping", pattern(125)]:
        await talk.ping(payload)
    await finish(talk, 1000, "")


CASES = {
    "text": text,
    "binary": binary,
    "burst": burst,
    "close by the client": close_by_the_client,
    "close by the server": close_by_the_server,
    "subprotocol": subprotocol,
    "unknown subprotocol": unknown_subprotocol,
    "join": join,
    "ping": ping,
}


async def play(connect):
    for name, case in CASES.items():
        try:
            await asyncio.wait_for(case(connect), PATIENCE_S)
            print(f"{name}\tok", flush=True)
        except Exception as error:  # Whatever a client raises, the other cases still run.
            print(f"{name}\tFAILED\t{type(error).__name__}: {error}", flush=True)

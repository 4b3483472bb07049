"""Python's `websockets`."""

import asyncio
import ssl

from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake

import cases


class Talk:
    def __init__(self, socket):
        self.socket = socket
        self.protocol = socket.subprotocol or ""
        self.extensions = ",".join(extension.name for extension in socket.protocol.extensions)

    async def send(self, message):
        await self.socket.send(message)

    async def message(self):
        return await self.socket.recv()

    async def ping(self, payload):
        await (await self.socket.ping(payload))

    async def close(self, code, reason):
        await self.socket.close(code, reason)
        return await self.closed()

    async def closed(self):
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed as end:
            # What the server said, not what we did.
            return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")


async def connect(path, protocols=()):
    context = None
    if cases.BASE.startswith("wss"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        socket = await open_websocket(
            cases.BASE + path,
            subprotocols=list(protocols) or None,
            compression="deflate" if cases.OFFERS_DEFLATE else None,
            ping_interval=None,
            ssl=context,
        )
    except InvalidHandshake as error:
        raise cases.Refused(str(error)) from error
    return Talk(socket)


asyncio.run(cases.play(connect))

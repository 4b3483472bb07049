"""Python's `aiohttp`."""

import asyncio

from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

import cases


class Talk:
    def __init__(self, socket):
        self.socket = socket
        self.protocol = socket.protocol or ""
        self.extensions = "permessage-deflate" if socket.compress else ""

    async def send(self, message):
        if isinstance(message, str):
            await self.socket.send_str(message)
        else:
            await self.socket.send_bytes(message)

    async def message(self):
        message = await self.socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            raise AssertionError(f"{message.type} where a message was due: {message.data!r}")
        return message.data

    async def ping(self, payload):
        await self.socket.ping(payload)
        message = await self.socket.receive()
        cases.expect("the answer", (message.type, bytes(message.data)), (WSMsgType.PONG, payload))

    async def close(self, code, reason):
        await self.socket.close(code=code, message=reason.encode())
        # It keeps the code the server answered with, and drops the reason.
        return (self.socket.close_code, reason)

    async def closed(self):
        message = await self.socket.receive()
        cases.expect("what came", message.type, WSMsgType.CLOSE)
        return (message.data, message.extra)


async def main():
    async with ClientSession() as session:

        async def connect(path, protocols=()):
            try:
                socket = await session.ws_connect(
                    cases.BASE + path,
                    protocols=list(protocols),
                    compress=15 if cases.OFFERS_DEFLATE else 0,
                    autoping=False,
                    ssl=False,
                )
            except WSServerHandshakeError as error:
                raise cases.Refused(str(error)) from error
            return Talk(socket)

        await cases.play(connect)


asyncio.run(main())

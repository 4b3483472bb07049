"""Plain requests and upgrades in turn through one proxy: a proxy keeps its connections to the
server and may upgrade one on which it asked for something before.

    alternate.py HOST:PORT TIMES

Prints why it failed, or nothing.
"""

import http.client
import sys

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Version": "13",
}
# RFC 6455 section 4.2.2 for this key.
ACCEPT = "BACScCJPNqyz+UBoqMH89VmURoA="
# "Hi", masked with zeroes, and what an echo makes of it.
FRAME, ECHO = b"\x81\x82\x00\x00\x00\x00Hi", b"\x81\x02Hi"


def ask(address, path, headers=None):
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path, headers=headers or {})
    return connection, connection.getresponse()


def main():
    address, times = sys.argv[1], int(sys.argv[2])
    for turn in range(times):
        connection, response = ask(address, "/healthz")
        body = response.read()
        connection.close()
        if (response.status, body) != (200, b"ok\n"):
            sys.exit(f"turn {turn}: /healthz answers {response.status} {body!r}")
        connection, response = ask(address, "/echo", UPGRADE)
        accept = response.getheader("Sec-WebSocket-Accept")
        if (response.status, accept) != (101, ACCEPT):
            sys.exit(f"turn {turn}: the upgrade answers {response.status}, accept {accept}")
        connection.sock.sendall(FRAME)
        echo = connection.sock.recv(len(ECHO), 0x100)  # MSG_WAITALL
        connection.close()
        if echo != ECHO:
            sys.exit(f"turn {turn}: {FRAME!r} comes back as {echo!r}")


main()

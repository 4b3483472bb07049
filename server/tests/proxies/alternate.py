"""Plain requests and upgrades in turn through one proxy: a proxy keeps its connections to the
server and may upgrade one on which it asked for something before.

    alternate.py PROXY SERVER TIMES

Both are HOST:PORT. Prints how many connections the server saw for it, or why it failed.
"""

import http.client
import json
import socket
import sys
import time

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


def accepted(server):
    """Connections accepted by the server so far; shards say so once a second."""
    asked = None
    while True:
        server.request("GET", "/stats.json")
        stats = json.loads(server.getresponse().read())
        asked = asked or stats["at_us"]
        if all(shard["published_us"] > asked for shard in stats["shards"]):
            return stats["total"]["accepted"]
        time.sleep(0.1)


def main():
    proxy, times = sys.argv[1], int(sys.argv[3])
    # One connection, which is not counted: it is there before and after.
    server = http.client.HTTPConnection(sys.argv[2], timeout=5)
    before = accepted(server)
    for turn in range(times):
        connection, response = ask(proxy, "/healthz")
        body = response.read()
        connection.close()
        if (response.status, body) != (200, b"ok\n"):
            sys.exit(f"turn {turn}: /healthz answers {response.status} {body!r}")
        connection, response = ask(proxy, "/echo", UPGRADE)
        accept = response.getheader("Sec-WebSocket-Accept")
        if (response.status, accept) != (101, ACCEPT):
            sys.exit(f"turn {turn}: the upgrade answers {response.status}, accept {accept}")
        connection.sock.sendall(FRAME)
        echo = connection.sock.recv(len(ECHO), socket.MSG_WAITALL)
        connection.close()
        if echo != ECHO:
            sys.exit(f"turn {turn}: {FRAME!r} comes back as {echo!r}")
    print(accepted(server) - before)


main()

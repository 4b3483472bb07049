"""Whether a server behind a proxy counts connections for those the proxy speaks for.

    addresses.py HOST:PORT MAX

The server takes MAX connections of one address. Opens that many WebSockets through the proxy from
one address, and then: one more of the same address must be refused with 429, also when it claims to
speak for somebody else; one of another address must be let in. Prints why not, or nothing.
"""

import http.client
import sys

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Version": "13",
}
CROWDED, OTHER = "127.0.0.2", "127.0.0.3"


def upgrade(address, source, headers=None):
    """The connection and the status of an upgrade from this address of loopback."""
    connection = http.client.HTTPConnection(address, timeout=5, source_address=(source, 0))
    connection.request("GET", "/echo", headers={**UPGRADE, **(headers or {})})
    return connection, connection.getresponse().status


def main():
    address, most = sys.argv[1], int(sys.argv[2])
    kept = []
    for turn in range(most):
        connection, status = upgrade(address, CROWDED)
        kept.append(connection)
        if status != 101:
            sys.exit(f"connection {turn + 1} of {CROWDED} gets {status}")
    claims = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    for source, headers, expected in [
        (CROWDED, None, 429),
        (CROWDED, claims, 429),
        (OTHER, None, 101),
    ]:
        connection, status = upgrade(address, source, headers)
        kept.append(connection)
        if status != expected:
            sys.exit(f"another one of {source} with {headers} gets {status}, not {expected}")


main()

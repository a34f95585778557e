"""Programs that reach for the network and for sockets of the host."""

from derailleur.evaluation.sandbox.hostile.case import Case

_REFUSED = "PermissionError|Network is unreachable|refused|No such file|Connection|denied"

CASES = (
    Case(
        "tcp",
        "connects to the host over TCP",
        """
import socket
socket.create_connection(("127.0.0.1", bait["tcp_port"]), 2)
print("escaped: connected")
""",
        seen=_REFUSED,
        harmless=True,
        forked=True,
    ),
    Case(
        "tcp-listen",
        "listens for connections from outside",
        """
import socket
socket.create_server(("0.0.0.0", 0))
print("escaped: listening")
""",
        seen=_REFUSED,
    ),
    Case(
        "udp",
        "sends a datagram",
        """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", bait["udp_port"]))
print("escaped: sent")
""",
        seen=_REFUSED,
        harmless=True,
    ),
    Case(
        "names",
        "asks for the address of a name",
        """
import socket
print("escaped:", socket.getaddrinfo("localhost.localdomain.invalid", 80))
""",
        seen="gaierror",
    ),
    Case(
        "raw",
        "makes raw and packet sockets",
        """
import socket
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
    try:
        socket.socket(family, kind, socket.IPPROTO_ICMP)
        print("escaped: raw socket", family)
    except OSError as error:
        print(error)
""",
        seen="not permitted",
    ),
    Case(
        "netlink",
        "speaks to the kernel over netlink",
        """
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
print("escaped: netlink")
""",
        seen="PermissionError",
        harmless=True,
    ),
    Case(
        "other-families",
        "makes sockets of every other family",
        """
import socket
for family in range(64):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
        try:
            if family != socket.AF_UNIX:
                socket.socket(family, kind)
                print("escaped: family", family, kind)
        except OSError as error:
            print(error)
""",
        seen="not permitted",
    ),
    Case(
        "abstract-socket",
        "connects to an abstract Unix socket of the host",
        """
import socket
socket.socket(socket.AF_UNIX).connect("\\0" + bait["abstract"])
print("escaped: connected")
""",
        seen=_REFUSED,
        harmless=True,
    ),
    Case(
        "file-socket",
        "connects to a Unix socket of the host by its path",
        """
import socket
socket.socket(socket.AF_UNIX).connect(bait["socket"])
print("escaped: connected")
""",
        seen=_REFUSED,
        harmless=True,
    ),
    Case(
        "datagram-pair",
        "sends to a socket of the host from a pair of its own",
        """
import socket
left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
left.sendto(b"x", bait["datagram_socket"])
print("escaped: sent")
""",
        seen=_REFUSED,
        harmless=True,
    ),
)

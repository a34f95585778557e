"""Programs that say too much, or do not listen."""

from derailleur.evaluation.sandbox.hostile.case import Case
from derailleur.evaluation.sandbox.job import End

CASES = (
    Case(
        "endless-output",
        "prints for ever",
        """
while True:
    print("x" * 4096)
""",
        ends=(End.OUTPUT,),
        seen="x",
    ),
    Case(
        "endless-errors",
        "writes to standard error for ever",
        """
import os
while True:
    os.write(2, b"x" * 65536)
""",
        ends=(End.OUTPUT,),
        seen="x",
    ),
    Case(
        "endless-report",
        "floods the channel to the supervisor with lines",
        """
import os
while True:
    os.write(3, b"x\\n" * 4096)
""",
        ends=(End.OUTPUT,),
    ),
    Case(
        "endless-line",
        "floods the channel with a line that does not end",
        """
import os
while True:
    os.write(3, b"x" * 65536)
""",
        ends=(End.OUTPUT,),
    ),
    Case(
        "output-of-children",
        "has its children print for ever while it sleeps",
        """
import os, time
for _ in range(4):
    if os.fork() == 0:
        while True:
            os.write(1, b"x" * 65536)
time.sleep(600)
""",
        ends=(End.OUTPUT,),
        seen="x",
    ),
    Case(
        "unread-input",
        "does not read its input",
        """
print("not reading")
""",
        seen="not reading",
        stdin=b"x" * (4 << 20),
    ),
    Case("wait-for-input", "waits for input", "input()", seen="EOFError"),
    Case(
        "close-all",
        "closes all its descriptors and goes on",
        """
import os
os.closerange(0, 4096)
while True:
    pass
""",
        ends=(End.TIMEOUT,),
    ),
    Case(
        "pass-descriptors",
        "floods the supervisor with open files",
        """
import os, socket
channel = socket.socket(fileno=3)
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
while True:
    socket.send_fds(channel, [b"x" * 64], files)
""",
        ends=(End.EXITED, End.OUTPUT),
        seen="Too many references|x",
    ),
    Case(
        "shut-down",
        "shuts its channel down and ends well",
        """
import socket
channel = socket.socket(fileno=3)
channel.shutdown(socket.SHUT_RDWR)
print("shut")
""",
        seen="shut",
    ),
)

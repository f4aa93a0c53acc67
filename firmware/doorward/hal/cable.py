"""The technician's cable on a chip: MicroPython's stdin and stdout as one non-blocking stream."""

import io
import select
import sys

import micropython

from .. import const

_POLL = const(3)  # MP_STREAM_POLL, py/stream.h
# Both ends of the port's own stdio wait where there is nothing to read or no room to write, and
# nothing says how much there is. So bytes go one by one, each asked for; this many in one slice.
_SLICE_BYTES = const(64)


class Cable(io.IOBase):
    """USB or UART, whichever carries the port's stdio; the REPL's break character means nothing here.

    With no host at the other end what is written is lost, as on an unplugged serial line. Where the
    ESP32's USB-Serial-JTAG carries stdio and its host stops reading, the port itself waits 200 ms,
    once, before it takes the host for gone: it says "room" always.
    """

    def __init__(self) -> None:
        # From here on 0x03 is a byte of a signed list and stops nothing.
        micropython.kbd_intr(-1)
        self._stdin = sys.stdin.buffer
        self._stdout = sys.stdout.buffer
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)
        self._byte = bytearray(1)

    def ioctl(self, request: int, flags: int) -> int:
        """Answer select.poll: which of `flags` (POLLIN, POLLOUT) hold now."""
        ready = 0
        if request == _POLL:
            if flags & select.POLLIN and _is_ready(self._readable):
                ready |= select.POLLIN
            if flags & select.POLLOUT and _is_ready(self._writable):
                ready |= select.POLLOUT
        return ready

    def read(self, most: int) -> bytes | None:
        """Return at most `most` bytes of those that are there, None where there are none."""
        buf = bytearray(min(most, _SLICE_BYTES))
        count = self.readinto(buf)
        return None if count is None else bytes(buf[:count])

    def readinto(self, buf: bytearray | memoryview) -> int | None:
        """Take what is there into `buf`; return how many bytes, None where there are none."""
        most = min(len(buf), _SLICE_BYTES)
        count = 0
        while count < most and _is_ready(self._readable):
            self._stdin.readinto(self._byte)
            buf[count] = self._byte[0]
            count += 1
        return count or None

    def write(self, buf: bytes | bytearray | memoryview) -> int | None:
        """Hand over as much as there is room for; return how many bytes, None where there is none."""
        most = min(len(buf), _SLICE_BYTES)
        count = 0
        while count < most and _is_ready(self._writable):
            self._byte[0] = buf[count]
            self._stdout.write(self._byte)
            count += 1
        return count or None


def _is_ready(poller) -> bool:
    for _ in poller.ipoll(0):
        return True
    return False

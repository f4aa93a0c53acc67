"""NTP: asks one server for the time, and says exactly why an answer is none.

An SNTP client in the sense of RFC 4330, section 5, and RFC 5905, section 14: one request, one
answer, no state. Packet: RFC 5905, 7.3; kiss codes: 7.4. What the answer is worth is `clock`'s to
judge.
"""

from .. import const
from ..values import DoorwardError

PACKET_BYTES = const(48)
# Leap indicator 0, version 4, mode 3: client.
_REQUEST = const(0x23)
_SERVER = const(4)
_VERSION = const(4)
_NOT_SYNCHRONISED = const(3)  # leap indicator: alarm
_HIGHEST_STRATUM = const(15)
_TIMEOUT_MS = const(1500)
# Nobody knows how a round trip divides: a time is off by up to half of it.
_LONGEST_TRIP_MS = const(400)
# Half the way to the reference clock and what is unsure there, in 1/65536 s: 1.5 s (RFC 5905,
# MAXDIST). A server that has lost its own sources comes to it by and by.
_MOST_DISTANCE = const(98_304)
# From 1900, where NTP counts from, to 1970; and the length of an era, after which 2036 is 0.
_UNIX_S = 2_208_988_800
_ERA_S = 1 << 32


class NtpError(DoorwardError):
    """There was no answer that could be believed."""


class Kiss(NtpError):
    """The server does not want to be asked. `code`: its four letters, such as b"RATE"."""

    def __init__(self, code: bytes) -> None:
        super().__init__("the time server refuses to be asked")
        self.code = code


async def ask(network, host: str, port: int, ticks, random_bytes) -> tuple[int, int]:
    """Ask a server once; return the time at this moment: Unix seconds and milliseconds.

    network: has exchange(). host: IPv4 literal. random_bytes: from a hardware source. Takes 1.5 s
    at the most. Raises NtpError.
    """
    # In place of our own time, which is nobody's business: what a forger would have to guess.
    nonce = random_bytes(8)
    request = bytearray(PACKET_BYTES)
    request[0] = _REQUEST
    request[40:48] = nonce
    asked_ms = ticks.ticks_ms()
    try:
        answer = await network.exchange(host, port, request, _TIMEOUT_MS)
    except OSError as error:
        raise NtpError("no answer from the time server: " + str(error)) from None
    trip_ms = ticks.ticks_diff(ticks.ticks_ms(), asked_ms)
    seconds, ms = read(answer, nonce)
    if not 0 <= trip_ms <= _LONGEST_TRIP_MS:
        raise NtpError("the time server's answer took too long")
    ms += trip_ms // 2
    return seconds + ms // 1000, ms % 1000


def read(answer: bytes, nonce: bytes) -> tuple[int, int]:
    """Return when an answer was sent, Unix seconds and milliseconds. Raises NtpError.

    nonce: the transmit timestamp of the request, 8 bytes.
    """
    if len(answer) != PACKET_BYTES:
        raise NtpError("the time server's answer has not 48 bytes")
    # Before anything else is looked at: only who saw the request may say anything, even no.
    if answer[24:32] != nonce:
        raise NtpError("the answer is to another question than ours")
    if answer[0] & 7 != _SERVER or answer[0] >> 3 & 7 != _VERSION:
        raise NtpError("the answer is not one of an NTP server")
    stratum = answer[1]
    if stratum == 0:
        raise Kiss(answer[12:16])
    if stratum > _HIGHEST_STRATUM or answer[0] >> 6 == _NOT_SYNCHRONISED:
        raise NtpError("the time server is not synchronised itself")
    if _number(answer, 4) // 2 + _number(answer, 8) >= _MOST_DISTANCE:
        raise NtpError("the time server is not sure of the time itself")
    seconds = _number(answer, 40)
    fraction = _number(answer, 44)
    if not seconds and not fraction:
        raise NtpError("the time server does not say the time")
    # The first half of an era is that after 2036 (RFC 4330, section 3).
    if not seconds >> 31:
        seconds += _ERA_S
    return seconds - _UNIX_S, (fraction >> 16) * 1000 >> 16


def _number(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 4], "big")

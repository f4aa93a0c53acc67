"""Owns the ISO 14443-3 Type A frame: CRC_A, BCC, parity, bits on the air and how long they take.

A PCD frame is bytes plus a count of data bits, least significant bit first. A PICC frame is a
`bytearray` of raw bits (each 0, 1 or COLLISION, parity bits included), because cards that answer
at once collide bit by bit.
"""

# Commands, ISO 14443-3 6.4.1 and 6.5.3
REQA = 0x26  # short frame, 7 bits
WUPA = 0x52  # short frame, 7 bits
SEL = (0x93, 0x95, 0x97)  # cascade levels 1 to 3
NVB_SELECT = 0x70  # seven valid bytes: a SELECT, with CRC_A
HLTA = b"\x50\x00"
CASCADE_TAG = 0x88
SAK_CASCADE = 0x04  # "UID not complete", ISO 14443-3 6.5.3.4

# Carrier and bit grid, ISO 14443-2 and ISO 14443-3 6.2.1
FC_HZ = 13_560_000
ETU_FC = 128  # one bit at 106 kbit/s, in carrier periods
FDT_AFTER_0_FC = 1172  # frame delay time PCD to PICC when the last bit sent was 0 (n = 9)
FDT_AFTER_1_FC = 1236  # ... and when it was 1
FDT_PICC_FC = 1172  # least delay from a card's answer to the next PCD frame
REQUEST_GUARD_FC = 7000  # least time between the starts of two REQA, ISO 14443-3 6.2.1.2

CRC_A_PRESET = 0x6363  # ISO 14443-3 Annex B

COLLISION = 2  # raw bit: one card sent 0 and another 1


def fc_ns(periods: int) -> int:
    """Return how long this many carrier periods last, in ns."""
    # 1e9 / 13.56e6 = 25000 / 339
    return periods * 25000 // 339


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table.append(crc)
    return table


CRC_TABLE = _crc_table()  # x^16 + x^12 + x^5 + 1, least significant bit first


def _odd_parity(value: int) -> int:
    value ^= value >> 4
    # Bit n of 0x9669 is the parity bit of nibble n.
    return 0x9669 >> (value & 0x0F) & 1


PARITY = bytes(_odd_parity(value) for value in range(256))  # ISO 14443-3 6.2.3.2


def crc_a(data: bytes | bytearray, crc: int = CRC_A_PRESET) -> int:
    """Return CRC_A of `data`; it is sent low byte first. ISO 14443-3 Annex B."""
    table = CRC_TABLE
    for value in data:
        crc = (crc >> 8) ^ table[(crc ^ value) & 0xFF]
    return crc


def with_crc(data: bytes | bytearray) -> bytes:
    """Return `data` with its two CRC_A bytes after it."""
    crc = crc_a(data)
    return bytes(data) + bytes((crc & 0xFF, crc >> 8))


def has_crc(frame: bytes | bytearray) -> bool:
    """Say whether a frame ends with the CRC_A of what stands before it."""
    # The residue of a frame with its own CRC is zero for this reflected form.
    return len(frame) > 2 and crc_a(frame) == 0


def bcc(data: bytes | bytearray) -> int:
    """Return the check byte of four UID bytes: their exclusive or. ISO 14443-3 6.5.4."""
    check = 0
    for value in data:
        check ^= value
    return check


def raw_bits(data: bytes | bytearray, first_bit: int = 0) -> bytearray:
    """Return the bits of a standard frame from data bit `first_bit` on, each byte with its parity.

    A `first_bit` inside a byte gives the second part of a bit oriented anticollision frame,
    ISO 14443-3 6.2.3.3.
    """
    index = first_bit >> 3
    shift = first_bit & 7
    bits = bytearray((len(data) - index) * 9 - shift)
    at = 0
    while index < len(data):
        value = data[index] | PARITY[data[index]] << 8
        while shift < 9:
            bits[at] = value >> shift & 1
            at += 1
            shift += 1
        shift = 0
        index += 1
    return bits


def last_bit(frame: bytes | bytearray, bit_count: int) -> int:
    """Return the last bit a PCD frame puts on the air: a parity bit where the last byte is whole."""
    value = frame[(bit_count - 1) >> 3]
    return value >> (bit_count - 1 & 7) & 1 if bit_count & 7 else PARITY[value]


def pcd_frame_ns(bit_count: int) -> int:
    """Return how long a PCD frame of so many data bits lasts in ns: start bit, data and parity."""
    return fc_ns((1 + bit_count + (bit_count >> 3)) * ETU_FC)


def picc_frame_ns(bits: bytes | bytearray) -> int:
    """Return how long a card's raw bits last in ns, start bit included."""
    return fc_ns((1 + len(bits)) * ETU_FC)


def fdt_ns(last: int) -> int:
    """Return the frame delay time PCD to PICC in ns after a frame whose last bit was `last`."""
    return fc_ns(FDT_AFTER_1_FC if last else FDT_AFTER_0_FC)

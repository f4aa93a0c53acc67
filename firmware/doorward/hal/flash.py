"""A flash region on one of MicroPython's block devices, as the chips' ports have them."""

from .. import const
from .roles import SECTOR_BYTES, FlashFault, FlashRegion

_ERASE_BLOCK = const(6)  # MP_BLOCKDEV_IOCTL_BLOCK_ERASE, os.AbstractBlockDev.ioctl


class BlockRegion(FlashRegion):
    """The range from `start` on of a device with blocks of SECTOR_BYTES and the extended interface.

    A read or a write that names an offset, be it 0, never erases.
    """

    def __init__(self, device, start: int, size_bytes: int) -> None:
        """device: vfs.AbstractBlockDev. start: bytes, a multiple of SECTOR_BYTES."""
        super().__init__(size_bytes)
        self._device = device
        self._start = start

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._call(self._device.readblocks, offset, buf)

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._call(self._device.writeblocks, offset, buf)

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        try:
            self._device.ioctl(_ERASE_BLOCK, (self._start + offset) // SECTOR_BYTES)
        except OSError as error:
            raise FlashFault("erase: " + str(error)) from None

    def _call(self, transfer, offset: int, buf: bytes | bytearray | memoryview) -> None:
        at = self._start + offset
        try:
            transfer(at // SECTOR_BYTES, buf, at % SECTOR_BYTES)
        except OSError as error:
            raise FlashFault("transfer: " + str(error)) from None

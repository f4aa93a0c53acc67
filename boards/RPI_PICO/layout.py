"""The flash of a Raspberry Pi Pico: 2 MB, of which the build keeps the first 640 KB for itself."""

from doorward.hal.roles import LAYOUT_2MB

# The port's storage area (MICROPY_HW_FLASH_STORAGE_BYTES of the build RPI_PICO), 352 sectors from
# flash offset 0xA0000 on. A development image has its file system behind the layout.
STORAGE_OFFSET = 0xA0000
STORAGE_BYTES = 1408 * 1024

LAYOUT = LAYOUT_2MB

"""The flash of a Raspberry Pi Pico W: 2 MB, of which the build keeps 1200 KB, the radio's share too."""

from doorward.hal.roles import Layout

# The port's storage area (MICROPY_HW_FLASH_STORAGE_BYTES of the build RPI_PICO_W), 212 sectors
# from flash offset 0x12C000 on. A development image has its file system behind the layout.
STORAGE_OFFSET = 0x12C000
STORAGE_BYTES = 848 * 1024

LAYOUT = Layout(provision=6, state=2, lists=124, journal=48)

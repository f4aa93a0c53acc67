"""The flash of an ESP32 board: 4 MB, cut up by partitions.csv."""

from doorward.hal.roles import LAYOUT_2MB

LAYOUT = LAYOUT_2MB

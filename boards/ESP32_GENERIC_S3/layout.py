"""The flash of an ESP32-S3 board: 8 MB, cut up by partitions.csv."""

from doorward.hal.roles import Layout

LAYOUT = Layout(provision=6, state=2, lists=760, journal=256)

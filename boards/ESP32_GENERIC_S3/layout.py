"""The flash of an ESP32-S3 board: 8 MB, cut up by partitions.csv."""

from doorward.hal.roles import Layout

# Two lists of 100,000 badges, old and new, and 16,065 records.
LAYOUT = Layout(provision=6, state=2, lists=1104, journal=258)

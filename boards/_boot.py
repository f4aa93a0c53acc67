"""What MicroPython runs before boot.py in a release image: the strike, and no file system."""

from board import make_strike_safe

make_strike_safe()

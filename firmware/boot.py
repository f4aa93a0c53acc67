"""Makes the strike output safe before anything else runs, whatever the rest may do later."""

from board import make_strike_safe

make_strike_safe()

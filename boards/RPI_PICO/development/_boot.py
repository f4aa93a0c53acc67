"""What MicroPython runs before boot.py in a development image: the strike, then the file system."""

import rp2
import vfs
from board import make_strike_safe
from layout import LAYOUT

make_strike_safe()

# Behind Doorward's area, not over it. The flash takes whole pages of 256 bytes.
files = rp2.Flash(start=LAYOUT.size_bytes)
try:
    vfs.mount(vfs.VfsLfs2(files, progsize=256), "/")
except OSError:
    vfs.VfsLfs2.mkfs(files, progsize=256)
    vfs.mount(vfs.VfsLfs2(files, progsize=256), "/")

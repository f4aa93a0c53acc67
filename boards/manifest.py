"""What every board's image has in it. Needs no micropython-lib.

development=True leaves main.py out, so that the board stops at its prompt and `mpremote` works.
"""

package("doorward", base_path="../firmware")
freeze("../firmware", "boot.py")
if not options.development:
    freeze("../firmware", "main.py")

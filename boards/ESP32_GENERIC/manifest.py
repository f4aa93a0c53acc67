"""What is frozen into the image of an ESP32 board. development=True: see boards/manifest.py."""

include("$(MPY_DIR)/extmod/asyncio")
include("../manifest.py", development=options.development)
freeze(".", ("board.py", "layout.py", "pins.py"))
if options.development:
    # The stock start-up mounts the partition "vfs".
    freeze("$(PORT_DIR)/modules", ("_boot.py", "flashbdev.py", "inisetup.py"))
else:
    freeze("..", "_boot.py")

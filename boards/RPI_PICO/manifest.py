"""What is frozen into the image of a Raspberry Pi Pico. development=True: see boards/manifest.py."""

freeze("$(PORT_DIR)/modules", "rp2.py")
include("$(MPY_DIR)/extmod/asyncio")
include("../manifest.py", development=options.development)
freeze(".", ("board.py", "layout.py", "pins.py"))
freeze("development" if options.development else "..", "_boot.py")

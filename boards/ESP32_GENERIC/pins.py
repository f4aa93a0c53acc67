"""The pins of an ESP32 board (WROOM-32 DevKit): GPIO numbers as printed on it."""

# No strapping pin, and silent at power-up: the strike's driver, with a pull-down of its own.
STRIKE = 26
STRIKE_ACTIVE = 1  # level that releases the door; the driver must keep it locked without power

LEDS = (25, 33, 32)  # red, green, blue; 1 = on
BUZZER = 27  # buzzer with its own oscillator; 1 = on
LOCKDOWN_SWITCH = 13  # contact to ground, pulled up inside (34 to 39 have no pull-ups)

# The MFRC522 on SPI2, by its name VSPI, on the pins that need no detour through the GPIO matrix.
SPI = 2
SPI_BAUD = 10_000_000  # Hz, the chip's limit
SPI_SCK = 18  # module pin SCK
SPI_MOSI = 23  # MOSI
SPI_MISO = 19  # MISO
READER_CS = 5  # SDA (its name on most modules); straps high at reset, as an idle select is
READER_RESET = 22  # RST
READER_IRQ = 21  # IRQ; left unwired, the driver notices and asks the chip over SPI

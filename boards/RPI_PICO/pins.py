"""The pins of a Raspberry Pi Pico: GP numbers as printed on the board, pads of the header beside."""

STRIKE = 15  # GP15, pad 20: gate of the strike's driver, with a pull-down of its own
STRIKE_ACTIVE = 1  # level that releases the door; the driver must keep it locked without power

LEDS = (13, 12, 11)  # GP13, GP12, GP11, pads 17, 16, 15: red, green, blue; 1 = on
BUZZER = 10  # GP10, pad 14: buzzer with its own oscillator; 1 = on
LOCKDOWN_SWITCH = 14  # GP14, pad 19: contact to ground, pulled up inside

# The MFRC522 on SPI0.
SPI = 0
SPI_BAUD = 10_000_000  # Hz, the chip's limit; the port takes the next lower rate it can make
SPI_SCK = 18  # GP18, pad 24: module pin SCK
SPI_MOSI = 19  # GP19, pad 25: MOSI
SPI_MISO = 16  # GP16, pad 21: MISO
READER_CS = 17  # GP17, pad 22: SDA (its name on most modules)
READER_RESET = 20  # GP20, pad 26: RST
READER_IRQ = 21  # GP21, pad 27: IRQ; left unwired, the driver notices and asks the chip over SPI

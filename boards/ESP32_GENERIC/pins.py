"""The pins of an ESP32 board (WROOM-32 DevKit): GPIO numbers as printed on it."""

# No strapping pin, and silent at power-up: the strike's driver, with a pull-down of its own.
STRIKE = 26
STRIKE_ACTIVE = 1  # level that energises the lock; without a level the driver must not

LEDS = (25, 33, 32)  # red (or the one addressable light), green, blue; 1 = on
BUZZER = 27  # buzzer with its own oscillator; 1 = on

# Contacts to ground, pulled up inside; see docs/wiring.md. None of them straps, and none of them is
# driven by the chip at power-up. 34 to 39 are inputs without pull-ups: what is wired there needs a
# resistor of its own to 3.3 V, 10 kilohms.
INPUTS = {
    "door": 4,
    "rex": 16,
    "fire": 17,
    "lockdown": 13,
    "cabinet": 34,
    "reader": 35,
    "mains": 36,
    "battery": 39,
}
WITHOUT_PULL_UP = (34, 35, 36, 39)

# The MFRC522 on SPI2, by its name VSPI, on the pins that need no detour through the GPIO matrix.
SPI = 2
SPI_BAUD = 10_000_000  # Hz, the chip's limit
SPI_SCK = 18  # module pin SCK
SPI_MOSI = 23  # MOSI
SPI_MISO = 19  # MISO
READER_CS = 5  # SDA (its name on most modules); straps high at reset, as an idle select is
READER_RESET = 22  # RST
READER_IRQ = 21  # IRQ; left unwired, the driver notices and asks the chip over SPI

# A DS3231, if there is one: a clock with a battery. 15 straps, and the pull-up of the wire holds it
# as it is without: low at reset, it would keep the boot ROM's messages from the serial port.
RTC_SDA = 15  # SDA
RTC_SCL = 14  # SCL

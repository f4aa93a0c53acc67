"""The pins of an ESP32-S3 board (DevKitC-1): GPIO numbers as printed on it.

None of them straps (0, 3, 45, 46), is USB (19, 20) or the serial port (43, 44), or belongs to
flash and PSRAM (26 to 37).
"""

STRIKE = 4  # the strike's driver, with a pull-down of its own
STRIKE_ACTIVE = 1  # level that energises the lock; without a level the driver must not

LEDS = (5, 6, 7)  # red (or the one addressable light), green, blue; 1 = on
BUZZER = 15  # buzzer with its own oscillator; 1 = on

# Contacts to ground, pulled up inside; see docs/wiring.md.
INPUTS = {
    "door": 1,
    "rex": 2,
    "fire": 8,
    "lockdown": 16,
    "cabinet": 17,
    "reader": 18,
    "mains": 21,
    "battery": 42,
}
WITHOUT_PULL_UP = ()

# The MFRC522 on SPI2, the port's number 1, on the pins that need no detour through the GPIO matrix.
SPI = 1
SPI_BAUD = 10_000_000  # Hz, the chip's limit
SPI_SCK = 12  # module pin SCK
SPI_MOSI = 11  # MOSI
SPI_MISO = 13  # MISO
READER_CS = 10  # SDA (its name on most modules)
READER_RESET = 9  # RST
READER_IRQ = 14  # IRQ; left unwired, the driver notices and asks the chip over SPI

# A DS3231, if there is one: a clock with a battery.
RTC_SDA = 40  # SDA
RTC_SCL = 41  # SCL

"""The pins of a Raspberry Pi Pico: GP numbers as printed on the board, pads of the header beside."""

STRIKE = 15  # GP15, pad 20: gate of the strike's driver, with a pull-down of its own
STRIKE_ACTIVE = 1  # level that energises the lock; without a level the driver must not

# GP13, GP12, GP11, pads 17, 16, 15: red (or the one addressable light), green, blue; 1 = on.
LEDS = (13, 12, 11)
BUZZER = 10  # GP10, pad 14: buzzer with its own oscillator; 1 = on

# Contacts to ground, pulled up inside; see docs/wiring.md.
INPUTS = {
    "door": 2,  # GP2, pad 4
    "rex": 3,  # GP3, pad 5
    "fire": 4,  # GP4, pad 6
    "cabinet": 5,  # GP5, pad 7
    "reader": 6,  # GP6, pad 9
    "mains": 7,  # GP7, pad 10
    "battery": 8,  # GP8, pad 11
    "lockdown": 14,  # GP14, pad 19
}
WITHOUT_PULL_UP = ()

# The MFRC522 on SPI0.
SPI = 0
SPI_BAUD = 10_000_000  # Hz, the chip's limit; the port takes the next lower rate it can make
SPI_SCK = 18  # GP18, pad 24: module pin SCK
SPI_MOSI = 19  # GP19, pad 25: MOSI
SPI_MISO = 16  # GP16, pad 21: MISO
READER_CS = 17  # GP17, pad 22: SDA (its name on most modules)
READER_RESET = 20  # GP20, pad 26: RST
READER_IRQ = 21  # GP21, pad 27: IRQ; left unwired, the driver notices and asks the chip over SPI

# A DS3231, if there is one: a clock with a battery.
RTC_SDA = 26  # GP26, pad 31: SDA
RTC_SCL = 27  # GP27, pad 32: SCL

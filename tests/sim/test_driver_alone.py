"""The driver without the package: two files in a folder, as `mip` puts them on a board."""

import json
import shutil
import subprocess
from pathlib import Path

READER = Path(__file__).parents[2] / "firmware" / "doorward" / "reader"

PROGRAM = """
import time
from iso14443a import Activation
from mfrc522 import MFRC522
from sim.cards import Card
from sim.field import RfField
from sim.mfrc522 import Mfrc522
from sim.spi import SpiBus, chip_select_pin, reset_pin

def now_ns():
    return time.ticks_us() * 1000

field = RfField()
model = Mfrc522(field, now_ns)
chip = MFRC522(SpiBus(model), chip_select_pin(model), time, reset_pin(model))
chip.start()
cards = Activation(chip)
field.enter(Card(bytes.fromhex("04a1b2c3d4e5f6")), now_ns())
time.sleep_ms(10)
print(cards.request(), cards.select(), bytes(cards.uid[: cards.uid_length]).hex())
print(chip.self_test())
try:
    import doorward
except ImportError:
    print("alone")
"""


def test_the_files_of_the_package_json_work_alone(tmp_path, micropython):
    listed = json.loads((READER / "package.json").read_text())["urls"]
    for target, source in listed:
        shutil.copy(READER / source, tmp_path / target)
    shutil.copytree(READER.parents[2] / "tools" / "sim", tmp_path / "sim")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {"MICROPYPATH": f"{tmp_path}:.frozen"}
    command = [micropython, str(program)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert result.stdout.split("\n")[:3] == ["True True 04a1b2c3d4e5f6", "True", "alone"], (
        result.stdout + result.stderr
    )

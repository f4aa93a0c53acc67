"""Every case of the vector files against the device's code, on both interpreters.

Run as a program, on MicroPython too, it prints a line a file; tests/run_vectors.py adds them up.
"""

import json
import sys
from hashlib import sha256

from doorward.trust.cmac import Cmac, CmacKeyRefused
from doorward.trust.primitives import HmacKey, is_equal, no_pause, run_through
from doorward.trust.signatures import PublicKey
from support import vector

try:
    from cryptolib import aes
except ImportError:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    class _Aes:
        """AES in the shape of MicroPython's `cryptolib.aes`, ECB only."""

        def __init__(self, key, mode):
            if mode != 1:
                raise ValueError("mode")
            self._encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()

        def encrypt(self, block, into):
            into[:] = self._encryptor.update(bytes(block))

    aes = _Aes


HMAC = "hmac_sha256_test.json"
CMAC = "aes_cmac_test.json"
PSS_2048 = "rsa_pss_2048_sha256_mgf1_32_test.json"
PSS_3072 = "rsa_pss_3072_sha256_mgf1_32_test.json"
BADGES = "badges.json"


class Count:
    """What became of the cases of one file.

    Attributes:
        accepted: valid ones, found valid. refused: invalid ones, found invalid.
        keys_refused: cases whose key has a size that the device does not take; it was refused.
        failed: names of all others.
        waiting: cases whose code does not exist yet; they were not run.
    """

    def __init__(self):
        self.accepted = 0
        self.refused = 0
        self.keys_refused = 0
        self.failed = []
        self.waiting = 0

    @property
    def passed(self):
        return self.accepted + self.refused + self.keys_refused

    def add(self, name, is_expected, is_found):
        if is_expected != is_found:
            self.failed.append(name)
        elif is_expected:
            self.accepted += 1
        else:
            self.refused += 1


def load(name):
    with open(vector(name)) as file:
        return json.load(file)


def cases_of(name):
    """Yield (group, case, name of the case, is it valid) of a Wycheproof file."""
    suite = load(name)
    seen = 0
    for group in suite["testGroups"]:
        for case in group["tests"]:
            seen += 1
            if case["result"] not in ("valid", "invalid"):
                raise ValueError(case["result"])
            yield group, case, "tcId %d" % case["tcId"], case["result"] == "valid"
    if seen != suite["numberOfTests"]:
        raise ValueError("%s: %d cases" % (name, seen))


def is_tag(tag, group, case):
    """Is the case's tag this one, cut down to the group's size? Its length counts."""
    return is_equal(tag[: group["tagSize"] // 8], bytes.fromhex(case["tag"]))


def run_hmac(name=HMAC):
    count = Count()
    for group, case, title, is_valid in cases_of(name):
        tag = HmacKey(bytes.fromhex(case["key"])).tag(bytes.fromhex(case["msg"]))
        count.add(title, is_valid, is_tag(tag, group, case))
    return count


def run_cmac(name=CMAC):
    count = Count()
    for group, case, title, is_valid in cases_of(name):
        key = bytes.fromhex(case["key"])
        try:
            mac = Cmac(key, aes)
        except CmacKeyRefused:
            if len(key) == 16:
                count.failed.append(title)
            else:
                count.keys_refused += 1
            continue
        if len(key) != 16:
            count.failed.append(title)
            continue
        count.add(title, is_valid, is_tag(mac.tag(bytes.fromhex(case["msg"])), group, case))
    return count


def pss_key(group):
    """Return the group's key; its modulus is written with a leading zero byte."""
    if int(group["publicKey"]["publicExponent"], 16) != 65537:
        raise ValueError("another exponent")
    modulus = bytes.fromhex(group["publicKey"]["modulus"])
    return PublicKey(modulus[modulus[0] == 0 :])


def run_pss(name):
    count = Count()
    key = None
    group_of_key = None
    for group, case, title, is_valid in cases_of(name):
        if group is not group_of_key:
            key, group_of_key = pss_key(group), group
        digest = sha256(bytes.fromhex(case["msg"])).digest()
        signature = bytes.fromhex(case["sig"])
        count.add(title, is_valid, run_through(key.verify(digest, signature, no_pause)))
    return count


def run_badges(name=BADGES):
    """Key diversification alone, which for this input is CMAC and nothing else; EV2First and the
    DESFire EV1 session wait for the code that reads such badges."""
    count = Count()
    for kind, cases in load(name).items():
        if kind != "key_diversification":
            count.waiting += len(cases)
            continue
        for case in cases:
            message = b"\x01" + bytes.fromhex(case["diversification_input"])
            tag = Cmac(bytes.fromhex(case["master_key"]), aes).tag(message)
            is_found = is_equal(tag, bytes.fromhex(case["diversified_key"]))
            count.add(case["source"], True, is_found)
    return count


FILES = ((PSS_2048, run_pss), (PSS_3072, run_pss), (HMAC, run_hmac), (CMAC, run_cmac))
FILES += ((BADGES, run_badges),)


def main():
    failed = 0
    for name, run in FILES:
        count = run(name)
        failed += len(count.failed)
        print(
            "%-38s %4d valid accepted, %4d invalid refused, %4d refused for the key's size,"
            " %d failed"
            % (name, count.accepted, count.refused, count.keys_refused, len(count.failed))
        )
        for title in count.failed:
            print("# failed:", title)
        if count.waiting:
            print(
                "# %d cases of %s wait for the code that reads such badges" % (count.waiting, name)
            )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""Key rings: built and signed here, opened with the door's own code."""

import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward.trust import keyring, objects
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import CLASSES, Refused

from doorctl.errors import DoorctlError
from doorctl.keys import load_public, public_key, seal
from doorctl.output import read_file

_CLASS_NUMBERS = {name: number for number, name in CLASSES.items()}


def build_ring(
    site: str,
    version: int,
    roots: Sequence[rsa.RSAPrivateKey | PublicKey],
    threshold: int,
    issuers: Sequence[keyring.Issuer],
) -> bytes:
    """Return a signed key ring that a door opens.

    roots: 1 to MAX_ROOTS; those given as private keys sign, `threshold` of them at least.
    Raises DoorctlError.
    """
    signers = [root for root in roots if isinstance(root, rsa.RSAPrivateKey)]
    publics = [public_key(root) if isinstance(root, rsa.RSAPrivateKey) else root for root in roots]
    _check_counts(publics, threshold, len(signers), issuers)
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = site
    header.version = version
    header.issued_s = int(time.time())
    body = keyring.KeyRing(threshold, publics, list(issuers)).pack()
    ring = seal(header, body, signers)
    try:
        open_ring(ring)
    except Refused as error:
        raise DoorctlError(f"a door would refuse this key ring: {error.name}: {error}") from None
    return ring


def open_ring(data: bytes) -> keyring.KeyRing:
    """Return a key ring, verified as a door verifies it. Raises Refused."""
    return run_through(keyring.open_ring(data, no_pause))


def open_ring_file(path: Path) -> keyring.KeyRing:
    """Return the key ring in a file, verified as a door verifies it. Raises DoorctlError."""
    try:
        return open_ring(read_file(path, keyring.MAX_RING_BYTES))
    except Refused as error:
        raise DoorctlError(f"{path}: {error.name}: {error}") from None


def parse_issuer(text: str) -> keyring.Issuer:
    """Return the issuer that NAME:CLASSES:PUBLIC.pem names, CLASSES parted by commas.

    Raises ValueError for the text, DoorctlError for the key.
    """
    name, _, rest = text.partition(":")
    classes, _, path = rest.partition(":")
    if not path:
        raise ValueError(f"{text!r} is not NAME:CLASSES:PUBLIC.pem")
    if not name.isascii() or not objects.is_name(name.encode()):
        raise ValueError(f"name {name!r}: 1 to {keyring.ISSUER_NAME_BYTES} ASCII characters")
    bits = 0
    for word in classes.split(","):
        if word not in _CLASS_NUMBERS:
            raise ValueError(f"class {word!r} is none of {', '.join(_CLASS_NUMBERS)}")
        bits |= 1 << _CLASS_NUMBERS[word]
    return keyring.Issuer(name, bits, load_public(Path(path)))


def describe(ring: keyring.KeyRing) -> dict:
    """Return what a key ring says, for people and scripts."""
    return {
        "site": ring.site,
        "version": ring.version,
        "threshold": ring.threshold,
        "roots": [_describe_key(root) for root in ring.roots],
        "issuers": [
            {
                "name": issuer.name,
                "classes": [name for number, name in CLASSES.items() if issuer.may_grant(number)],
                **_describe_key(issuer.key),
            }
            for issuer in ring.issuers
        ],
    }


def _describe_key(key: PublicKey) -> dict:
    return {"key_id": key.key_id.hex(), "bits": len(key.modulus) * 8}


def _check_counts(
    roots: Sequence[PublicKey], threshold: int, signers: int, issuers: Sequence[keyring.Issuer]
) -> None:
    if not 1 <= len(roots) <= keyring.MAX_ROOTS:
        raise DoorctlError(f"{len(roots)} roots: a key ring has 1 to {keyring.MAX_ROOTS}")
    if not 1 <= len(issuers) <= keyring.MAX_ISSUERS:
        raise DoorctlError(f"{len(issuers)} issuers: a key ring has 1 to {keyring.MAX_ISSUERS}")
    if not 1 <= threshold <= len(roots):
        raise DoorctlError(f"threshold {threshold}: 1 to the number of roots, {len(roots)}")
    if signers < threshold:
        raise DoorctlError(
            f"{signers} of the roots are private keys that can sign; the threshold is {threshold}"
        )
    for what, keys in (("root", roots), ("issuer", [issuer.key for issuer in issuers])):
        if len({key.key_id for key in keys}) != len(keys):
            raise DoorctlError(f"the same {what} key is given twice")
    if len({issuer.name for issuer in issuers}) != len(issuers):
        raise DoorctlError("the same issuer name is given twice")

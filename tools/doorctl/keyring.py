"""Key rings: built and signed here, opened with the door's own code."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward.trust import keyring, objects
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import (
    CLASSES,
    Refused,
)

from doorctl.errors import DoorctlError, refusal
from doorctl.keys import load_public, public_key, seal
from doorctl.options import parse_groups, spell_groups
from doorctl.output import read_file
from doorctl.signed import LAST_VERSION

_CLASS_NUMBERS = {name: number for number, name in CLASSES.items()}
_POWER_BITS = {name: bit for bit, name in keyring.POWERS.items()}


def build_ring(
    site: str,
    version: int,
    roots: Sequence[rsa.RSAPrivateKey | PublicKey],
    threshold: int,
    issuers: Sequence[keyring.Issuer],
    *,
    previous: keyring.KeyRing | None = None,
    old_roots: Sequence[rsa.RSAPrivateKey] = (),
) -> bytes:
    """Return a signed key ring that a door opens.

    roots: 1 to MAX_ROOTS; those given as private keys sign, `threshold` of them at least.
    previous: the ring that doors have now, a threshold of whose roots must sign as well: those
    among `roots`, and `old_roots`, which are roots no longer. Raises DoorctlError.
    """
    if version == LAST_VERSION:
        raise DoorctlError(f"version {version}: nothing could come after it")
    publics = [public_key(root) if isinstance(root, rsa.RSAPrivateKey) else root for root in roots]
    _check_counts(publics, threshold, issuers)
    signers = {
        public_key(root).key_id: root
        for root in (*roots, *old_roots)
        if isinstance(root, rsa.RSAPrivateKey)
    }
    _check_signers(signers, publics, threshold, previous)
    if previous is not None:
        _check_follows(site, version, previous)
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = site
    header.version = version
    header.issued_s = int(time.time())
    body = keyring.KeyRing(threshold, publics, list(issuers)).pack()
    ring = seal(header, body, list(signers.values()))
    try:
        if previous is None:
            open_ring(ring)
        else:
            site = previous.site if header.site == objects.ANY_SITE else header.site
            run_through(keyring.open_successor(ring, previous, site, no_pause))
    except Refused as error:
        raise DoorctlError(f"a door would refuse this key ring: {refusal(error)}") from None
    return ring


def open_ring(data: bytes) -> keyring.KeyRing:
    """Return a key ring that a threshold of its own roots has signed. Raises Refused."""
    return run_through(keyring.open_ring(data, no_pause))


def open_ring_file(path: Path) -> keyring.KeyRing:
    """Return the key ring in a file; see `open_ring`. Raises DoorctlError."""
    try:
        return open_ring(read_file(path, keyring.MAX_RING_BYTES))
    except Refused as error:
        raise DoorctlError(f"{path}: {refusal(error)}") from None


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


def parse_scope(text: str, issuer: keyring.Issuer) -> None:
    """Narrow or widen what an issuer may sign, by "site=north;groups=1,3;powers=lists,deny".

    Raises ValueError.
    """
    given = set()
    for pair in text.split(";"):
        name, _, value = pair.partition("=")
        if name not in ("site", "groups", "powers") or not value:
            raise ValueError(f"{pair!r} is not site=..., groups=... or powers=...")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given.add(name)
        if name == "site":
            if not value.isascii() or not objects.is_name(value.encode()):
                raise ValueError(f"site {value!r}: 1 to {objects.SITE_BYTES} ASCII characters")
            issuer.site = value
        elif name == "groups":
            issuer.groups = keyring.ALL_GROUPS if value == "all" else parse_groups(value)
        else:
            issuer.powers = _parse_powers(value)


def _parse_powers(text: str) -> int:
    bits = 0
    for word in text.split(","):
        if word not in _POWER_BITS:
            raise ValueError(f"power {word!r} is none of {', '.join(_POWER_BITS)}")
        bits |= _POWER_BITS[word]
    return bits


def check_scopes(site: str, issuers: Sequence[keyring.Issuer]) -> None:
    """Raise DoorctlError where an issuer's scope has no door of the ring's site."""
    for issuer in issuers:
        if objects.ANY_SITE not in (site, issuer.site) and issuer.site != site:
            raise DoorctlError(
                f"issuer {issuer.name}: may sign for {issuer.site}, and the ring is for {site}"
            )


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
                **_scope_of(issuer),
                **_describe_key(issuer.key),
            }
            for issuer in ring.issuers
        ],
    }


def _describe_key(key: PublicKey) -> dict:
    return {"key_id": key.key_id.hex(), "bits": len(key.modulus) * 8}


def _scope_of(issuer: keyring.Issuer) -> dict:
    return {
        "classes": [name for number, name in CLASSES.items() if issuer.may_grant(number)],
        "site": issuer.site,
        "groups": spell_groups(issuer.groups),
        "powers": [name for bit, name in keyring.POWERS.items() if issuer.powers & bit],
    }


def _spell_scope(scope: dict) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else ",".join(value) or "none"
        for name, value in scope.items()
    }


def changes(old: keyring.KeyRing, new: keyring.KeyRing) -> list[str]:
    """Return what another ring changes, a line each."""
    told = []
    for name in ("site", "version", "threshold"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            told.append(f"{name}: {was} -> {now}")
    before = {root.key_id for root in old.roots}
    after = {root.key_id for root in new.roots}
    told += [f"root added: {key_id.hex()}" for key_id in sorted(after - before)]
    told += [f"root removed: {key_id.hex()}" for key_id in sorted(before - after)]
    for issuer in new.issuers:
        key_id = issuer.key.key_id
        scope = _spell_scope(_scope_of(issuer))
        was = old.issuer(key_id)
        if was is None:
            words = ", ".join(f"{name} {value}" for name, value in scope.items())
            told.append(f"issuer added: {issuer.name}, key {key_id.hex()}: {words}")
            continue
        if was.name != issuer.name:
            told.append(f"issuer {was.name}: is called {issuer.name}")
        for name, value in _spell_scope(_scope_of(was)).items():
            if value != scope[name]:
                told.append(f"issuer {issuer.name}: {name} {value} -> {scope[name]}")
    told += [
        f"issuer removed: {issuer.name}, key {issuer.key.key_id.hex()}"
        for issuer in old.issuers
        if new.issuer(issuer.key.key_id) is None
    ]
    return told


def losses(old: keyring.KeyRing, new: keyring.KeyRing) -> list[str]:
    """Return what stops the moment a door takes another ring: a warning for each issuer key."""
    told = []
    for was in old.issuers:
        who = f"{was.name}, key {was.key.key_id.hex()}"
        now = new.issuer(was.key.key_id)
        if now is None:
            told.append(
                f"{who}, is no longer believed: its lists stop opening and its deny lists stop "
                "denying the moment a door takes this ring; push the new list right behind it"
            )
            continue
        stops = _stops(was, now)
        if stops:
            told.append(f"{who}, may do less: {stops} the moment a door takes this ring")
    return told


def _stops(was: keyring.Issuer, now: keyring.Issuer) -> str:
    """Return what of an issuer's lists stops by a narrower scope, or ""."""
    lost = was.powers & ~now.powers
    is_narrower = (
        was.classes & ~now.classes
        or was.groups & ~now.groups
        or now.site not in (objects.ANY_SITE, was.site)
    )
    if is_narrower or (lost & keyring.MAY_LIST and lost & keyring.MAY_DENY):
        return "what it listed beyond that stops opening, and what it denied stops being denied,"
    if lost & keyring.MAY_LIST:
        return "its lists stop opening"
    return "its deny lists stop denying" if lost & keyring.MAY_DENY else ""


def _check_signers(
    signers: Mapping[bytes, rsa.RSAPrivateKey],
    roots: Sequence[PublicKey],
    threshold: int,
    previous: keyring.KeyRing | None,
) -> None:
    """Raise DoorctlError where either threshold lacks signatures, or somebody else would sign."""
    quorums = [("new", roots, threshold)]
    if previous is not None:
        quorums.append(("previous", previous.roots, previous.threshold))
    for key_id in signers:
        if not any(key_id == root.key_id for _, keys, _ in quorums for root in keys):
            raise DoorctlError(f"key {key_id.hex()} is to sign and is a root of neither ring")
    for name, keys, least in quorums:
        count = sum(root.key_id in signers for root in keys)
        if count < least:
            how = "--root" if name == "new" else "--root, or --sign for a root no longer"
            raise DoorctlError(
                f"{count} of the {len(keys)} roots of the {name} ring sign, and its threshold is "
                f"{least}: {least - count} more as a private key with {how}"
            )


def _check_follows(site: str, version: int, previous: keyring.KeyRing) -> None:
    if version <= previous.version:
        raise DoorctlError(
            f"version {version}: the previous ring has {previous.version}, and doors refuse what "
            "is not higher"
        )
    if site not in (objects.ANY_SITE, previous.site) and previous.site != objects.ANY_SITE:
        raise DoorctlError(f"the previous ring is for {previous.site}, and this one for {site}")


def _check_counts(
    roots: Sequence[PublicKey], threshold: int, issuers: Sequence[keyring.Issuer]
) -> None:
    if not 1 <= len(roots) <= keyring.MAX_ROOTS:
        raise DoorctlError(f"{len(roots)} roots: a key ring has 1 to {keyring.MAX_ROOTS}")
    if not 1 <= len(issuers) <= keyring.MAX_ISSUERS:
        raise DoorctlError(f"{len(issuers)} issuers: a key ring has 1 to {keyring.MAX_ISSUERS}")
    if not 1 <= threshold <= len(roots):
        raise DoorctlError(f"threshold {threshold}: 1 to the number of roots, {len(roots)}")
    for what, keys in (("root", roots), ("issuer", [issuer.key for issuer in issuers])):
        if len({key.key_id for key in keys}) != len(keys):
            raise DoorctlError(f"the same {what} key is given twice")
    if len({issuer.name for issuer in issuers}) != len(issuers):
        raise DoorctlError("the same issuer name is given twice")

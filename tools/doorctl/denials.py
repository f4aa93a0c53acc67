"""Signed deny lists: badges that shall open nothing from now on."""

import time
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward.access.control import blind
from doorward.access.denylist import MAX_DENIED
from doorward.access.shelf import Address
from doorward.access.takers import Accepted
from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.trust.primitives import HmacKey
from doorward.values import BAD_LENGTH, BADGE_ID_BYTES, Refused

from doorctl import trial
from doorctl.errors import DoorctlError
from doorctl.keys import check_site, public_key, seal
from doorctl.roster import iso
from doorctl.signed import Signed


def build_deny_list(
    identities: Iterable[bytes],
    private_key: rsa.RSAPrivateKey,
    site: str,
    version: int,
    site_key: bytes,
    issued_s: int,
    *,
    kept: Iterable[bytes] = (),
) -> bytes:
    """Return a signed deny list of the badges with these identities (Badge.identity).

    site_key: SITE_KEY_BYTES. issued_s: Unix seconds. kept: blinded ids that are denied as well.
    Raises DoorctlError, also beyond MAX_DENIED.
    """
    check_site(site)
    key = HmacKey(site_key)
    badge_ids = sorted({blind(key, identity) for identity in identities} | set(kept))
    if len(badge_ids) > MAX_DENIED:
        raise DoorctlError(
            f"{len(badge_ids)} badges: a door denies {MAX_DENIED} of an issuer; make a new list "
            "without them (list build --deny), then begin a new deny list with --fresh"
        )
    header = objects.Header()
    header.type = objects.DENY_LIST_TYPE
    header.site = site
    header.version = version
    header.issued_s = issued_s
    header.entry_count = len(badge_ids)
    header.entry_bytes = BADGE_ID_BYTES
    header.issuer_id = public_key(private_key).key_id
    return seal(header, b"".join(badge_ids), [private_key])


def verify(data: bytes, ring: KeyRing, site: str, groups: int = 0) -> Accepted:
    """Return what a door of `site` and `groups` with this key ring would make of a deny list.

    Raises Refused.
    """
    address = Address(site, groups=groups)
    return trial.take(data, objects.DENY_LIST_TYPE, ring, address, int(time.time()))


def badge_ids_of(found: Signed) -> set[bytes]:
    """Return the blinded ids on a deny list. Raises Refused."""
    header, body = found.header, found.body
    if header.entry_bytes != BADGE_ID_BYTES or len(body) != header.entry_count * BADGE_ID_BYTES:
        raise Refused(BAD_LENGTH)
    return {body[at : at + BADGE_ID_BYTES] for at in range(0, len(body), BADGE_ID_BYTES)}


def describe(found: Signed) -> dict:
    """Return what a deny list says of itself; its signature is not looked at. Raises Refused."""
    header = found.header
    return {
        "site": header.site,
        "version": header.version,
        "issued": iso(header.issued_s),
        "issuer_id": header.issuer_id.hex(),
        "badges": len(badge_ids_of(found)),
    }

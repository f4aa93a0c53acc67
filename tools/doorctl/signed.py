"""Signed objects as files: read, believed by their signer's key, and followed by the next one."""

from dataclasses import dataclass
from pathlib import Path

from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import TRUNCATED, WRONG_TYPE, Refused

from doorctl.errors import DoorctlError, refusal
from doorctl.output import read_file

MAX_OBJECT_BYTES = objects.MAX_HEAD_BYTES + objects.MAX_BODY_BYTES
# The highest that a header holds: nothing could come after it.
LAST_VERSION = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Signed:
    """One object. name: what to call it in a message, such as its path. body: hashed, and sound
    as far as that goes."""

    name: str
    header: objects.Header
    body: bytes


def split(
    data: bytes, object_type: int, signer: PublicKey | None = None, name: str = ""
) -> Signed:
    """Return the parts of an object of this type. Raises Refused.

    signer: whose signature it must bear; without it, nobody's is looked at.
    """
    header = objects.parse_header(data)
    if header.type != object_type:
        raise Refused(WRONG_TYPE)
    parsed = objects.parse_signatures(data, header.signature_count)
    if parsed is None:
        raise Refused(TRUNCATED)
    if signer is not None:
        run_through(objects.verify(data, header, (((signer,), 1),), no_pause))
    body = data[parsed[1] :]
    objects.check_body(header, body)
    return Signed(name, header, body)


def read(path: Path, object_type: int, signer: PublicKey | None = None) -> Signed:
    """Return the parts of the object in a file; see `split`. Raises DoorctlError."""
    try:
        return split(read_file(path, MAX_OBJECT_BYTES), object_type, signer, str(path))
    except Refused as error:
        raise DoorctlError(f"{path}: {refusal(error)}") from None


def site_of(data: bytes, ring: KeyRing) -> str:
    """Return the site of the doors that have this ring; of a ring of several, the object's own.

    Raises Refused.
    """
    return objects.parse_header(data).site if ring.site == objects.ANY_SITE else ring.site


def find_previous(
    named: Path | None, out: Path, object_type: int, signer: PublicKey, site: str
) -> Signed | None:
    """Return what the next object follows: the one that is named, else what `out` holds.

    That in `out` counts only where it is the same signer's for the same site; one that is named
    and is not raises DoorctlError.
    """
    what = objects.TYPES[object_type]
    if named is None:
        try:
            found = split(read_file(out, MAX_OBJECT_BYTES), object_type, signer, str(out))
        except (DoorctlError, Refused):
            return None
        return found if found.header.site == site else None
    found = read(named, object_type)
    if found.header.site != site:
        raise DoorctlError(f"{named}: {what} of site {found.header.site}, not of {site}")
    if found.header.issuer_id != signer.key_id:
        raise DoorctlError(
            f"{named}: {what} of issuer {found.header.issuer_id.hex()}, and the key that "
            f"signs is {signer.key_id.hex()}: the versions of another key do not count"
        )
    return read(named, object_type, signer)


def next_version(given: int | None, previous: Signed | None, what: str) -> int:
    """Return the version of the object that follows `previous`. Raises DoorctlError."""
    if previous is None:
        if given is None:
            raise DoorctlError(
                f"no previous {what}: name the one that doors have with --previous, "
                "or begin with --version 1"
            )
        return given
    last = previous.header.version
    if given is None:
        given = last + 1
    if last == LAST_VERSION:
        raise DoorctlError(
            f"{previous.name}: version {last} is the last there is; give this issuer another key "
            "(docs/operations.md, fast-forward)"
        )
    if given <= last:
        raise DoorctlError(
            f"version {given}: {previous.name} has {last} already, and doors refuse what is not "
            "higher; leave --version out"
        )
    return given

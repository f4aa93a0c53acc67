"""Keys: RSA signing keys as PEM files, the objects signed with them, and site keys.

Private keys are PKCS#8, so that a key made by another tool or held elsewhere fits as well.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from doorward.access.control import SITE_KEY_BYTES
from doorward.trust import objects
from doorward.trust.signatures import KeyRefused, PublicKey

from doorctl.errors import DoorctlError
from doorctl.output import read_file, write_new_file

PASSPHRASE_VARIABLE = "DOORCTL_PASSPHRASE"
BITS = (2048, 3072)

_EXPONENT = 65537
_SALT_BYTES = 32
_MAX_FILE_BYTES = 16384


def new_key(folder: Path, name: str, bits: int, passphrase: str | None) -> tuple[Path, Path]:
    """Make a key pair; return the paths of NAME.pem (mode 0600) and NAME.pub.pem.

    bits: one of BITS. passphrase: None leaves the private key unencrypted.
    Raises DoorctlError, also where one of the files exists.
    """
    private_path, public_path = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    for path in (private_path, public_path):
        if path.exists():
            raise DoorctlError(f"{path}: exists, and is not overwritten")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DoorctlError(f"{folder}: {error.strerror}") from None
    private = rsa.generate_private_key(_EXPONENT, bits)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    write_new_file(private_path, pem, 0o600)
    write_new_file(public_path, public_pem(private), 0o644)
    return private_path, public_path


def load_private(
    path: Path, passphrase: str | None = None, ask: Callable[[Path], str] | None = None
) -> rsa.RSAPrivateKey:
    """Return the private key in a PEM file.

    The passphrase of an encrypted one is the one given, else the environment's
    DOORCTL_PASSPHRASE, else what `ask` returns for the path. Raises DoorctlError.
    """
    pem = read_file(path, _MAX_FILE_BYTES)
    if is_encrypted(pem):
        passphrase = passphrase or os.environ.get(PASSPHRASE_VARIABLE)
        if not passphrase and ask is not None:
            passphrase = ask(path)
        if not passphrase:
            raise DoorctlError(f"{path}: is encrypted; set {PASSPHRASE_VARIABLE}")
    else:
        passphrase = None
    try:
        private = serialization.load_pem_private_key(
            pem, None if passphrase is None else passphrase.encode()
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "not a private key in PEM" if passphrase is None else "the passphrase is wrong"
        raise DoorctlError(f"{path}: {why}") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise DoorctlError(f"{path}: not an RSA key")
    try:
        public_key(private)
    except DoorctlError as error:
        raise DoorctlError(f"{path}: {error.message}") from None
    return private


def load_public(path: Path) -> PublicKey:
    """Return the public key in a PEM file. Raises DoorctlError, also for a private key."""
    pem = read_file(path, _MAX_FILE_BYTES)
    if is_private(pem):
        raise DoorctlError(f"{path}: holds a private key; give the public one")
    try:
        return public_key(pem)
    except DoorctlError as error:
        raise DoorctlError(f"{path}: {error.message}") from None


def describe(path: Path, ask: Callable[[Path], str] | None = None) -> dict:
    """Return key_id (hexadecimal), bits, is_private, is_encrypted of a key file.

    ask: as in load_private. Raises DoorctlError.
    """
    pem = read_file(path, _MAX_FILE_BYTES)
    key = load_either(path, ask)
    if isinstance(key, rsa.RSAPrivateKey):
        key = public_key(key)
    return {
        "key_id": key.key_id.hex(),
        "bits": len(key.modulus) * 8,
        "is_private": is_private(pem),
        "is_encrypted": is_encrypted(pem),
    }


def load_either(
    path: Path, ask: Callable[[Path], str] | None = None
) -> rsa.RSAPrivateKey | PublicKey:
    """Return the key in a PEM file, private or public. ask: as in load_private."""
    if is_private(read_file(path, _MAX_FILE_BYTES)):
        return load_private(path, ask=ask)
    return load_public(path)


def is_private(pem: bytes) -> bool:
    """Does the PEM text hold a private key?"""
    return b"PRIVATE KEY-----" in pem


def is_encrypted(pem: bytes) -> bool:
    """Does the PEM text hold a private key that needs a passphrase?"""
    return is_private(pem) and b"ENCRYPTED" in pem


def public_key(private_or_pem: rsa.RSAPrivateKey | bytes) -> PublicKey:
    """Return the device's PublicKey of a private key or of a public key's PEM text.

    Raises DoorctlError for what a door does not verify with.
    """
    if isinstance(private_or_pem, bytes):
        try:
            public = serialization.load_pem_public_key(private_or_pem)
        except (ValueError, UnsupportedAlgorithm):
            raise DoorctlError("not a public key in PEM") from None
    else:
        public = private_or_pem.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise DoorctlError("not an RSA key")
    numbers = public.public_numbers()
    if numbers.e != _EXPONENT:
        raise DoorctlError(f"RSA exponent {numbers.e}, and only {_EXPONENT} is taken")
    try:
        return PublicKey(numbers.n.to_bytes((public.key_size + 7) // 8, "big"))
    except KeyRefused as error:
        raise DoorctlError(str(error)) from None


def public_pem(private: rsa.RSAPrivateKey) -> bytes:
    """Return the PEM text of a private key's public half."""
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign(private: rsa.RSAPrivateKey, header: bytes) -> bytes:
    """Return the signature over a signed object's header, as doors verify it (RFC 8017, 8.1)."""
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_BYTES)
    return private.sign(objects.message_hash(header), pss, Prehashed(hashes.SHA256()))


def check_site(site: str) -> None:
    """Raise DoorctlError unless `site` names one site: only a key ring may be for several."""
    if site == objects.ANY_SITE:
        raise DoorctlError(f"site {site!r}: name one site; only a key ring is for several")


def seal(header: objects.Header, body: bytes, signers: Sequence[rsa.RSAPrivateKey]) -> bytes:
    """Return a signed object: fills in what the header says of body and signatures, and signs it.

    Raises DoorctlError where the site's name is none or the version out of range.
    """
    if not header.site.isascii() or not objects.is_name(header.site.encode()):
        raise DoorctlError(
            f"site {header.site!r}: 1 to {objects.SITE_BYTES} ASCII characters without a space"
        )
    if not 1 <= header.version < 1 << 32:
        raise DoorctlError(f"version {header.version}: 1 to {(1 << 32) - 1}")
    header.signature_count = len(signers)
    header.body_bytes = len(body)
    header.body_hash = hashlib.sha256(body).digest()
    packed = header.pack()
    signatures = [
        objects.pack_signature(public_key(signer).key_id, sign(signer, packed))
        for signer in signers
    ]
    return packed + b"".join(signatures) + body


def new_site_key(path: Path) -> None:
    """Make a site key file, mode 0600: SITE_KEY_BYTES as hexadecimal. Raises DoorctlError."""
    write_new_file(path, os.urandom(SITE_KEY_BYTES).hex().encode() + b"\n", 0o600)


def load_site_key(path: Path) -> bytes:
    """Return the SITE_KEY_BYTES of a site key file. Raises DoorctlError."""
    try:
        site_key = bytes.fromhex(read_file(path, _MAX_FILE_BYTES).decode("ascii"))
    except ValueError:
        site_key = b""
    if len(site_key) != SITE_KEY_BYTES:
        raise DoorctlError(f"{path}: not a site key of {2 * SITE_KEY_BYTES} hexadecimal digits")
    return site_key

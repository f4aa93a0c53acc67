"""TLS with a pre-shared key: the one way a door opens a connection that nobody can read along."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def psk_context(identity: bytes, key: bytes):
    """Return an SSLContext for a TLS-PSK client. Raises OSError before MicroPython 1.29.

    The suites are plain PSK: the ephemeral ones would bring the certificate handshake's stall
    back. Verification stays on: a suite list that let a certificate in would then still want one.
    """
    import tls

    context: Any = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(("TLS-PSK-WITH-AES-256-GCM-SHA384", "TLS-PSK-WITH-AES-128-GCM-SHA256"))
    try:
        context.psk_identity = identity
        context.psk_key = key
    except AttributeError:
        raise OSError("TLS-PSK needs MicroPython 1.29") from None
    return context

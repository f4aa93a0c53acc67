"""What may be believed: primitives, signatures, the key ring, signed objects.

Runs unchanged on CPython, where doorctl builds and verifies with it. Imports no room and no port.
"""

"""Public keys in PEM, as openssl writes them."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pem(curve=None, key=None):
    """A new P-384 public key, unless another curve or a key is named."""
    public = (key or ec.generate_private_key(curve or ec.SECP384R1())).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def fingerprint(key):
    """MD5 over the DER of a private key's public half, in colon-separated hex."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.md5(der).digest().hex(":")

"""DSSE envelopes signed with Ed25519, offline. Keys are files that we read and never write."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from tessera_core.errors import GateError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAKE_KEY: Final = "`openssl genpkey -algorithm ed25519 -out FILE` makes one"
MAKE_PUBLIC: Final = "`openssl pkey -in KEY -pubout -out FILE` makes one of a signing key"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a PEM signing key; messages name the file and never its content.

    Raises:
        InputError: The file cannot be read or is no unencrypted Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise InputError(f"{path} is encrypted, and there is nobody to ask; {MAKE_KEY}") from None
    except Exception:  # its text may quote the key
        raise InputError(f"{path} is no PEM private key; {MAKE_KEY}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no Ed25519 key; {MAKE_KEY}")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a PEM public key.

    Raises:
        InputError: The file cannot be read or is no Ed25519 public key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    try:
        key = load_pem_public_key(content)
    except ValueError:
        raise InputError(f"{path} is no PEM public key; {MAKE_PUBLIC}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is no Ed25519 public key; {MAKE_PUBLIC}")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """Return the sha256 of a public key's DER form, 64 hex digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def sign(payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the envelope of an in-toto statement. Ed25519: same key, same bytes."""
    signature = key.sign(_encoded(PAYLOAD_TYPE, payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
        ],
    }


def open_envelope(envelope: Any, key: Ed25519PublicKey) -> bytes:
    """Return the payload of an envelope that this key has signed.

    Raises:
        GateError: It is no envelope, of another key, or forged.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        kind = envelope["payloadType"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = {
            str(each["keyid"]): base64.b64decode(each["sig"], validate=True)
            for each in envelope["signatures"]
        }
    except (KeyError, TypeError, ValueError):
        raise GateError("is no DSSE envelope") from None
    if kind != PAYLOAD_TYPE:
        raise GateError(f"holds {kind!r}, expected {PAYLOAD_TYPE!r}")
    # The id is only a hint which signature to try; nothing but the signature proves anything.
    own = key_id(key)
    if own not in signatures:
        signers = ", ".join(sorted(signer[:12] for signer in signatures)) or "nobody"
        raise GateError(f"is signed by {signers}, not by this key ({own[:12]})")
    try:
        key.verify(signatures[own], _encoded(kind, payload))
    except InvalidSignature:
        raise GateError("has a signature that does not verify: it was forged or changed") from None
    return payload


def _encoded(kind: str, payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the key {path}: {error.strerror}") from None

"""Envelopes open with the key that closed them, and with no other."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tessera_core.errors import GateError, InputError
from tessera_core.lineage.attest.signing import (
    PAYLOAD_TYPE,
    key_id,
    open_envelope,
    read_private_key,
    read_public_key,
    sign,
)

PAYLOAD = b'{"_type": "https://in-toto.io/Statement/v1"}'


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def test_an_envelope_opens_with_its_key(key):
    assert open_envelope(sign(PAYLOAD, key), key.public_key()) == PAYLOAD


def test_the_signature_is_over_the_encoding_that_dsse_prescribes(key):
    envelope = sign(b"hello world", key)
    said = b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"

    signature = base64.b64decode(envelope["signatures"][0]["sig"])

    assert envelope["payloadType"] == PAYLOAD_TYPE
    key.public_key().verify(signature, said)


def test_the_same_key_and_statement_give_the_same_bytes(key):
    assert json.dumps(sign(PAYLOAD, key)) == json.dumps(sign(PAYLOAD, key))


def test_another_key_is_told_from_a_forgery(key):
    other = Ed25519PrivateKey.generate()
    envelope = sign(PAYLOAD, other)

    with pytest.raises(GateError, match=f"signed by {key_id(other.public_key())[:12]}, not by"):
        open_envelope(envelope, key.public_key())
    envelope["signatures"][0]["keyid"] = key_id(key.public_key())
    with pytest.raises(GateError, match="does not verify"):
        open_envelope(envelope, key.public_key())


@pytest.mark.parametrize("part", ["payload", "payloadType", "sig"])
def test_any_change_to_an_envelope_is_found(key, part):
    envelope = sign(PAYLOAD, key)
    changed = base64.b64encode(b"something else that is 64 bytes".ljust(64)).decode()
    if part == "sig":
        envelope["signatures"][0]["sig"] = changed
    else:
        envelope[part] = changed

    with pytest.raises(GateError, match=r"does not verify|expected 'application"):
        open_envelope(envelope, key.public_key())


@pytest.mark.parametrize("envelope", [None, [], {}, {"payloadType": PAYLOAD_TYPE, "payload": "?"}])
def test_what_is_no_envelope_is_said_to_be_none(key, envelope):
    with pytest.raises(GateError, match="no DSSE envelope"):
        open_envelope(envelope, key.public_key())


def test_keys_are_read_from_pem_files(key, tmp_path):
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(pem(key))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    read = read_private_key(private)

    assert key_id(read.public_key()) == key_id(read_public_key(public))


def test_a_key_that_cannot_be_used_is_refused_and_never_quoted(key, tmp_path):
    path = tmp_path / "key.pem"
    encrypted = pem(key, BestAvailableEncryption(b"word"))
    for content, message in (
        (encrypted, "is encrypted"),
        (pem(generate_private_key(SECP256R1())), "no Ed25519 key"),
        (b"SECRET-BYTES", "no PEM private key"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as refused:
            read_private_key(path)
        assert not [
            word
            for word in content.decode().split()
            if len(word) > 9 and word in str(refused.value)
        ]
    with pytest.raises(InputError, match="cannot read the key"):
        read_private_key(tmp_path / "absent.pem")


def test_a_signing_key_is_no_public_key(key, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))

    with pytest.raises(InputError, match="no PEM public key"):
        read_public_key(path)

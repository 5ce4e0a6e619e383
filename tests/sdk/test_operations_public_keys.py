"""Public keys: import, get, list and delete."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys import fingerprint, pem
from tenant import check_arn, conflicting, invalid, missing, over_quota


def imported(tenant, material, **members):
    return tenant.ivs.import_public_key(publicKeyMaterial=material, **members)["publicKey"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_imported_key_answers_what_it_was_given_and_its_fingerprint(tenant, ivs, newline):
    private = ec.generate_private_key(ec.SECP384R1())
    material = pem(key=private).replace("\n", newline)
    key = imported(tenant, material, name="signer_1", tags={"a": "b"})
    check_arn(tenant, "public-key", key["arn"])
    assert key == {
        "arn": key["arn"],
        "name": "signer_1",
        "publicKeyMaterial": material,
        "fingerprint": fingerprint(private),
        "tags": {"a": "b"},
    }
    assert ivs.get_public_key(arn=key["arn"])["publicKey"] == key


def test_a_key_needs_neither_name_nor_tags(tenant, ivs):
    key = imported(tenant, pem())
    assert (key["name"], key["tags"]) == ("", {})
    assert ivs.list_public_keys()["publicKeys"] == [{"arn": key["arn"], "name": "", "tags": {}}]


def test_the_same_key_is_not_imported_twice_however_it_is_written(tenant, greenroom):
    material = pem()
    first = imported(tenant, material)
    with conflicting():
        imported(tenant, material, name="other")
    with conflicting():
        imported(tenant, material.replace("\n", "\r\n"))
    imported(greenroom.tenant(), material)
    imported(tenant.elsewhere(), material)
    tenant.ivs.delete_public_key(arn=first["arn"])
    assert imported(tenant, material)["arn"] != first["arn"]


def labelled(body):
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


NOT_P_384 = {
    "P-256": pem(ec.SECP256R1()),
    "P-521": pem(ec.SECP521R1()),
    "RSA": pem(key=rsa.generate_private_key(65537, 2048)),
    "Ed25519": pem(key=ed25519.Ed25519PrivateKey.generate()),
}


@pytest.mark.parametrize("found", NOT_P_384)
def test_a_key_of_another_kind_is_refused_by_saying_what_it_is(tenant, found):
    with invalid("publicKeyMaterial"):
        imported(tenant, NOT_P_384[found])
    answer = tenant.wire.call("ImportPublicKey", {"publicKeyMaterial": NOT_P_384[found]})
    assert found.lower() in answer.text.lower(), answer.text


@pytest.mark.parametrize("body", ["AAAA", "====", "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE", "A" * 160, "=" * 20000])
def test_what_holds_no_key_is_invalid(tenant, body):
    with invalid("publicKeyMaterial"):
        imported(tenant, labelled(body))
    assert tenant.ivs.list_public_keys()["publicKeys"] == []


def test_a_point_off_the_curve_is_invalid(tenant):
    lines = pem().splitlines()
    lines[-2] = lines[-2][:-4] + ("AAAA" if lines[-2][-4:] != "AAAA" else "BBBB")
    with invalid("publicKeyMaterial"):
        imported(tenant, "\n".join(lines) + "\n")


def test_a_private_key_is_invalid_and_its_text_is_not_repeated(tenant):
    private = ec.generate_private_key(ec.SECP384R1())
    material = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    answer = tenant.wire.call("ImportPublicKey", {"publicKeyMaterial": material})
    assert answer.fault == "ValidationException"
    assert "'publicKeyMaterial'" in answer.text
    assert material.splitlines()[1] not in answer.text


@pytest.mark.parametrize("operation", ["get_public_key", "delete_public_key"])
def test_a_key_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    for other in (greenroom.tenant(), tenant.elsewhere()):
        arn = imported(other, pem())["arn"]
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)
    with missing(tenant.arn("public-key")):
        getattr(tenant.ivs, operation)(arn=tenant.arn("public-key"))
    with invalid("'arn'"):
        getattr(tenant.ivs, operation)(arn=tenant.stage())


def test_a_deleted_key_is_gone(tenant, ivs):
    gone, stays = imported(tenant, pem())["arn"], imported(tenant, pem())["arn"]
    ivs.delete_public_key(arn=gone)
    with missing(gone):
        ivs.get_public_key(arn=gone)
    with missing(gone):
        ivs.delete_public_key(arn=gone)
    assert [key["arn"] for key in ivs.list_public_keys()["publicKeys"]] == [stays]


def test_an_account_has_three_keys_in_a_region(tenant, ivs):
    first, *_ = [imported(tenant, pem())["arn"] for _ in range(3)]
    with over_quota():
        imported(tenant, pem())
    imported(tenant.elsewhere(), pem())
    ivs.delete_public_key(arn=first)
    imported(tenant, pem())

"""Certificates: where they come from, which names they hold, and where processes find them."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cases import PRODUCTION, rendered
from rendering import Object, find, kinds, pod_of, render, settings_of

MANAGED = {"tls": PRODUCTION["tls"]}


@pytest.fixture(scope="module")
def self_signed() -> list[Object]:
    return rendered("self-signed")


def certificate(objects: list[Object], secret: str, entry: str = "tls.crt") -> x509.Certificate:
    data = find(objects, "Secret", secret)["data"]
    return x509.load_pem_x509_certificate(base64.b64decode(data[entry]))


def names(found: x509.Certificate) -> set[str]:
    extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(extension.value.get_values_for_type(x509.DNSName))


def mounted(objects: list[Object], deployment: str) -> dict[str, str]:
    """Which Secret is at which folder."""
    pod = pod_of(objects, deployment)
    secrets = {
        each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each
    }
    return {
        each["mountPath"]: secrets[each["name"]]
        for each in pod["containers"][0]["volumeMounts"]
        if each["name"] in secrets
    }


def test_without_tls_nobody_is_told_of_any(defaults: list[Object]) -> None:
    for name in ("mesh-gateway", "mesh-classifier"):
        assert not [key for key in settings_of(defaults, name) if "TLS" in key]
    assert mounted(defaults, "mesh-classifier") == {}


def test_processes_find_their_certificates(self_signed: list[Object]) -> None:
    inside = {
        "MESH_INTERNAL_TLS_CERTIFICATE_PATH": "/etc/mesh/tls/internal/tls.crt",
        "MESH_INTERNAL_TLS_KEY_PATH": "/etc/mesh/tls/internal/tls.key",
        "MESH_INTERNAL_TLS_CA_PATH": "/etc/mesh/tls/internal/ca.crt",
    }
    gateway = settings_of(self_signed, "mesh-gateway")
    assert inside.items() <= gateway.items()
    assert inside.items() <= settings_of(self_signed, "mesh-classifier").items()
    assert gateway["MESH_GATEWAY_TLS_CERTIFICATE_PATH"] == "/etc/mesh/tls/door/tls.crt"
    assert gateway["MESH_GATEWAY_TLS_KEY_PATH"] == "/etc/mesh/tls/door/tls.key"
    assert mounted(self_signed, "mesh-gateway") == {
        "/etc/mesh/hashing-key": "mesh-hashing-key",
        "/etc/mesh/tls/door": "mesh-door-tls",
        "/etc/mesh/tls/internal": "mesh-gateway-internal-tls",
    }
    assert mounted(self_signed, "mesh-classifier") == {
        "/etc/mesh/tls/internal": "mesh-classifier-internal-tls"
    }


def test_secrets_are_mounted_whole_so_that_new_certificates_arrive(case: list[Object]) -> None:
    for deployment in ("mesh-gateway", "mesh-classifier"):
        for each in pod_of(case, deployment)["containers"][0]["volumeMounts"]:
            assert "subPath" not in each


def test_made_certificates_inside_are_signed_by_one_authority(self_signed: list[Object]) -> None:
    authority = certificate(self_signed, "mesh-internal-ca")
    for component in ("gateway", "classifier"):
        secret = f"mesh-{component}-internal-tls"
        own = certificate(self_signed, secret)
        own.verify_directly_issued_by(authority)
        assert certificate(self_signed, secret, "ca.crt") == authority
        assert names(own) == {
            f"mesh-{component}",
            f"mesh-{component}.default",
            f"mesh-{component}.default.svc",
            f"mesh-{component}.default.svc.cluster.local",
            "localhost",
        }
        usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert ExtendedKeyUsageOID.SERVER_AUTH in usage
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
        assert own.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)


def test_a_made_certificate_for_the_door(self_signed: list[Object]) -> None:
    assert names(certificate(self_signed, "mesh-door-tls")) == {
        "mesh-gateway",
        "mesh-gateway.default.svc",
        "localhost",
    }
    named = render(
        {"tls": {"door": {"enabled": True, "selfSigned": True, "dnsNames": ["api.example.com"]}}}
    )
    assert names(certificate(named, "mesh-door-tls")) == {"api.example.com"}


def test_made_ones_go_with_an_uninstall(self_signed: list[Object]) -> None:
    # Others can be made, so nothing is left behind but what can't.
    for secret in ("mesh-door-tls", "mesh-internal-ca", "mesh-classifier-internal-tls"):
        assert "annotations" not in find(self_signed, "Secret", secret)["metadata"]


def test_cert_manager_is_asked_for_the_same_secrets_and_names(self_signed: list[Object]) -> None:
    objects = render(MANAGED)
    made = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Certificate"}
    assert set(made) == {
        "mesh-door-tls",
        "mesh-gateway-internal-tls",
        "mesh-classifier-internal-tls",
        "mesh-embedder-internal-tls",
    }
    assert made["mesh-door-tls"]["spec"]["dnsNames"] == ["api.example.com"]
    assert made["mesh-door-tls"]["spec"]["issuerRef"] == {
        "name": "public",
        "kind": "ClusterIssuer",
    }
    inside = made["mesh-classifier-internal-tls"]["spec"]
    assert inside["secretName"] == "mesh-classifier-internal-tls"
    assert inside["issuerRef"] == {"name": "mesh"}
    wanted = names(certificate(self_signed, "mesh-classifier-internal-tls"))
    assert set(inside["dnsNames"]) == wanted
    assert {"server auth", "client auth"} <= set(inside["usages"])
    assert mounted(objects, "mesh-classifier") == mounted(self_signed, "mesh-classifier")


def test_secrets_of_ones_own_are_used_as_they_are() -> None:
    objects = render(
        {
            "tls": {
                "door": {"enabled": True, "existingSecret": "door"},
                "internal": {"enabled": True, "existingSecret": "inside"},
            },
            "services": {"classifier": {"internalTlsSecret": "classifier"}},
        }
    )
    assert "Certificate" not in kinds(objects)
    assert mounted(objects, "mesh-gateway")["/etc/mesh/tls/door"] == "door"
    assert mounted(objects, "mesh-gateway")["/etc/mesh/tls/internal"] == "inside"
    assert mounted(objects, "mesh-classifier")["/etc/mesh/tls/internal"] == "classifier"


def test_helm_s_test_trusts_the_door_s_certificate_and_has_no_key_of_it(
    self_signed: list[Object],
) -> None:
    pod = find(self_signed, "Pod", "mesh-test")["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["TEST_URL"] == "https://mesh-gateway:8080"
    assert variables["TEST_CERTIFICATE"] == "/etc/mesh/tls/door/tls.crt"
    (door,) = [each for each in pod["volumes"] if each["name"] == "door-tls"]
    assert door["secret"]["items"] == [{"key": "tls.crt", "path": "tls.crt"}]

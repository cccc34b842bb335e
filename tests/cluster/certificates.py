"""The certificate authority of a cluster, and kubeconfigs with certificates of it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_HOUR = dt.timedelta(hours=1)
_LIFE = dt.timedelta(days=30)


class Authority:
    """A new key and its own certificate. In `folder`: ca.crt and ca.key, and all that it issues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject("bascule-test", ())
        draft = _draft(self._name, self._name, self._key.public_key())
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._write("ca", self._key, draft.sign(self._key, hashes.SHA256()))

    def issue(self, file: str, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> None:
        """Write `file`.crt and `file`.key: for the client `user` in `groups`, and for a server that is reached as one of `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        draft = _draft(_subject(user, groups), self._name, key.public_key())
        draft = draft.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            draft = draft.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        self._write(file, key, draft.sign(self._key, hashes.SHA256()))

    def kubeconfig(self, file: Path, server: str, user: str, groups: Sequence[str] = ()) -> None:
        """Write `file`: who uses it is `user` in `groups` at the API server `server`."""
        self.issue(file.name, user, groups)
        cluster = {"server": server, "certificate-authority-data": self._base64("ca.crt")}
        identity = {"client-certificate-data": self._base64(f"{file.name}.crt"), "client-key-data": self._base64(f"{file.name}.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bascule-test", "cluster": cluster}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": "bascule-test", "context": {"cluster": "bascule-test", "user": user}}],
            "current-context": "bascule-test",
        }
        file.write_text(json.dumps(config, indent=1))

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        (self.folder / f"{file}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _base64(self, name: str) -> str:
        return b64encode((self.folder / name).read_bytes()).decode()


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    """As Kubernetes reads it: the common name is the user, each organisation a group."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    draft = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return draft.serial_number(x509.random_serial_number()).not_valid_before(now - _HOUR).not_valid_after(now + _LIFE)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

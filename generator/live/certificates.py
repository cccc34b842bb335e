"""The certificates of the admission webhook: an authority of our own and a chain for its Service, made and renewed by us.

They are kept in Secret gefyra/bascule-admission-certs, where every replica finds the same:
    tls.crt, tls.key    the chain that is shown, and its key
    ca.crt              the authorities that the API server is to trust, the newest first
    ca.key              the key of the newest
A new authority is added long before a chain is signed by it, and the old one stays until it expires: at no time does the API
server meet a chain that it does not trust. Where somebody empties the Secret, or puts others there, it also trusts what a replica
shows until then. Keys are ECDSA P-256 (FIPS 186-5); lifetimes as the certificates of kubeadm and cert-manager have them: 10 years
and 90 days, renewed after two thirds.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from generator.cluster.snapshot import Key, Obj
from generator.live.failures import Conflict, Forbidden, Invalid, NotFound
from generator.live.kube import Kube, guard
from generator.names import CONTROL_NAMESPACE, MANAGED_BY, MANAGER
from generator.patch import Op

_log: Final = logging.getLogger(__name__)
SERVICE: Final = "gefyra-admission"
HOST: Final = f"{SERVICE}.{CONTROL_NAMESPACE}.svc"
"""The name that the API server asks for (admissionregistration.k8s.io/v1, ServiceReference)."""
SECRET: Final = Key("Secret", CONTROL_NAMESPACE, "bascule-admission-certs")
CONFIGURATION: Final = Key("ValidatingWebhookConfiguration", "", "gefyra.dev")
OLDER: Final = Key("MutatingWebhookConfiguration", "", "bascule-held")
"""It, and the right to it, is there on servers before Kubernetes 1.36 only."""
AUTHORITY: Final = timedelta(days=3650)
CHAIN: Final = timedelta(days=90)
_SKEW: Final = timedelta(minutes=10)
"""How far behind the API server's clock may be."""
_ATTEMPTS: Final = 5


class Kept(NamedTuple):
    """What the Secret holds, each as PEM."""

    chain: bytes
    key: bytes
    authorities: bytes
    authority_key: bytes


def renewed(kept: Kept | None, now: datetime) -> Kept:
    """What should be kept from now on: `kept` itself while it will do, else the next step. Only keys and serial numbers are random.

    kept: None where there is nothing that can be used. now: with a zone.
    """
    authorities = [a for a in x509.load_pem_x509_certificates(kept.authorities) if now < a.not_valid_after_utc] if kept else []
    if kept is None or not authorities:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _authority(key, now)
        return Kept(*_chain(authority, key, now), _pem(authority), _key_pem(key))
    if _due(authorities[0], now):
        key = ec.generate_private_key(ec.SECP256R1())
        return kept._replace(authorities=b"".join(map(_pem, [_authority(key, now), *authorities])), authority_key=_key_pem(key))
    if _due(x509.load_pem_x509_certificate(kept.chain), now):
        chain, chain_key = _chain(authorities[0], _private(kept.authority_key), now)
        return kept._replace(chain=chain, key=chain_key)
    return kept._replace(authorities=b"".join(map(_pem, authorities)))


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of its life are over, or it has not begun."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return not begin <= now < begin + (end - begin) * 2 / 3


def usable(kept: Kept) -> bool:
    """Whether the parts belong together and the chain is one for our host."""
    try:
        chain, authorities = x509.load_pem_x509_certificate(kept.chain), x509.load_pem_x509_certificates(kept.authorities)
        names = chain.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        signers = [a for a in authorities if a.subject == chain.issuer]
        for signer in signers:
            chain.verify_directly_issued_by(signer)
        pairs = ((kept.key, chain), (kept.authority_key, authorities[0]))
        return bool(signers) and HOST in names and all(_private(key).public_key() == c.public_key() for key, c in pairs)
    except (ValueError, TypeError, IndexError, x509.ExtensionNotFound, InvalidSignature):
        return False


def trusting(configuration: Obj, authorities: bytes) -> list[Op]:
    """The operations after which the webhooks of a configuration that lead to our Service trust the authorities; none if they do."""
    bundle, found = base64.b64encode(authorities).decode(), list[Op]()
    for index, hook in enumerate(configuration.get("webhooks") or ()):
        client = hook["clientConfig"]
        service = client.get("service") or {}
        if (service.get("namespace"), service.get("name")) == (CONTROL_NAMESPACE, SERVICE) and client.get("caBundle") != bundle:
            found.append({"op": "test", "path": f"/webhooks/{index}/name", "value": hook["name"]})
            found.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle})
    return [guard(configuration), *found] if found else []


def keep(kube: Kube, now: datetime, shown: Kept | None = None) -> Kept:
    """The certificates of now, in the Secret and trusted by the API server. For every replica, at the start and each minute.

    shown: what this replica shows, and shows until this returns; None at the start. Raises KubeError; call again.
    """
    for _ in range(_ATTEMPTS):
        try:
            secret: Obj | None = kube.get(SECRET)
        except NotFound:
            secret = None
        kept = _read(secret) if secret else None
        if kept:
            trust(kube, together(kept, shown), again=shown is not None)  # before a chain may come that needs the newest of them
        wanted = renewed(kept, now)
        if wanted == kept:
            return kept
        _log.info("new %s", "certificates" if kept is None else "chain" if kept.authorities == wanted.authorities else "authority")
        with contextlib.suppress(Conflict, Invalid):  # another replica was faster: what it has made is read then
            _write(kube, secret, wanted)
    raise Conflict(f"{SECRET} changes all the time")


def together(kept: Kept, shown: Kept | None) -> bytes:
    """The authorities to trust: those that are kept, then those of what is shown still, each once."""
    pems = [_pem(a) for each in (kept, shown) if each for a in x509.load_pem_x509_certificates(each.authorities)]
    return b"".join(dict.fromkeys(pems))


def trust(kube: Kube, authorities: bytes, *, again: bool = False) -> None:
    """Let each webhook configuration that is there trust the authorities. again: nobody is warned once more. Raises KubeError."""
    for key in (CONFIGURATION, OLDER):
        for _ in range(_ATTEMPTS):
            try:
                if operations := trusting(kube.get(key), authorities):
                    kube.patch(key, operations)
            except NotFound:
                pass
            except Forbidden as error:
                if key != OLDER and not again:
                    _log.warning("%s does not trust the webhook, unless an administrator sees to it: %s", key, error)
            except (Conflict, Invalid):
                continue
            break
        else:
            raise Conflict(f"{key} changes all the time")


def _read(secret: Obj) -> Kept | None:
    data = secret.get("data") or {}
    try:
        kept = Kept(*(base64.b64decode(data[name], validate=True) for name in _DATA))
    except (KeyError, ValueError):
        return None
    return kept if usable(kept) else None


_DATA: Final = ("tls.crt", "tls.key", "ca.crt", "ca.key")


def _write(kube: Kube, secret: Obj | None, kept: Kept) -> None:
    data = {name: base64.b64encode(part).decode() for name, part in zip(_DATA, kept, strict=True)}
    if secret is None:
        metadata = {"name": SECRET.name, "namespace": SECRET.namespace, "labels": {MANAGED_BY: MANAGER}}
        kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data})
    else:
        kube.patch(SECRET, [guard(secret), {"op": "add", "path": "/data", "value": data}])


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bascule admission {now:%Y-%m-%dT%H:%M:%SZ}")])
    usage = x509.KeyUsage(*(field in ("key_cert_sign", "crl_sign") for field in _USAGES))
    return (
        _begun(name, name, key, now, AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _chain(authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, now: datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    usage = x509.KeyUsage(*(field == "digital_signature" for field in _USAGES))
    made = (
        _begun(name, authority.subject, key, now, CHAIN)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _pem(made), _key_pem(key)


_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
"""The parameters of x509.KeyUsage, in their order."""


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("another kind of key")
    return key

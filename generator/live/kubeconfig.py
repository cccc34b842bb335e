"""The files of KUBECONFIG -> one context with its cluster and user, as pykube takes it; each mistake with its file and field.

Files and how they are merged: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files".
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import pykube

from generator.cluster.snapshot import Obj
from generator.errors import InputError, Problem
from generator.live import credentials, entries
from generator.live.entries import EXAMPLES, FILES, Entry, text, wrong
from generator.live.failures import KubeError
from generator.text import jsonreader, yamlreader
from generator.text.walk import Place

_HOME: Final = "~/.kube/config"
_PARTS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}
"""Lists of a kubeconfig, and what an item has beside its name."""
_NAMES: Final = {"clusters": "shared", "users": "alice", "contexts": "dev"}
"""Of examples."""


class _Merged(NamedTuple):
    """All files as one. source: their names. parts: of clusters, users and contexts the entries by name."""

    source: str
    current: str
    parts: dict[str, dict[str, Entry]]


def chosen(context: str | None) -> pykube.KubeConfig:
    """The context of that name, by default the current one, alone; its files can be read, and their paths are whole.

    Raises KubeError where there is no such context, InputError (KubeconfigInvalid, YamlSyntax, ...) where it cannot be used, OSError
    where this machine has no room for the keys.
    """
    problems: list[Problem] = []
    merged = _merged(problems)
    contexts = merged.parts["contexts"]
    name = merged.current if context is None else context
    known = ", ".join(sorted(contexts)) or "none"
    if name not in contexts:
        if name and context is None:
            cure = f"Of contexts there are {known}; an example: kubectl config use-context {min(contexts, default='dev')}"
            wrong(Place(merged.source, problems, "current-context"), f"there is no context {name!r}", cure)
            _stop(problems)
        what = f"has no context {name!r}" if name else "has no current-context"
        raise KubeError(f"the kubeconfig {merged.source} {what}; of contexts it has {known}")
    about = entries.texts(contexts[name], "contexts")
    cluster = _named(merged, contexts[name], about, "clusters", needed=True)
    user = _named(merged, contexts[name], about, "users", needed=False)
    address, login = entries.cluster(cluster) if cluster else {}, entries.user(user) if user else {}
    _stop(problems)
    config = pykube.KubeConfig(
        {
            "clusters": [{"name": about["cluster"], "cluster": address}],
            "users": [{"name": about.get("user", ""), "user": login}],
            "contexts": [{"name": name, "context": {"user": "", **about}}],
            "current-context": name,
        }
    )
    credentials.keep_private(config)
    _try_tls(config, cluster, user)
    _stop(problems)
    return config


def _stop(problems: list[Problem]) -> None:
    if problems:
        raise InputError(*problems)


def _merged(problems: list[Problem]) -> _Merged:
    """The first file that has a name, or a current-context, wins; one that is not there is left out.

    Raises KubeError where none is there, InputError where one is no kubeconfig.
    """
    files = [f for f in dict.fromkeys((os.environ.get("KUBECONFIG") or _HOME).split(os.pathsep)) if f]
    source, current, parts = ", ".join(files) or "in KUBECONFIG", "", {part: dict[str, Entry]() for part in _PARTS}
    there = False
    for file in files:
        place = Place(file, problems)
        try:
            path = Path(file).expanduser().absolute()
            raw = path.read_bytes()
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or "nobody knows your home folder"
            wrong(place, why, "Set KUBECONFIG to a file that you can read, as in KUBECONFIG=$HOME/.kube/config.")
            continue
        there = True
        document = _document(place, raw)
        current = current or text(document.get("current-context")) or ""
        for part in _PARTS:
            parts[part] = {**dict(_entries(place.field(part), path.parent, document.get(part), part)), **parts[part]}
    _stop(problems)
    if not there:
        raise KubeError(f"there is no kubeconfig {source}")
    return _Merged(source, current, parts)


def _document(place: Place, raw: bytes) -> Obj:
    """The one mapping of a file, an empty one for an empty file."""
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place.report("NotText", f"the kubeconfig is not UTF-8 text: {error.reason} at position {error.start}", "Save it as UTF-8.")
        return {}
    reader = jsonreader.documents if jsonreader.looks_like_json(decoded) else yamlreader.documents
    documents, problems = reader(decoded, place.head)
    for problem in (p for p in problems if p.code != "AmbiguousScalar"):  # where it may stand it is text
        place.problems.append(replace(problem, message=problem.message.partition(": `")[0]))  # not the line: it may hold a key
    values = [d.value for d in documents if d.value is not None]
    if values and (len(values) > 1 or not isinstance(values[0], dict)):
        what = f"{len(values)} documents stand" if len(values) > 1 else "a list or a text stands"
        wrong(place, f"{what} where one mapping belongs", "`kubectl config view --flatten` prints a whole kubeconfig.")
        return {}
    return values[0] if values else {}


def _entries(place: Place, folder: Path, items: object, part: str) -> Iterator[tuple[str, Entry]]:
    """The items of a list by name."""
    field, (key, value) = _PARTS[part], next(iter(EXAMPLES[part].items()))
    example = f"An example: {part}: [{{name: {_NAMES[part]}, {field}: {{{key}: {value}}}}}]"
    if not isinstance(items, list | None):
        wrong(place, "it is not a list", example)
        return
    seen: set[str] = set()
    for number, item in enumerate(items or ()):
        name, content = (text(item.get("name")), item.get(field) or {}) if isinstance(item, dict) else (None, None)
        if not name or not isinstance(content, dict):
            wrong(place.item(number), f"it is not a name with a mapping `{field}`", example)
        elif name in seen:
            wrong(place.item(number), f"the name {name!r} is there twice", "Give one of the two another name.")
        else:
            seen.add(name)
            yield name, Entry(place.field(name), folder, content)


def _named(merged: _Merged, context: Entry, about: Mapping[str, str], part: str, *, needed: bool) -> Entry | None:
    """The cluster or user that a context names."""
    field, known = _PARTS[part], merged.parts[part]
    name = about.get(field, "")
    if name not in known and (name or needed) and not context.place.field(field).reported:
        message = f"there is no {field} {name!r}" if name else f"no {field} is named"
        cure = f"Of {part} there are {', '.join(sorted(known)) or 'none'}; an example: {field}: {min(known, default='shared')}"
        wrong(context.place.field(field), message, cure)
    return known.get(name)


def _try_tls(config: pykube.KubeConfig, cluster: Entry | None, user: Entry | None) -> None:
    """Let OpenSSL read the certificates and the key, as each connection will."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority, certificate, key = FILES
    if cluster and authority in config.cluster:
        try:
            tls.load_verify_locations(config.cluster[authority].filename())
        except ssl.SSLError:
            _not_pem(cluster, authority, "it holds no certificate", "It begins with -----BEGIN CERTIFICATE-----")
    if user and certificate in config.user:
        try:
            tls.load_cert_chain(config.user[certificate].filename(), config.user[key].filename(), password="")
        except ssl.SSLError:
            what = f"it is no key without a passphrase that belongs to {certificate}"
            _not_pem(user, key, what, f"{key} begins with -----BEGIN PRIVATE KEY-----, {certificate} with -----BEGIN CERTIFICATE-----")


def _not_pem(entry: Entry, field: str, message: str, cure: str) -> None:
    data = f"{field}-data"
    wrong(entry.place.field(data if entry.value.get(data) else field), message, f"{cure} (PEM, RFC 7468).")

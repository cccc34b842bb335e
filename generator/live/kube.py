"""One account on one API server: objects in and out, JSON patches, lists, watches. Nothing else in the project speaks HTTP to it.

Built on pykube-ng for the kubeconfig, certificates and connections. What pykube leaves open is closed here: typed errors
(failures.py), tokens that rotate, exec plugins of client.authentication.k8s.io/v1, lists that come in pages, watches that end.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pykube
import requests
import urllib3
from pykube.http import KubernetesHTTPAdapter

from generator.cluster.snapshot import OUR_KINDS, Key, Obj
from generator.errors import InputError, Problem
from generator.live import credentials, kubeconfig
from generator.live.failures import Cut, KubeError, Unreachable, failure
from generator.live.sharing import shared
from generator.patch import Op

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 500
"""Objects in one page of a list, as kubectl's `--chunk-size`."""
_CONNECTIONS = 1024
"""Connections that are kept for the next request: as many as an operator watches kinds of namespaces, which may all be cut at once.
urllib3 logs a warning for each that it cannot keep."""
TIMEOUT = (5, 60)
"""Seconds to connect, and without a byte."""


class Resource(NamedTuple):
    """Where objects of a kind live."""

    api_version: str
    plural: str
    namespaced: bool = True


RESOURCES = {
    **{kind: Resource("v1", f"{kind.lower()}s") for kind in ("Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "ResourceQuota")},
    **{kind: Resource("v1", f"{kind.lower()}s") for kind in ("PersistentVolumeClaim", "ReplicationController")},
    **{kind: Resource("v1", f"{kind.lower()}s", namespaced=False) for kind in ("Namespace", "Node", "PersistentVolume")},
    **{kind: Resource("apps/v1", f"{kind.lower()}s") for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")},
    "Job": Resource("batch/v1", "jobs"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": Resource("autoscaling/v2", "horizontalpodautoscalers"),
    "StorageClass": Resource("storage.k8s.io/v1", "storageclasses", namespaced=False),
    **{kind: Resource("rbac.authorization.k8s.io/v1", f"{kind.lower()}s") for kind in ("Role", "RoleBinding")},
    "Lease": Resource("coordination.k8s.io/v1", "leases"),
    "Event": Resource("events.k8s.io/v1", "events"),
    "ValidatingWebhookConfiguration": Resource("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", namespaced=False),
    "MutatingWebhookConfiguration": Resource("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", namespaced=False),
    **{kind: Resource("gefyra.dev/v1", f"{plural}s") for plural, kind in OUR_KINDS.items()},
}


class Way(NamedTuple):
    """How another connection gets to the API server.

    headers: of the account. tls: None for plain HTTP. name: what the server's certificate is for, "" for its host. proxy: "" for none.
    """

    headers: dict[str, str]
    tls: ssl.SSLContext | None
    name: str
    proxy: str


class Kube:
    """An account on an API server; any thread may use it. A connection that one has done with is the next one's.

    Each method raises a KubeError when the server does not do it.
    """

    def __init__(self, config: pykube.KubeConfig, *, dry_run: bool = False) -> None:
        """dry_run: the server judges every write and keeps none (`dryRun=All`)."""
        self._config, self._dry_run, self._local = config, dry_run, threading.local()
        credentials.keep_private(config)
        self._account = Account(config, pool_maxsize=_CONNECTIONS)
        self.server: str = config.cluster["server"].rstrip("/")
        self.namespace: str = config.namespace or "default"
        """Of the context; `default` where it names none."""

    @property
    def user(self) -> str:
        """The name that the kubeconfig gives to the account."""
        return str(self._config.contexts[self._config.current_context]["user"])

    def get(self, key: Key) -> Obj:
        """The object."""
        return self._call("GET", path(key.kind, key.namespace, key.name))

    def list_objects(self, kind: str, namespace: str = "", selector: str = "") -> tuple[list[Obj], str]:
        """Every object of a kind (namespace "": of all), with apiVersion and kind, and the resourceVersion of the list."""
        found: list[Obj] = []
        query = {"limit": str(_PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = self._call("GET", path(kind, namespace), query)
            try:
                for item in page.get("items") or ():
                    item["metadata"]["name"]  # each has one
                    found.append(shared(typed(kind, item), found[-1] if found else None))
                version, more = page["metadata"]["resourceVersion"], page["metadata"].get("continue")
            except (KeyError, TypeError, AttributeError):
                raise _no_api_server("GET", path(kind, namespace)) from None
            if not more:
                return found, version
            query["continue"] = more

    def watch(self, kind: str, namespace: str, version: str, seconds: int) -> Iterator[tuple[str, Obj]]:
        """(ADDED, MODIFIED, DELETED or BOOKMARK; object) from `version` on, until the server ends it after `seconds`. Raises Gone."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
        try:
            response = self._send("GET", path(kind, namespace), query, stream=True, timeout=(TIMEOUT[0], seconds + 30))
            with response:
                for line in response.iter_lines(chunk_size=65536):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise failure(status.get("code", 500), status, {}, f"watch {kind}")
                    yield event["type"], typed(kind, event["object"])
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, AttributeError) as error:
            raise Cut(f"watch {kind}: {error}") from error

    def create(self, obj: Obj) -> Obj:
        """The object as the server made it."""
        return self._call("POST", path(obj["kind"], obj["metadata"].get("namespace", "")), body=obj)

    def patch(self, key: Key, operations: tuple[Op, ...] | list[Op], subresource: str = "") -> Obj:
        """The object after the RFC 6902 operations. Raises Invalid when a `test` fails, Conflict when the resourceVersion is old."""
        where = path(key.kind, key.namespace, key.name) + (f"/{subresource}" if subresource else "")
        return self._call("PATCH", where, body=list(operations), content="application/json-patch+json")

    def merge(self, key: Key, body: Obj) -> Obj:
        """The object after a merge patch (RFC 7386)."""
        return self._call("PATCH", path(key.kind, key.namespace, key.name), body=body, content="application/merge-patch+json")

    def replace(self, obj: Obj) -> Obj:
        """The object, written whole; its resourceVersion guards it. Raises Conflict."""
        metadata = obj["metadata"]
        return self._call("PUT", path(obj["kind"], metadata.get("namespace", ""), metadata["name"]), body=obj)

    def delete(self, key: Key, uid: str | None = None, version: str | None = None) -> Obj | None:
        """Delete it, if it has that uid and resourceVersion; the object as it is while it ends, None when it is gone.

        Raises NotFound when it is not there, Conflict when it is another one.
        """
        body: Obj = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if found := {name: value for name, value in (("uid", uid), ("resourceVersion", version)) if value}:
            body["preconditions"] = found
        if self._dry_run:
            body["dryRun"] = ["All"]  # with a body the server does not look at the query
        left = self._call("DELETE", path(key.kind, key.namespace, key.name), body=body)
        return left if left["kind"] != "Status" and left["metadata"].get("deletionTimestamp") else None

    def dial(self) -> Way:
        """The way of this account, for a websocket to the same server."""
        request = requests.Request("GET", self.server).prepare()
        settings: dict[str, Any] = {}
        self._account.authorize(request, settings)
        headers = {"Authorization": request.headers["Authorization"]} if "Authorization" in request.headers else {}
        if not self.server.startswith("https:"):
            return Way(headers, None, "", "")
        verify = settings.get("verify", True)
        try:
            context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
            if verify is False:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if "cert" in settings:
                context.load_cert_chain(*settings["cert"])
        except OSError as error:
            raise Unreachable(f"the certificates of the kubeconfig cannot be read any more: {error.strerror}") from error
        return Way(headers, context, self._config.cluster.get("tls-server-name", ""), self._session.proxies.get("https", ""))

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.trust_env = False  # REQUESTS_CA_BUNDLE would win over the cluster's own authority
            session.proxies = {"https": self._config.cluster["proxy-url"]} if "proxy-url" in self._config.cluster else {}
            session.mount("https://", self._account)
            session.mount("http://", self._account)
            self._local.session = session
        result: requests.Session = self._local.session
        return result

    def _send(self, method: str, where: str, query: Mapping[str, str], **rest: Any) -> requests.Response:
        if self._dry_run and method != "GET":
            query = {**query, "dryRun": "All"}
        try:
            response = self._session.request(method, self.server + where, params=dict(query), **{"timeout": TIMEOUT, **rest})
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unreachable(f"{method} {self.server}{where}: {error}") from error
        if response.status_code >= 400:
            try:
                body = response.json()
            except ValueError:
                body = None
            if response.status_code == 400 and not isinstance(body, dict):  # of net/http: HTTP was sent where TLS is spoken
                raise Unreachable(f"{method} {self.server}{where}: {' '.join(response.text.split())[:200]}")
            raise failure(response.status_code, body if isinstance(body, dict) else {}, response.headers, f"{method} {where}")
        return response

    def _call(
        self, method: str, where: str, query: Mapping[str, str] | None = None, body: object = None, content: str = "application/json"
    ) -> Obj:
        data = None if body is None else written(body)
        response = self._send(method, where, query or {}, data=data, headers={"Content-Type": content} if data else {})
        try:
            result: Obj = json.loads(response.content)
            (result.get("metadata") or {}).pop("managedFields", None)
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise _no_api_server(method, where) from None
        return result


def _no_api_server(method: str, where: str) -> Unreachable:
    """For an answer of another form than an API server's."""
    return Unreachable(f"{method} {where}: the answer is no Kubernetes object; is this an API server?")


class Account(KubernetesHTTPAdapter):  # type: ignore[misc]  # pykube has no types
    """pykube's adapter, with tokens that are read again when they change and exec plugins that are asked when they expire."""

    def authorize(self, request: requests.PreparedRequest, settings: dict[str, Any]) -> None:
        """Put what the account needs into the request and its settings (`cert`, `verify`)."""
        self._setup_request_auth(self.kube_config, request, settings)
        self._setup_request_certificates(self.kube_config, request, settings)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """As requests has it; pykube keeps `tls-server-name` to connections without a proxy."""
        name = self.kube_config.cluster.get("tls-server-name")
        return super().proxy_manager_for(proxy, **more, **({"assert_hostname": name, "server_hostname": name} if name else {}))

    def _setup_request_auth(self, config: pykube.KubeConfig, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> Any:
        token = credentials.token(config.user)
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
            return None
        return super()._setup_request_auth(config, request, kwargs)


def guard(obj: Obj) -> Op:
    """The first operation of a patch that is meant for the object as it is here, and for no other."""
    return {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}


def written(body: object) -> bytes:
    """JSON as the API server writes it (Go's encoding/json): the text of a patch's `test` it compares as it is spelled (tried)."""
    text = json.dumps(body, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode(errors="backslashreplace")  # half a pair of surrogates, as JSON spells it


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of an object, or of all objects of a kind in a namespace or the cluster."""
    api_version, plural, namespaced = RESOURCES[OUR_KINDS.get(kind.lower(), kind)]
    base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    place = f"/namespaces/{namespace}" if namespaced and namespace else ""
    return f"{base}{place}/{plural}" + (f"/{name}" if name else "")


def typed(kind: str, item: Obj) -> Obj:
    """A list's item with the apiVersion and kind that lists leave out, and without managedFields, which nobody here reads."""
    metadata = item.get("metadata") or {}
    metadata.pop("managedFields", None)
    return item if "kind" in item else {"apiVersion": RESOURCES[kind].api_version, "kind": kind, **item}


def connect(context: str | None = None, *, dry_run: bool = False) -> Kube:
    """The account of this process: the Pod's ServiceAccount in a cluster, else KUBECONFIG or ~/.kube/config.

    context: of the kubeconfig; its current one by default. Raises KubeError when there is no account, NoCredential when it cannot log in,
    InputError for what is wrong in a kubeconfig.
    """
    inside = context is None and "KUBECONFIG" not in os.environ and (_ACCOUNT / "token").exists()
    try:
        config = _of_pod() if inside else kubeconfig.chosen(context)
        made = Kube(config, dry_run=dry_run)
    except OSError as error:
        cure = "Set TMPDIR to a folder with room, as in TMPDIR=/var/tmp."
        place = str(error.filename or "the folder for temporary files")
        raise InputError(Problem("FileNotWritable", place, error.strerror or str(error), cure)) from error
    credentials.token(config.user)  # once, before threads ask for it
    return made


def _of_pod() -> pykube.KubeConfig:
    try:
        config = pykube.KubeConfig.from_service_account(_ACCOUNT)
    except (OSError, KeyError) as error:
        missing = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{error.args[0]} is not set"
        raise KubeError(f"the Pod's account is not whole: {missing}") from error
    config.doc["users"][0]["user"] = {"tokenFile": str(_ACCOUNT / "token")}
    return config

"""Each label, annotation, name and number that more than one module knows: the only place a literal is spelled."""

from __future__ import annotations

import hashlib

GROUP = "bascule.dev"
API_VERSION = "gefyra.dev/v1"
CONTROL_NAMESPACE = "gefyra"
RECORDED = (
    "pods,services,deployments,replicasets,statefulsets,daemonsets,endpointslices,"
    "networkpolicies,pdb,hpa,pvc,resourcequotas,configmaps"
)  # what `kubectl get` has to record of a namespace
SETTINGS_CONFIGMAP = "bascule"
DEFAULT_CARRIER_IMAGE = "bascule-carrier2:0.1.0"
RELAY = "bascule-relay"  # the relay's Service, StatefulSet and ConfigMap, in the control namespace
STOWAWAY = "gefyra-stowaway"  # Gefyra's WireGuard server: what begins the names of its objects, in the control namespace
RELAY_HOST = f"{RELAY}.{CONTROL_NAMESPACE}.svc"
RELAY_FIRST, RELAY_LAST, RELAY_BLOCK = 20000, 61983, 32  # ports that users listen on, and how many are one client's; relay/image/principals

CLIENT = "gefyra.dev/client"  # on a bridge: the name of its client, "" where that is no label
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "bascule"

# labels
ROLE = f"{GROUP}/role"  # shadow, stand-in, service, carrier-config, policy, connection: on every object of ours
TARGET = f"{GROUP}/target"  # id of the workload, or STOWAWAY: on every object of ours
CARRIER = f"{GROUP}/carrier"  # id of the workload: on an original from its hold until it is restored, and on a stand-in
SERVES = f"{GROUP}/serves"  # "true" on a shadow that Service Y' selects
HELD = f"{GROUP}/held"  # "true" on a Pod kept out of its Services' endpoints

# annotations
WORKLOAD = f"{GROUP}/workload"  # Kind/name, on every object of ours
SHADOW = f"{GROUP}/shadow"  # on an original: the name of its own shadow
SPEC_HASH = f"{GROUP}/spec-hash"  # on a shadow or stand-in
CONFIG_HASH = f"{GROUP}/config-hash"  # on a carrier ConfigMap
HTTP_PORTS = f"{GROUP}/http-ports"  # on a carrier ConfigMap: ports that have had rules, "8080 8081"
DRAINED_SINCE = f"{GROUP}/drained-since"  # RFC 3339: since when no EndpointSlice lists this Pod as ready
WAITS_SINCE = f"{GROUP}/waits-since"  # RFC 3339: since when an original waits for a stand-in, to be restored
FLOOR = f"{GROUP}/shadow-floor"  # on Service Y': originals when the mount began
RELAY_PORTS = f"{GROUP}/relay-ports"  # on a GefyraClient: the first of its ports of the relay
AWAY_GRACE = f"{GROUP}/away-grace"  # on a bridge, from its owner: seconds for which its client may be away before it is removed

# annotations with the container's name behind the slash: one plain value per container, no JSON inside JSON
ORIGINAL_IMAGE = "original-image.bascule.dev/"
REPLACED = "replaced-container.bascule.dev/"  # containerID that an image patch is replacing
CONFIRMED = "carrier-config.bascule.dev/"  # <hash>@<containerID> that the carrier has confirmed

REFUSED = "carrier-refused.bascule.dev/"  # <hash> and why the carrier has not taken that configuration

# kube-proxy syncs at most once a second (--iptables-min-sync-period 1s); measured: 1.2 s loses nothing
SETTLE_SECONDS = 1.2
# a Pod of ours that nobody waits for any more: on a node that is short of CPU kube-proxy has been two seconds late
REST_SECONDS = 3.0

HELD_REASON = "Held"  # of the condition Ready that we hold at False; overlays/base/admission/held.yaml has it too

BOUND_TO_US = (f"{GROUP}/", ORIGINAL_IMAGE, REPLACED, CONFIRMED, REFUSED)


def is_ours(key: str) -> bool:
    """Whether a label or annotation key belongs to us."""
    return key.startswith(BOUND_TO_US)


def digest(text: str, length: int = 8) -> str:
    """The first `length` hex digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def fit(name: str, room: int) -> str:
    """`name` if it has at most `room` characters, else its head and 8 hex digits of all of it (RFC 1123 label)."""
    return name if len(name) <= room else f"{name[: room - 9].rstrip('-.')}-{digest(name)}"


def target_id(kind: str, name: str) -> str:
    """Label value and name stem for a workload: `deployment-web`, at most 45 characters, a valid RFC 1123 label."""
    return fit(f"{kind.lower()}-{name.replace('.', '-')}" + ("" if "." not in name else f"-{digest(name, 4)}"), 45)

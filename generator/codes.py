"""The register of problem codes: severity, what it means, how it is cured. `docs/problems.md` is made from it.

Codes are stable: a released code keeps its meaning; a code that is no longer needed is never used again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from generator.names import RECORDED


class Code(NamedTuple):
    """`severity` as in `errors.Problem`; `meaning` and `cure` are the general text, a Problem has the particular one."""

    severity: Literal["input", "refused", "warning"]
    meaning: str
    cure: str


CODES: dict[str, Code] = {
    # --- the stream (generator/text/reading.py, generator/cluster/snapshot.py): exit 2, nothing written
    "FileNotReadable": Code("input", "A file given with -f is not there or cannot be read.", "Check the path; `-` reads standard input."),
    "ClusterUnreachable": Code("input", "There is no cluster to read: no kubeconfig, no such context, no answer from the API server, or one that says that it fails or is asked too much (500, 429).", "Set KUBECONFIG or give --context; to read files instead, give them with -f."),
    "ClusterForbidden": Code("input", "The account may not do in the cluster what the command needs.", "Bind a Role with the rules that are named, or log in again."),
    "KubeconfigInvalid": Code("input", "The kubeconfig has a field that cannot be used, names something that it does not have, or a file that cannot be read.", "Mend the field that is named; `kubectl config view` shows all of them, of all files."),
    "CredentialPluginFailed": Code("input", "The program that the kubeconfig names for logging in (`exec`) is not on this machine, failed, or gave no token.", "Install it, or run it by hand and do what it says, such as logging in again."),
    "FileNotWritable": Code("input", "The folder given with --output-dir or --files cannot be written, or holds files that bascule did not write; or there is no room for temporary ones.", "Give a folder that is new or empty; that of --output-dir may also be one that an earlier run wrote."),
    "OptionInvalid": Code("input", "An option or argument of the command line is not of its form.", "Write it as in the example that is given."),
    "SshMissing": Code("input", "OpenSSH's client, which holds the connection to the relay, is not on this machine.", "Install it: apt-get install openssh-client, dnf install openssh-clients; macOS and Windows have it."),
    "ClientUnusable": Code("input", "The GefyraClient of that name is connected by another provider than the relay, or from another machine.", "Give another --client; one that is given takes over from another machine."),
    "NotInstalled": Code("input", "The cluster does not know bridges and clients.", "Install bascule as docs/install.md says."),
    "KeyUnusable": Code("input", "The key of this machine's client is damaged, has got a passphrase, or cannot be made.", "Delete the file that is named; a new key is made. Where `ssh-keygen` fails, mend what it says."),
    "RelayUnreachable": Code("input", "The API server does not lead to the relay.", "See how its Pod is: `kubectl -n gefyra get pod bascule-relay-0`."),
    "NotText": Code("input", "The input is not UTF-8 text, or larger than 256 MiB.", "Give what `kubectl get ... -o yaml` prints."),
    "YamlSyntax": Code("input", "The input is neither YAML nor JSON.", "Mend the line that is named."),
    "DuplicateKey": Code("input", "A mapping holds the same key twice.", "Keep one of the two."),
    "AmbiguousScalar": Code("input", "A plain scalar means one thing in YAML 1.1 and another in YAML 1.2 (yes, no, on, off, 0644, 12:30).", "Quote it, or write true, false, 0o644 or 420."),
    "NotAnObject": Code("input", "A document is not a Kubernetes object: apiVersion, kind or metadata.name is missing or of the wrong type.", "Give whole objects, as `kubectl get -o yaml` prints them."),
    "DuplicateObject": Code("input", "The same object (kind, namespace, name) is in the stream twice with different content.", "Keep the newer one."),
    "SnapshotIncomplete": Code("input", "An object that another one refers to is not in the stream, so the truth about the target cannot be read.", f"Record with `kubectl get {RECORDED} -o yaml`."),
    "WrongType": Code("input", "A field has a value of the wrong type.", "Give the type that is named."),
    "UnknownField": Code("input", "A field is not part of GefyraBridge, GefyraBridgeMount or GefyraClient.", "Remove or correct it; the nearest known field is named."),
    "BadTime": Code("input", "A time is not RFC 3339.", "Write 2026-11-24T22:00:00Z."),
    "TargetUnknown": Code("input", "A bridge, a mount or the command line names a workload, container, mount or bridge that is not in the stream, or does not say which of several.", "Correct the name, or add the object to the stream."),
    # --- a bridge on its own (generator/asked/bridge.py, rules.py, language.py)
    "RuleInvalid": Code("refused", "A condition of a rule is not well formed: unknown type, empty value, bad header name, control character, path without a leading slash.", "See the example that is given."),
    "RegexUnsupported": Code("refused", "A regex uses something outside the documented RE2-like subset, where engines disagree or matching can explode.", "Rewrite it without the part under the caret."),
    "RuleNeverFires": Code("refused", "No request can meet all conditions of a rule, or an older bridge on the same target and port gets all that do.", "Remove one of the two, or make two rules of them (a list of rules means OR)."),
    "RuleIdentical": Code("refused", "Another, older bridge on the same target and port has the same rule.", "Make the rule more specific, or ask the owner that is named."),
    "RuleTakesAll": Code("refused", "A rule would take every request of a rule of another, older bridge on the same target and port, since it comes before it in the order of precedence.", "Make the rule more specific, or ask the owner that is named."),
    "RuleOverlap": Code("warning", "Some requests match a rule of this bridge and one of an older bridge; the message shows the shortest such request and says who gets it.", "Nothing, if that is meant; else add a condition to one of the two."),
    "RuleUndecided": Code("warning", "Whether two rules share requests, or one takes all of the other's, would take too long to decide; the order of precedence holds all the same.", "Write a regex with fewer repeats, or use prefix or exact conditions."),
    "CarrierLimit": Code("refused", "The bridge's rules would exceed what one nginx configuration can hold: 200 distinct regexes on a port, about 2,000 bytes in one key, or 700,000 bytes of rules in all.", "Use exact or prefix conditions, fewer rules, or shorter values."),
    "PortMappingInvalid": Code("refused", "portMappings is missing, or an entry is not \"LOCAL:REMOTE\".", "Write portMappings: [\"3000:8080\"] (LOCAL on the user's machine, REMOTE in the container)."),
    "PortUnknown": Code("refused", "A bridge names a port that the target container does not have.", "Use one of the ports that are listed."),
    "PortNotHttp": Code("refused", "A bridge with rules names a UDP port; rules need HTTP.", "Name a TCP port that speaks HTTP."),
    "TlsPortNoCertificate": Code("refused", "A bridge with rules names a port that speaks TLS and the mount brings no certificate; without one the port is passed through unread.", "Give the mount providerParameter.tls, per port or for all."),
    "SecretElsewhere": Code("refused", "A mount's providerParameter.tls names a Secret of another namespace than its target's. The operator may read Secrets that whoever writes the mount may not; a carrier gets those of its own namespace alone.", "Copy the certificate into a Secret of the target's namespace and name that one."),
    "EndpointUnresolved": Code("warning", "The bridge's connection has not reported where its traffic goes, or names a host that is neither an IP address nor a Service in the stream; its requests stay in the cluster.", "Wait for the connection provider, or check clusterEndpoint."),
    "ObjectInvalid": Code("refused", "A bridge or mount that is in the cluster already is not valid; in a file of your own the same mistake ends the command with exit code 2. It keeps only itself out.", "Correct or delete it; the message begins with the code of the mistake."),
    "BridgeExpired": Code("warning", "The bridge's sunset lies in the past: it is removed.", "Create it again with a later sunset."),
    # --- how the requests get to a user's machine (generator/connections/, generator/asked/client.py)
    "ClientAway": Code("warning", "Nobody listens at the relay on the bridge's port: the user's machine is not connected, or its process does not listen. The cluster answers; the bridge goes on by itself when both are there again.", "Connect the machine with `bascule connect`, and start the process."),
    "ClientGone": Code("warning", "The user's machine has been away for longer than the bridge waits for it (annotation bascule.dev/away-grace, a day by default): the bridge is removed.", "Connect, and create it again."),
    "ClientExpired": Code("warning", "The client's sunset lies in the past: it is removed, and its bridges with it.", "Create it again with a later sunset."),
    "PortsExhausted": Code("warning", "There is no port left for a bridge, or no block of ports for a client: a client has 32 ports of the relay, the relay 1312 clients, Stowaway 50,000 destinations.", "Remove bridges or clients that nobody needs."),
    "PeersUnmanaged": Code("warning", "A client asks Stowaway for a WireGuard peer. Its keys are made inside Stowaway's Pod, and could only be read by running commands in there, which the operator may not.", "Use provider: relay, or let Gefyra's own operator make the peer."),
    # --- a mount or its target (generator/desired/preflight.py)
    "MountDuplicate": Code("refused", "Another, older mount has the same target.", "Use that one; a workload and container is mounted once."),
    "WorkloadKindUnsupported": Code("refused", "The target is not a Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod.", "Name one of these."),
    "ContainerAmbiguous": Code("refused", "The Pod has several containers and the mount does not say which.", "Set targetContainer to one of those listed."),
    "HostNetwork": Code("refused", "The Pod uses hostNetwork: a shadow on the same node could not bind the same ports.", "Bridge a workload with a network namespace of its own."),
    "HostIPC": Code("refused", "The Pod uses hostIPC: /dev/shm belongs to the node, where the carrier's configuration would be seen by others and outlive the Pod.", "Set hostIPC: false in the workload."),
    "HostPort": Code("warning", "A container port has a hostPort; shadows are made without it, since one node has that port once.", "Nothing to do; clients of the node's port reach the carrier as before."),
    "ReadWriteOncePod": Code("refused", "A volume claim is ReadWriteOncePod: a second Pod can never mount it.", "Use ReadWriteOnce and allowSharedVolumes, or bridge another workload."),
    "SharedVolume": Code("refused", "A shadow would write to the same ReadWriteOnce volume as its original.", "If the application bears two writers, set providerParameter.allowSharedVolumes: true on the mount."),
    "SharedIdentity": Code("refused", "The StatefulSet's Pods have volumes of their own: a shadow would be a second Pod with the same identity and data.", "If the application bears that, set providerParameter.allowSharedVolumes: true on the mount."),
    "CommandUnknown": Code("refused", "The container's command, an exec probe or an exec hook has a name that the carrier image does not stand in for.", "Build a carrier image with that name (Containerfile in the message) and set providerParameter.carrierImage on the mount."),
    "ExecProbe": Code("warning", "A probe runs a command in the container; while bridged the carrier answers it with its own health, not the application's.", "Prefer an httpGet, tcpSocket or grpc probe: these pass through to the shadow."),
    "StaticPod": Code("refused", "The Pod is a mirror of a static Pod; the API server cannot change it.", "Bridge a Pod that the API server owns."),
    "WindowsPod": Code("refused", "The Pod runs on Windows; the carrier is a Linux image.", "Bridge a Linux workload."),
    "ImmutableField": Code("warning", "An object of ours was changed by hand in a field that Kubernetes does not let us change back; it is deleted and made again.", "Do not edit objects labelled app.kubernetes.io/managed-by: bascule."),
    "MeshSidecar": Code("warning", "The Pod carries a service mesh proxy; it runs in the original and again in the shadow.", "Check the mesh's telemetry after bridging; exclude the carrier's hop to the shadow from mTLS if it fails."),
    "ImagePolicy": Code("warning", "Something in the cluster may refuse the carrier image: an image policy, a pull policy of Never, or missing pull secrets. A stand-in shows it before a live container is touched.", "Allow or load the carrier image."),
    "Autoscaler": Code("warning", "A HorizontalPodAutoscaler scales the target; it now sees idle carriers and may scale it down. Shadows stay as many as the originals were.", "Expect fewer originals; raise minReplicas if that matters."),
    "DisruptionBudget": Code("warning", "While originals are held, a PodDisruptionBudget counts them as not ready and may block evictions for those seconds. Shadows are outside the budget, stand-ins too but while they are in the target's Services.", "Nothing to do; a node drain at that moment waits."),
    "DisruptionBudgetSelectsAll": Code("refused", "A PodDisruptionBudget or other selector of the namespace matches whatever labels a shadow has.", "Narrow the selector."),
    "QuotaExceeded": Code("refused", "The namespace's ResourceQuota has no room for the shadows and stand-ins.", "Raise the quota by what is named, or scale down."),
    "ServicePublishesNotReady": Code("warning", "A Service of the target publishes addresses that are not ready, so an original cannot be taken out of it while its image is swapped.", "Expect refused connections through that Service for under a second per Pod."),
    "PortUndeclared": Code("warning", "A Service sends traffic to a port that no container declares; in a Pod of several containers it cannot be told whose it is.", "Declare the port in the container that listens on it."),
    "PortUnsupported": Code("refused", "The container has an SCTP port, which nginx cannot carry.", "Bridge a container without SCTP ports."),
    "NameClash": Code("refused", "An object that is not ours has the name that one of ours needs.", "Rename or delete it."),
    "NetworkPolicyElsewhere": Code("warning", "A NetworkPolicy in another namespace lets the original in by its labels; the shadow does not carry them and we change nothing in other namespaces.", "Add the peer that is named to that policy."),
    "RolloutStuck": Code("warning", "New Pods of the target never became ready; they are left alone, and bridged only once they are.", "Mend or undo the rollout."),
    "WorkloadPaused": Code("warning", "The Deployment's rollout is paused; the Pods that run are bridged, those of the next revision when they come.", "Nothing to do."),
    "WorkloadDeleting": Code("refused", "The target is being deleted.", "Nothing to do; the mount takes hold again when there is a new one."),
    "NamespaceNotManaged": Code("refused", "The target is in a namespace that is not in the list of ConfigMap gefyra/bascule, and nothing of which is in the stream; or the operator may not list that namespace, or has not yet. Nothing is changed there, and nothing goes for a target that nobody can see.", "Name a workload of a managed namespace, or bind the operator's role in this one and add it to `namespaces`."),
    "TargetMissing": Code("refused", "The target is not in the cluster.", "Create it, or delete the mount."),
    "NoService": Code("warning", "No Service selects the Pods, so nobody can be kept away from an original while its image is swapped: whoever connects to the Pod's own address meets a restart.", "Expect refused connections to the Pod's address for about a second."),
    "AntiAffinity": Code("warning", "The Pods keep apart from each other by a required podAntiAffinity, which their shadows have too: each shadow needs a node without a Pod of the target.", "Have enough nodes, or make the anti-affinity preferred."),
    "MarksLost": Code("warning", "A Pod runs a carrier image, and the note of its original image is gone; it is left alone.", "Put back the annotation that is named, or delete the Pod."),
    "NoReadyPods": Code("warning", "The target has no ready Pod, so there is nothing to bridge yet.", "Scale it up or mend it."),
    "PodTerminating": Code("warning", "A Pod of the target is being deleted; it is left alone.", "Nothing to do."),
    "PodFailed": Code("warning", "A Pod of the target has failed or was evicted; it is left alone.", "Delete it when you have read why."),
    "MountExpired": Code("warning", "The mount's sunset lies in the past: it is removed.", "Create it again with a later sunset."),
    "StandInFailed": Code("warning", "A carrier does not serve in the Pod that is to stand in for an original. On the way in no live container is touched; on the way back the originals go one by one after a minute.", "Read the reason; typical: pull secret, admission policy, node full."),
    "ConfigRefused": Code("warning", "A carrier has not taken its configuration, and serves on with the one it had.", "Mend what the carrier names: a certificate's path, room in its memory; it is tried again by itself."),
    "ShadowNotReady": Code("warning", "A shadow does not become ready; the originals go on serving.", "Read the shadow's events: `kubectl describe pod`."),
}

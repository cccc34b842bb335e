"""What the carrier image and the generator agree on: paths, names, limits."""

from __future__ import annotations

EXECUTABLE = "/carrier2/bin/carrier2"
"""`EXECUTABLE apply SHA256`, run in a running carrier, puts the configuration on its standard input in force (image/carrier2)."""

RUN_DIR = "/dev/shm/carrier2"
"""The only folder carriers write to. It belongs to the Pod's sandbox: it outlives the container, and all containers share it."""

OUTSIDE = "carrier"
"""The name of a container that kubelet has given none."""

CONFIG = "nginx.conf"
TLS_DIR = "tls"
"""`<port>.crt` and `<port>.key`, delivered by the applier together with the configuration.

As all paths that the configuration names, relative to the carrier's own folder, `run_dir`.
"""

MINIMUM_NGINX = (1, 29, 7)
"""First nginx with `keepalive ... local`, and with `sticky route` (1.29.6); stable since 1.30.0."""

MAX_TOKEN = 4000
"""Bytes a quoted token may have: nginx's configuration parser stops at 4096 (ngx_conf_file.c, NGX_CONF_BUFFER)."""

MAX_REGEXES = 200
"""Distinct regexes on one port; nginx tries one after the other."""

COMMANDS = frozenset(
    (
        "sh bash ash dash zsh busybox env tini dumb-init catatonit python python2 python3 python3.9 python3.10 python3.11 "
        "python3.12 python3.13 python3.14 gunicorn uvicorn uwsgi celery flask django-admin node nodejs npm npx yarn pnpm "
        "deno bun java catalina.sh mvn gradle dotnet ruby bundle rails puma rackup php php-fpm apache2-foreground httpd "
        "nginx docker-entrypoint.sh entrypoint.sh start.sh run.sh perl erl elixir mix go caddy envoy postgres redis-server "
        "mysqld mongod curl wget cat true test ls sleep pg_isready redis-cli grpc_health_probe server app main"
    ).split()
)
"""Names on the image's PATH that are links to the carrier."""

COMMAND_DIRS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
"""Folders of the image in which each of COMMANDS stands."""

STAND_IN = "/carrier2/bin/stand-in"
"""In the image, when it is built: `STAND_IN NAME...` makes more links to the carrier, a NAME without a slash in each of COMMAND_DIRS."""

USER = 65532
"""Who the carrier is where the Pod does not say it: a number, so that kubelet takes it for `runAsNonRoot`, and not root."""

MAX_LINGERING = 4
"""Workers that reloads have retired and that still have connections. A reload beyond ends the oldest first.

Each holds its own configuration: with 1,000 bridges to 8 addresses and WORKER_CONNECTIONS 1.6 MB, so that four, the serving
one and one in the making stay below 11 MB, of 16 MiB.
"""

WORKER_CONNECTIONS = 1024
"""Of one worker, at least; a proxied request is two. When less than a sixteenth is left, nginx ends clients that have asked nothing yet
(ngx_drain_connections). It takes 430 bytes for each at once (ngx_event_process_init), in lingering workers too, so that 2,048 are too many
for 16 MiB (tests/test_constrained.py).
"""

MOST_CONNECTIONS = 16384
"""Of one worker, at most: 7 MB."""

CONNECTION_BYTES = 64 << 10
"""Of the container's memory limit, for one connection above WORKER_CONNECTIONS. It takes 2 kB in five workers and half of a request, which
has 52 kB while nobody reads its answer (measured with 1,900; `proxy_buffer_size` is 32 kB of it); TLS on both sides about doubles that.
"""


def run_dir(container: str) -> str:
    """The folder of the carrier in that container of the Pod."""
    return f"{RUN_DIR}/{container}"

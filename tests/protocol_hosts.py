"""Who stands at which address of tests/protocol_lab.py, with which certificate, and how long one waits for another."""

from __future__ import annotations

import subprocess
from pathlib import Path

PROCESS, SHADOW, SERVICE = "10.9.0.1", "10.1.0.1", "10.0.0.1"
PATIENCE = 30
"""Seconds after which something that should have happened has not."""


def name_of(host: str) -> str:
    """Who serves at an address."""
    return {PROCESS: "process", SHADOW: "shadow"}[host]


def certificate(owner: str) -> tuple[Path, Path]:
    """Certificate and key of `carrier` or `application`, for shop.example."""
    folder = Path("/dev/shm/certificates")
    crt, key = folder / f"{owner}.crt", folder / f"{owner}.key"
    if not crt.exists():
        folder.mkdir(exist_ok=True)
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -addext subjectAltName=DNS:shop.example"
        subprocess.run([*command.split(), "-subj", f"/CN={owner}", "-keyout", key, "-out", crt], check=True, capture_output=True)
    return crt, key

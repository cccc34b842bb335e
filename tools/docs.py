"""Writes the pages of docs/ that are made from code; with --check only says whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from click.testing import CliRunner

from generator.cli import main as bascule
from generator.codes import CODES, Code

ROOT = Path(__file__).parents[1]
DOCS, GOLDEN = ROOT / "docs", ROOT / "golden"
HEADINGS = {
    "input": "## The input cannot be used\nExit code 2; nothing is written.",
    "refused": "## Refused\nThis bridge or mount is not admitted; its neighbours are.",
    "warning": "## Warnings\nAdmitted; worth knowing.",
}


INTRODUCTION = """# Problem codes

Made from `generator/codes.py` and `golden/` by `make docs`. A code keeps its meaning for ever; it is also the `reason` of a
status condition. Each has an example in [golden/](../golden/) that a test runs; what `bascule check` prints for it stands below.
"""
ELSEWHERE = {
    "ClientUnusable": "`bascule connect --client NAME`, where NAME is one of Gefyra's; tests/test_live_bridge.py",
    "NotInstalled": "`bascule connect` to a cluster without bascule; tests/test_bridging.py",
    "KeyUnusable": "`bascule connect` with an empty `id_ed25519`; tests/test_bridging.py",
    "RelayUnreachable": "`bascule connect` while the relay starts; tests/test_bridging.py",
    "ClusterForbidden": "`kubectl auth can-i list pods -n shop` says no; tests/test_live_cli.py",
    "ClusterUnreachable": "`KUBECONFIG=/dev/null bascule check`; tests/test_cli.py",
    "KubeconfigInvalid": "a kubeconfig with `server: example.com`; tests/test_kubeconfig.py",
    "CredentialPluginFailed": "a kubeconfig with `exec: {command: aws, ...}` where nobody is logged in; tests/test_kubeconfig.py",
    "FileNotReadable": "`bascule check -f missing.yaml`; tests/test_cli.py",
    "FileNotWritable": "`bascule render --output-dir /dev/null/x`; tests/test_cli.py",
    "OptionInvalid": "`bascule bridge deployment/web --port 8080`; tests/test_bridge_command.py",
    "SshMissing": "`PATH= bascule connect`; tests/test_live_bridge.py",
    "NotText": "`head -c 100 /dev/urandom \\| bascule check -f -`; tests/test_text.py",
}
"""Codes whose example cannot be a file of golden/."""


def problems() -> str:
    """`docs/problems.md`: each problem code with its meaning, cure and an example, by severity, then by name."""
    parts = [INTRODUCTION]
    for severity, heading in HEADINGS.items():
        parts.append(heading)
        parts += [_section(name, code) for name, code in sorted(CODES.items()) if code.severity == severity]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _section(name: str, code: Code) -> str:
    text = f"### {name}\n{code.meaning}\nCure: {code.cure}\n"
    if name in ELSEWHERE:
        return f"{text}\nExample: {ELSEWHERE[name]}"
    folder, printed = _example(name)
    return f"{text}\nExample: [{folder}](../golden/{folder}/input.yaml)\n\n```text\n{printed}\n```"


def _example(name: str) -> tuple[str, str]:
    """The golden case that is about `name`, and the part of its problems.txt that says so. Raises KeyError where there is none."""
    for folder in sorted(path for path in GOLDEN.iterdir() if path.name.startswith("problem-")):
        if (folder / "README.md").read_text().startswith(f"# {name}\n") and (folder / "problems.txt").exists():
            for part in (folder / "problems.txt").read_text().split("\n\n"):
                if f" {name}: " in part.partition("\n")[0]:
                    return folder.name, part.rstrip("\n")
    raise KeyError(f"no case of golden/ shows {name}")


def routes() -> str:
    """`docs/routes.svg`: the RFC's example, installed, as `bascule graph -o svg` draws it."""
    case = GOLDEN / "rfc-12-active" / "input.yaml"
    now = case.read_text().partition("\n")[0].removeprefix("# now: ")
    arguments = ["graph", "--target", "default/deployment/y", "-o", "svg", "-f", str(case), "--now", now]
    return CliRunner().invoke(bascule, arguments, catch_exceptions=False).stdout


def main(arguments: list[str]) -> int:
    """1 if `--check` was given and a page is stale, else 0."""
    stale = []
    for name, text in {"problems.md": problems(), "routes.svg": routes()}.items():
        page = DOCS / name
        if "--check" not in arguments:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(f"docs/{name}")
    if stale:
        print(f"{', '.join(stale)}: not what the code says now; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

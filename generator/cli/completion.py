"""`bascule completion`: the script that makes a shell complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from generator.cli import main, view

_SHELLS = ("bash", "zsh", "fish")


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
      bash  echo 'source <(bascule completion bash)' >> ~/.bashrc
      zsh   echo 'source <(bascule completion zsh)' >> ~/.zshrc
      fish  bascule completion fish > ~/.config/fish/completions/bascule.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    view.show(found(main, {}, "bascule", "_BASCULE_COMPLETE").source() + "\n")

"""What a person needs after the start: a file for the shell, and the commands to go on with."""

import shlex
from collections.abc import Sequence
from pathlib import Path

# A cloud or a sign-in that was chosen before would go before the endpoint and the token.
_FORGOTTEN = (
    "OS_CLOUD OS_CLIENT_CONFIG_FILE OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_PROJECT_ID OS_USER_DOMAIN_NAME "
    "OS_PROJECT_DOMAIN_NAME OS_REGION_NAME OS_CACERT OS_URL"
)


def env_text(*, programs: Path, endpoint: str, admin_token: str, member_token: str) -> str:
    """Exports for a POSIX shell. ``programs``: the directory with `openstack`."""
    return (
        "# For a shell: . FILE. You are then the administrator of this Stella. A tenant's view of it:\n"
        "#   OS_TOKEN=$STELLA_MEMBER_TOKEN openstack slo list\n"
        f"unset {_FORGOTTEN}\n"
        f'export PATH={shlex.quote(str(programs))}:"$PATH"\n'
        "export OS_AUTH_TYPE=admin_token\n"
        f"export OS_ENDPOINT={shlex.quote(endpoint)}\n"
        f"export OS_TOKEN={shlex.quote(admin_token)}\n"
        f"export STELLA_MEMBER_TOKEN={shlex.quote(member_token)}\n"
    )


def shown_path(path: Path, working_directory: Path) -> str:
    """A path as it is typed: relative where it lies below the working directory, and always with a slash, for ``.``."""
    if path.is_relative_to(working_directory):
        relative = str(path.relative_to(working_directory))
        return shlex.quote(relative if "/" in relative else f"./{relative}")
    return shlex.quote(str(path))


def next_commands(*, env: str, server: str, is_laboratory: bool) -> Sequence[str]:
    """What to type next; each works as it stands, after the one before it."""
    commands = [
        f". {env}; openstack slo host list",
        f"openstack slo set --server {shlex.quote(server)} --cpu 20% --wait",
        f"openstack slo explain --server {shlex.quote(server)}",
    ]
    return [*commands, f"stella-bench load {shlex.quote(server)} cpu"] if is_laboratory else commands

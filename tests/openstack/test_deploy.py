"""The Ansible roles that deployed Stella here: run again they change nothing, and of Nova's configuration they keep what is there."""

import json
import os
import re
import subprocess
from pathlib import Path

from .conftest import REPOSITORY, RUN, laboratory

ANSIBLE = REPOSITORY / "deploy" / "ansible"
OF_THE_LABORATORY = RUN / "openstack" / "ansible"
PLAYBOOK = REPOSITORY / ".venv-openstack" / "tools" / "bin" / "ansible-playbook"
SETTINGS = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "LC_ALL": "C.UTF-8"}


def arguments(groups: str, **changed: object) -> list[str]:
    """What follows ansible-playbook: everything but the installation, as the laboratory runs it, with these variables changed."""
    return [
        *("-i", str(OF_THE_LABORATORY / f"{groups}.yml"), "-e", f"@{OF_THE_LABORATORY / f'{groups}.json'}"),
        *("-e", json.dumps(changed), "--skip-tags", "install", str(ANSIBLE / "site.yml")),
    ]


def recap(said: str) -> dict[str, int]:
    """How many tasks did what, as a playbook says at its end."""
    _, _, end = said.partition("PLAY RECAP")
    found = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", end)}
    assert found, said
    return found


def test_a_second_run_changes_nothing() -> None:
    environment = [f"{name}={value}" for name, value in SETTINGS.items()]
    for groups in ("stella_api", "stella_nova"):
        command = ["env", *environment, str(PLAYBOOK), *arguments(groups, stella_restart=False)]
        code, said = laboratory("enter", *command)
        assert code == 0, said
        done = recap(said)
        assert done["ok"] >= 3 and done["changed"] == done["failed"] == 0, said


def test_what_nova_is_configured_to_do_is_kept_and_it_is_restarted_only_when_something_changed(tmp_path: Path) -> None:
    (tmp_path / "nova.conf.d").mkdir()
    (tmp_path / "nova.conf").write_text(
        "[filter_scheduler]\nenabled_filters = ComputeFilter,AggregateInstanceExtraSpecsFilter\n"
        "[oslo_messaging_notifications]\ndriver = messagingv2\n"
    )
    (tmp_path / "nova.conf.d" / "site.conf").write_text("[filter_scheduler]\nweight_classes = nova.a.W,nova.b.W\n")
    restarted = tmp_path / "restarted"
    host = "{compute1: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}}"
    inventory = tmp_path / "inventory.yml"  # one host for everything
    inventory.write_text(f"stella_nova: {{hosts: {host}}}\nnova_compute: {{hosts: {host}}}\n")

    def run() -> str:
        variables = {
            "stella_nova_configuration": str(tmp_path / "nova.conf"),
            "stella_nova_directory": str(tmp_path / "nova.conf.d"),
            "stella_nova_restart_command": ["/bin/sh", "-c", f'echo "$0" >> {restarted}'],
        }
        done = subprocess.run(
            [PLAYBOOK, *arguments("stella_nova", **variables), "-i", str(inventory)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **SETTINGS, "ANSIBLE_HOME": str(tmp_path / "home")},
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    run()
    scheduler = (tmp_path / "nova.conf.d" / "stella-scheduler.conf").read_text().splitlines()
    assert "enabled_filters = ComputeFilter,AggregateInstanceExtraSpecsFilter,StellaFilter" in scheduler
    assert "weight_classes = nova.a.W,nova.b.W,stella_nova.weigher.StellaWeigher" in scheduler
    notifications = (tmp_path / "nova.conf.d" / "stella-notifications.conf").read_text().splitlines()
    # Unversioned ones were sent to somebody: they still are. Nobody was sent versioned ones: nobody but Stella is.
    assert "notification_format = both" in notifications
    assert "versioned_notifications_topics = stella_notifications" in notifications
    assert not [line for line in notifications if line.startswith("driver")]
    for file in ("stella-scheduler.conf", "stella-notifications.conf"):
        assert (tmp_path / "nova.conf.d" / file).stat().st_mode & 0o777 == 0o640
    assert restarted.read_text().split() == ["nova-scheduler", "nova-conductor", "nova-api", "nova-compute"]
    assert recap(run())["changed"] == 0
    assert len(restarted.read_text().split()) == 4

"""Nova's fake driver, with what a hypervisor with a disk has: only for nova-computes that `fake_computes` starts.

Its node keeps its uuid and its guests when nova-compute ends, so that a host may be killed and started again under its name. And it
writes which guests it has to ``<state_path>/../instances/<host>.json``, where the host's simulated agent sees them
(`stella.sim.listed`).
"""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import nova.conf
from nova.compute import power_state
from nova.virt import fake, node


class Driver(fake.FakeLiveMigrateDriver):  # type: ignore[misc]  # Nova has no types
    """See the module."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        state = Path(nova.conf.CONF.state_path)
        self._listing = state.parent / "instances" / f"{state.name}.json"
        self._told: dict[str, dict[str, Any]] = {}

    # --- what outlives nova-compute

    def init_host(self, host: str) -> None:
        """Take up the guests of before."""
        super().init_host(host)
        with contextlib.suppress(FileNotFoundError):
            for one in json.loads(self._listing.read_text())["instances"]:
                state = power_state.RUNNING if one["running"] else power_state.SHUTDOWN
                self.instances[one["uuid"]] = fake.FakeInstance(one["domain"], state, one["uuid"])
                self._told[one["uuid"]] = one
        self._tell()

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:
        """The one node, whose uuid is kept on disk."""
        return {node.get_local_node_uuid(): self.get_available_nodes()[0]}

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """With that uuid."""
        return {**super().get_available_resource(nodename), "uuid": node.get_local_node_uuid()}

    # --- what changes the guests

    def spawn(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest begins, or comes here."""
        super().spawn(context, instance, *arguments, **more)
        self._tell(instance)

    def finish_revert_migration(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest is back."""
        super().finish_revert_migration(context, instance, *arguments, **more)
        self._tell(instance)

    def post_live_migration_at_destination(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest came here running."""
        self.instances[instance.uuid] = fake.FakeInstance(instance.name, power_state.RUNNING, instance.uuid)
        self._tell(instance)

    def live_migration_force_complete(self, instance: Any) -> None:
        """A guest went elsewhere."""
        super().live_migration_force_complete(instance)
        self._tell()

    def destroy(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest ends, or went elsewhere."""
        super().destroy(context, instance, *arguments, **more)
        self._tell()

    def power_off(self, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest is shut off."""
        super().power_off(instance, *arguments, **more)
        self._tell()

    def power_on(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """A guest runs again."""
        super().power_on(context, instance, *arguments, **more)
        self._tell()

    def _tell(self, instance: Any = None) -> None:
        """Write which guests there are; ``instance`` is new, or another one now."""
        if instance is not None:
            self._told[instance.uuid] = {
                "uuid": instance.uuid,
                "name": instance.display_name or instance.name,
                "domain": instance.name,
                "project": instance.project_id,
                "flavor": instance.flavor.name,
                "vcpus": instance.flavor.vcpus,
            }
        guests = [
            {**self._told[uuid], "running": one.state == power_state.RUNNING}
            for uuid, one in list(self.instances.items())
            if uuid in self._told
        ]
        self._listing.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._listing.with_suffix(f".{time.monotonic_ns()}")  # Nova's threads may meet here
        unfinished.write_text(json.dumps({"instances": guests}, indent=1))
        unfinished.replace(self._listing)

"""read_nova.py NOVA_CONF DIRECTORY: what Nova's configuration says without Stella's drop-ins, as JSON on standard output.

Run with Nova's own interpreter, so that the defaults are those of the Nova that is installed.
"""

import json
import sys
from pathlib import Path

from nova.conf import CONF
from oslo_config import cfg

OWN = ("stella-scheduler.conf", "stella-notifications.conf")


def main(configuration: str, directory: str) -> None:
    """Print the options that Stella's drop-ins add to."""
    others = sorted(path for path in Path(directory).glob("*.conf") if path.name not in OWN)
    CONF.register_opts([cfg.MultiStrOpt("driver", default=[])], group="oslo_messaging_notifications")
    files = [path for path in (configuration, *map(str, others)) if Path(path).exists()]
    CONF(args=[], project="nova", default_config_files=files, default_config_dirs=[])
    print(
        json.dumps(
            {
                "enabled_filters": CONF.filter_scheduler.enabled_filters,
                "available_filters": CONF.filter_scheduler.available_filters,
                "weight_classes": CONF.filter_scheduler.weight_classes,
                "drivers": CONF.oslo_messaging_notifications.driver,
                "format": CONF.notifications.notification_format,
                "state_change": CONF.notifications.notify_on_state_change,
                "topics": CONF.notifications.versioned_notifications_topics,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

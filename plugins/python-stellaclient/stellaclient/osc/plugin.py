"""What OpenStackClient asks of a plugin."""

import argparse
from typing import Any

from osc_lib import utils

from stellaclient.sdk import connect
from stellaclient.sdk.proxy import Proxy

API_NAME = "slo"
API_VERSION_OPTION = "os_slo_api_version"
API_VERSIONS = {"1": "stellaclient.sdk.proxy.Proxy"}
DEFAULT_API_VERSION = "1"


def make_client(instance: Any) -> Proxy:
    """The service, at the endpoint that is given or that the catalogue names."""
    return connect(instance.sdk_connection, interface=instance.interface, region_name=instance._region_name)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the option of the major version."""
    parser.add_argument(
        "--os-slo-api-version",
        metavar="<slo-api-version>",
        default=utils.env("OS_SLO_API_VERSION", default=DEFAULT_API_VERSION),
        help=f"SLO API version, default={DEFAULT_API_VERSION} (Env: OS_SLO_API_VERSION)",
    )
    return parser

"""Nova 34 itself, in this process, on its own functional fixtures: real API, scheduler, Placement, fake hypervisors.

Not for pytest: `scripts/test-stella-nova.sh` runs it in an environment that has Nova. Stella is what answers HTTP here; that the
real stella-api answers so is tested in `plugins/stella-nova/tests`.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keystoneauth1 import loading
from nova import exception
from nova.api.validation.extra_specs import validators
from nova.conf import CONF
from nova.tests.functional import integrated_helpers
from nova.tests.functional.api.client import OpenStackApiException
from stella_nova import decisions, extra_specs, options, patterns

_GOLD = {"stella:slo_cpu_floor": "0.5"}


class Stella:
    """What stella-api would answer: ``ratios`` has head-room and attainment of the hosts where the SLO fits."""

    def __init__(self):
        self.ratios = {}
        self.status = 200
        self.bodies = []
        stella = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stella.bodies.append(body)
                content = json.dumps({"candidates": [stella.candidate(name) for name in body["hosts"]]}).encode()
                self.send_response(stella.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def candidate(self, name):
        head_room, attainment = self.ratios.get(name, (None, None))
        fits = head_room is not None
        reason = None if fits else "cpu.floor: this host has 0.10 cores left to guarantee"
        return {
            "host": name,
            "fits": fits,
            "reason": reason,
            "head_room_ratio": head_room,
            "attainment_ratio": attainment,
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Scheduling(integrated_helpers.ProviderUsageBaseTestCase):
    """A cloud of fake hosts whose scheduler has the filter and the weigher."""

    compute_driver = "fake.MediumFakeDriver"
    microversion = "latest"

    def setUp(self):
        CONF.set_override("state_path", os.environ["STELLA_NOVA_STATE"])
        self.stella = Stella()
        self.addCleanup(self.stella.close)
        CONF.set_override(
            "available_filters",
            ["nova.scheduler.filters.all_filters", "stella_nova.filter.StellaFilter"],
            "filter_scheduler",
        )
        CONF.set_override("enabled_filters", ["ComputeFilter", "StellaFilter"], "filter_scheduler")
        CONF.set_override("weight_classes", ["stella_nova.weigher.StellaWeigher"], "filter_scheduler")
        options.register(CONF)
        CONF.register_opts(loading.get_auth_plugin_conf_options("admin_token"), group="stella")
        url = f"http://127.0.0.1:{self.stella.server.server_port}"
        for name, value in (
            ("auth_type", "admin_token"),
            ("endpoint", url),
            ("token", "t"),
            ("endpoint_override", url),
        ):
            CONF.set_override(name, value, "stella")
        CONF.set_override("retry_seconds", 0.0, "stella")
        decisions.SHARED.forget()
        super().setUp()
        for number in (1, 2, 3):
            self._start_compute(f"host{number}")

    def flavor(self, specs=None):
        return self._create_flavor(vcpu=1, memory_mb=64, disk=1, extra_spec=dict(_GOLD if specs is None else specs))

    def create(self, flavor, **more):
        return self._create_server(flavor_id=flavor, networks="none", **more)

    def host_of(self, server):
        return server["OS-EXT-SRV-ATTR:host"]

    def test_only_where_it_fits_and_the_best_first(self):
        gold = self.flavor()
        self.stella.ratios = {"host1": (0.2, 1.0), "host2": (0.9, 1.0)}
        self.assertEqual("host2", self.host_of(self.create(gold)), "the weigher takes the one with more head-room")
        self.assertEqual(1, len(self.stella.bodies), "one question for filter and weigher")
        body = self.stella.bodies[0]
        self.assertEqual(
            (_GOLD, 1, {"host1", "host2", "host3"}), (body["extra_specs"], body["vcpus"], set(body["hosts"]))
        )
        self.stella.ratios = {"host1": (0.8, None), "host2": (0.9, 0.4)}
        self.assertEqual("host1", self.host_of(self.create(gold)), "and the one that kept its SLOs lately")
        self.stella.ratios = {"host3": (0.01, 0.0)}
        self.assertEqual("host3", self.host_of(self.create(gold)), "the filter comes first")

    def test_no_valid_host(self):
        server = self.create(self.flavor(), expected_state="ERROR")
        self.assertIn("No valid host", server["fault"]["message"])
        self.assertIn("cpu.floor: this host has 0.10 cores left to guarantee", self.stdlog.logger.output)
        self.assertIsNotNone(self.host_of(self.create(self.flavor({}))), "flavors without SLO are not concerned")
        self.assertEqual(1, len(self.stella.bodies))

    def test_an_aggregate_overrides_the_multiplier(self):
        self.stella.ratios = {"host1": (0.2, 1.0), "host2": (0.9, 1.0), "host3": (0.1, 1.0)}
        aggregate = self.api.post_aggregate({"aggregate": {"name": "a", "availability_zone": None}})
        self.api.add_host_to_aggregate(aggregate["id"], "host3")
        metadata = {"stella_head_room_weight_multiplier": "50"}
        self.api.post_aggregate_action(aggregate["id"], {"set_metadata": {"metadata": metadata}})
        self.assertEqual("host3", self.host_of(self.create(self.flavor())))

    def test_stella_is_down(self):
        self.stella.status = 503
        self.assertIsNotNone(self.host_of(self.create(self.flavor())))
        self.assertIn("Stella did not answer", self.stdlog.logger.output)
        self.stella.server.shutdown()
        self.stella.server.server_close()
        self.assertIsNotNone(self.host_of(self.create(self.flavor())))

    def test_rebuild_passes_and_a_move_names_its_instance(self):
        self.stella.ratios = {"host1": (0.9, 1.0)}
        server = self.create(self.flavor())
        asked = len(self.stella.bodies)
        self.stella.ratios = {}
        self._rebuild_server(server, "a2459075-d96c-40d5-893e-577ff92e721c")
        self.assertEqual(asked, len(self.stella.bodies), "a rebuild stays where it is")
        self.stella.ratios = {"host2": (0.9, 1.0)}
        moved = self._migrate_server(server)
        self.assertEqual("host2", self.host_of(moved))
        self.assertEqual(server["id"], self.stella.bodies[-1]["instance"])

    def test_several_servers_are_one_question(self):
        self.stella.ratios = {f"host{number}": (0.5, 1.0) for number in (1, 2, 3)}
        body = self._build_server(flavor_id=self.flavor(), networks="none")
        self.api.post_server({"server": {**body, "min_count": 3, "max_count": 3}})
        for server in self.api.get_servers(detail=False):
            self._wait_for_state_change(server, "ACTIVE")
        self.assertEqual(1, len(self.stella.bodies), self.stella.bodies)
        self.assertNotIn("instance", self.stella.bodies[0])

    def test_extra_specs_are_validated(self):
        for validator in extra_specs.register():
            validators.VALIDATORS[validator.name] = validator
            self.addCleanup(validators.VALIDATORS.pop, validator.name)
        validators.NAMESPACES.add("stella")
        self.addCleanup(validators.NAMESPACES.discard, "stella")
        for name, spec in patterns.SPECS.items():
            validators.validate(name, spec.choices[0] if spec.choices else "7")
        for name, value in (
            ("stella:slo_cpu_floor", "20%"),
            ("stella:slo_cpu_floor", "0"),
            ("stella:slo_cpu_flor", "1"),
            ("stella:slo_priority", "101"),
            ("stella:slo_priority", "x"),
            ("stella:slo_network_packets_direction", "up"),
        ):
            self.assertRaises(exception.ValidationError, validators.validate, name, value)
        error = self.assertRaises(OpenStackApiException, self.flavor, {"stella:slo_cpu_floor": "-1"})
        self.assertEqual(400, error.response.status_code)
        self.assertIn("Validation failed", str(error))

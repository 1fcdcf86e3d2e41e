"""Setting and removing: human units in, the API's answer before and after it is sent."""

from typing import Any
from unittest import mock

from django.test import Client
from django.urls import reverse
from stella_dashboard.api import servers
from stella_dashboard.content.service_levels.forms import SetForm
from stella_dashboard.words import quantities

from tests.base import TestCase
from tests.emulated_api import UUID, error, instance

ONE = UUID.format(1)
PATH = f"/v1/instances/{ONE}/slo"
PACKETS = {"network_packets": (20_000.0, 14_250.0, "MET", None, 1.0, 1.0)}
SET, CHECK, REMOVE, MOVE = (
    reverse(f"horizon:project:service_levels:{name}", args=[ONE]) for name in ("set", "check", "remove", "move")
)
INDEX = reverse("horizon:project:service_levels:index")
INSTANCES = reverse("horizon:project:instances:index")
FITS = {"accepted": True, "reserved_cpu_cores": 0.45, "estimated": True, "objectives": {}}


class SetTest(TestCase):
    """The form."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(instance(1, objectives=PACKETS))

    def text(self, answer: Any) -> str:
        return answer.content.decode().replace("\xa0", " ")

    def test_it_shows_what_is_set(self) -> None:
        text = self.text(self.client.get(SET))
        self.assertIn('value="20 kpps"', text)
        self.assertIn('name="generation" value="3"', text)
        self.assertIn(f'data-stella-check="{CHECK}"', text)

    def test_it_sets_all_of_it_in_base_units(self) -> None:
        self.api.answer("PUT", PATH, 200, {})
        given = {
            "network_packets-floor": "14kpps",
            "cpu-floor": "20 %",
            "block_bytes-ceiling": "500 MB/s",
            "network-direction": "tx",
            "block-direction": "both",
            "priority": "7",
            "generation": "3",
            "held": '{"network_packets": {"unit": 256, "ceiling": 1, "nonsense": 2}}',
        }
        answer = self.client.post(SET, given)
        self.assertRedirectsNoFollow(answer, INDEX)
        self.assertEqual(
            self.api.asked[-1][3],
            {
                "generation": 3,
                "objectives": {
                    "cpu": {"floor": 0.2, "priority": 7},
                    "network_packets": {"floor": 14_000.0, "unit": 256, "direction": "tx", "priority": 7},
                    "block_bytes": {"ceiling": 5e8, "direction": "both", "priority": 7},
                },
            },
        )
        self.assertRedirectsNoFollow(self.client.post(f"{SET}?instances", given), INSTANCES)

    def test_a_new_one_names_no_generation(self) -> None:
        self.api.lists(instance(1))
        self.api.answer("PUT", PATH, 201, {})
        self.client.post(SET, {"cpu-floor": "20%"})
        self.assertEqual(self.api.asked[-1][3], {"objectives": {"cpu": {"floor": 0.2, "priority": 0}}})

    def test_what_is_wrong_stands_next_to_its_field(self) -> None:
        text = self.text(
            self.client.post(
                SET, {"cpu-floor": "20", "network_packets-floor": "-1", "block_latency-target": "5 apples"}
            )
        )
        self.assertIn("Add the unit: 20% of one core, or 20 cores?", text)
        self.assertIn("Enter a quantity above zero, such as 20 kpps.", text)
        self.assertIn("Enter a quantity above zero, such as 5 ms.", text)
        self.assertIn("Fill in at least one quantity.", self.text(self.client.post(SET, {})))
        self.assertFalse([one for one in self.api.asked if one[0] == "PUT"])

    def test_a_refusal_of_the_api_stands_there_too(self) -> None:
        refused = error(
            "stella.slo.not_supported", 422, "objectives.cpu.ceiling: not here.", field="objectives.cpu.ceiling"
        )
        self.api.answer("PUT", PATH, *refused)
        page = self.client.post(SET, {"cpu-ceiling": "50%"})
        self.assertEqual(
            page.context["form"].errors["cpu-ceiling"], ["The host of the instance cannot enforce this: not here."]
        )
        self.api.answer("PUT", PATH, *error("stella.slo.generation_conflict", 409, "other"))
        self.assertContains(self.client.post(SET, {"cpu-floor": "50%"}), "Someone else changed this service level")

    def test_an_instance_that_is_not_there(self) -> None:
        self.api.answer("GET", f"/v1/instances/{ONE}", *error("stella.request.not_found", 404, "x"))
        self.assertContains(self.client.get(SET), "Stella does not know this instance")

    def test_it_needs_the_token_of_the_form(self) -> None:
        strict = Client(enforce_csrf_checks=True)
        for address in (SET, CHECK, REMOVE, MOVE):
            self.assertEqual(strict.post(address, {"cpu-floor": "20%"}).status_code, 403)


class CheckTest(TestCase):
    """The answer before it is sent."""

    def check(self, **given: str) -> dict[str, Any]:
        answer = self.client.post(CHECK, {key.replace("__", "-"): value for key, value in given.items()})
        self.assertEqual(answer.status_code, 200)
        found: dict[str, Any] = answer.json()
        found["html"] = found["html"].replace("\xa0", " ")
        return found

    def test_it_fits(self) -> None:
        self.api.answer("PUT", PATH, 200, {**FITS, "largest": {"network_packets": 22_000.0}})
        found = self.check(network_packets__floor="14 kpps", generation="3")
        self.assertTrue(found["fits"])
        self.assertIn("Fits. 45 % of CPU are set aside for it.", found["html"])
        self.assertIn("8 kpps more of Network packets would be free here.", found["html"])
        self.assertEqual(self.api.asked[-1][2], {"dry_run": "true"})

    def test_it_does_not_fit_and_what_would(self) -> None:
        offer = {"largest": {"network_packets": 14_003.7}, "elsewhere": True, "hosts": ["compute-2"], "moves": []}
        self.api.answer(
            "PUT",
            PATH,
            *error("stella.slo.does_not_fit", 422, "x", field="objectives.network_packets.floor", counter_offer=offer),
        )
        found = self.check(network_packets__floor="20kpps")
        self.assertIs(found["fits"], False)
        self.assertIn("It would fit on another host.", found["html"])
        self.assertIn('data-stella-take="network_packets-floor" data-stella-value="14 kpps"', found["html"])
        self.assertIn("Take 14 kpps", found["html"])
        self.assertNotIn("compute-2", found["html"])

    def test_it_says_why_in_the_users_words(self) -> None:
        why = [{"code": "guest_cpu", "values": {"field": "network_packets.floor", "cores": 12_000, "vcpus": 2}}]
        told = error("stella.slo.does_not_fit", 422, "x", field="objectives.network_packets.floor", why=why)
        told[1]["errors"][0]["counter_offer"] = {"largest": {"network_packets": 60_000.0}, "elsewhere": False}
        self.api.answer("PUT", PATH, *told)
        found = self.check(network_packets__floor="900 Mpps")
        self.assertIn("Reason: Network packets: the guest would need 12000 cores of CPU for it;", found["html"])
        self.assertIn("Take 60 kpps", found["html"])
        no_slo = [{"code": "above_ceiling", "values": {"field": "cpu.floor"}}]
        self.api.answer("PUT", PATH, *error("stella.slo.invalid", 400, "x", field="objectives.cpu.floor", why=no_slo))
        errors = self.check(cpu__floor="2 cores")["errors"]
        self.assertEqual(
            errors,
            {"cpu-floor": "No instance can be guaranteed this: what is guaranteed is above what is never exceeded."},
        )

    def test_the_quota_leaves_less(self) -> None:
        quota = {"resource": "network_packets", "limit": 50_000, "used": 40_000, "asked": 20_000, "largest": 10_000}
        self.api.answer(
            "PUT",
            PATH,
            *error("stella.quota.exceeded", 403, "x", field="objectives.network_packets.floor", quota=quota),
        )
        found = self.check(network_packets__floor="20kpps")
        self.assertIn("at most 10 kpps can be had", found["html"])
        self.assertIn("Take 10 kpps", found["html"])

    def test_a_limit_from_outside_stella(self) -> None:
        limit = {"source": "flavor", "name": "quota:cpu_quota", "metric": "cpu", "direction": "both", "value": 0.5}
        more = {"limit": limit, "largest": {"cpu": 0.5}, "field": "objectives.cpu.floor"}
        self.api.answer("PUT", PATH, *error("stella.slo.above_limit", 422, "x", **more))
        found = self.check(cpu__floor="80 %")
        self.assertIn("Its flavor limits this instance (quota:cpu_quota): at most 50 % can be reached.", found["html"])
        self.assertIn("Take 50 %", found["html"])

    def test_errors_by_field(self) -> None:
        found = self.check(cpu__floor="20")
        self.assertEqual(list(found["errors"]), ["cpu-floor"])
        self.assertEqual(self.api.asked, [])

    def test_down(self) -> None:
        self.sign_in(endpoint="http://127.0.0.1:9")
        self.assertIsNone(self.check(cpu__floor="20%")["fits"])


class RemoveTest(TestCase):
    """Withdrawing."""

    def test_it_says_what_is_given_up_and_withdraws_what_was_seen(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS))
        page = self.client.get(REMOVE)
        self.assertContains(page, "becomes best effort")
        self.assertContains(page, "Network packets: at least 20\xa0kpps")
        self.api.answer("DELETE", PATH, 204)
        self.assertRedirectsNoFollow(self.client.post(REMOVE, {"generation": "3"}), INDEX)
        self.assertEqual(self.api.asked[-1][2], {"generation": "3"})

    def test_nothing_to_remove(self) -> None:
        self.api.lists(instance(1))
        self.assertContains(self.client.get(REMOVE), "there is nothing to remove")

    def test_what_the_flavor_sells_stays(self) -> None:
        one = instance(1, objectives=PACKETS)
        sold = {"cpu": {"floor": 0.5, "priority": 0}}
        one["slo"] |= {"objectives": sold, "flavor_objectives": sold, "added_objectives": {}}
        self.api.lists(one)
        self.assertContains(self.client.get(REMOVE), "comes with its flavor")
        self.assertNotContains(self.client.get(REMOVE), 'type="submit" value="Remove"')
        self.assertNotContains(self.client.get(INDEX), "Remove Service Level")
        page = self.client.get(SET)
        self.assertContains(page, "CPU: at least 50\xa0%.")
        self.assertNotContains(page, 'value="50')

    def test_a_flavor_sells_it(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS))
        self.api.answer(
            "DELETE", PATH, *error("stella.request.conflict_of_a_later_release", 409, "Its flavor sells this SLO.")
        )
        self.assertContains(self.client.post(REMOVE, {"generation": "3"}), "Its flavor sells this SLO.")


class MoveTest(TestCase):
    """An operator moves the instance where what was asked for would fit."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(instance(1, objectives=PACKETS))
        offer = {"largest": {"network_packets": 14_000.0}, "elsewhere": True, "hosts": ["compute-2"]}
        told = error("stella.slo.does_not_fit", 422, "x", field="objectives.network_packets.floor", counter_offer=offer)
        self.api.answer("PUT", PATH, *told)

    def answer(self) -> str:
        return str(self.client.post(f"{CHECK}?detail", {"network_packets-floor": "20kpps"}).json()["html"])

    def test_a_member_is_not_offered_it_and_cannot_do_it(self) -> None:
        self.assertNotIn("compute-2", self.answer())
        with mock.patch.object(servers, "move") as move:
            self.assertContains(self.client.get(MOVE), "Your roles do not allow this.")
            self.assertNotContains(self.client.get(MOVE), 'value="Move"')
            self.client.post(MOVE, {"host": "compute-2"})
        move.assert_not_called()

    def test_nova_is_asked_once_it_is_confirmed(self) -> None:
        self.sign_in("admin", "member", "reader")
        html = self.answer()
        self.assertIn("Move to host compute-2", html)
        self.assertIn("Take 14", html)
        address = MOVE + "?host=compute-2&amp;detail="
        self.assertIn(f'href="{address}"', html)
        address = address.replace("&amp;", "&")
        with mock.patch.object(servers.nova, "server_live_migrate") as migrate:
            page = self.client.get(address)
            self.assertContains(
                page, "Nova is asked to move <strong>web-1</strong> to the host <strong>compute-2</strong>"
            )
            migrate.assert_not_called()
            detail = reverse("horizon:project:service_levels:detail", args=[ONE])
            self.assertRedirectsNoFollow(self.client.post(address, {"host": "compute-2"}), detail)
        (request, *asked), more = migrate.call_args
        self.assertEqual((asked, more), ([ONE, "compute-2"], {"block_migration": "auto", "disk_over_commit": False}))
        self.assertTrue(request.user)
        self.assertEqual([one[0] for one in self.api.asked if one[0] != "GET"], ["PUT"])

    def test_nova_refuses(self) -> None:
        self.sign_in("admin", "member", "reader")
        with mock.patch.object(servers.nova, "server_live_migrate", side_effect=RuntimeError("secret")):
            page = self.client.post(MOVE, {"host": "compute-2"})
        self.assertContains(page, "Nova does not move it.")
        self.assertNotContains(page, "secret")

    def test_a_host_that_is_none(self) -> None:
        self.sign_in("admin", "member", "reader")
        with mock.patch.object(servers.nova, "server_live_migrate") as migrate:
            self.assertContains(self.client.post(MOVE, {"host": "../x y"}), "That is no name of a host.")
        migrate.assert_not_called()


class QuantitiesTest(TestCase):
    """Numbers as people read and write them."""

    def test_what_is_shown_can_be_read_again(self) -> None:
        for metric, values in {
            "cpu": (0.2, 1.0, 1.5, 12.0),
            "network_packets": (64.0, 20_000.0, 1.25e6),
            "block_bytes": (3e8, 1e3),
            "block_operations": (8000.0,),
            "block_latency": (0.005, 2.0),
        }.items():
            for value in values:
                self.assertAlmostEqual(quantities.parse(metric, quantities.show(metric, value)), value)

    def test_only_what_was_always_kept_is_100_percent(self) -> None:
        shown = [quantities.show_ratio(ratio).replace("\xa0", " ") for ratio in (1.0, 0.999999, 0.5, 0.0, None)]
        self.assertEqual(shown, ["100 %", "99.99 %", "50.00 %", "0 %", "\N{EN DASH}"])

    def test_every_metric_has_fields(self) -> None:
        form = SetForm(self.request, initial={"found": None})
        for metric in quantities.UNIT_OF:
            self.assertTrue([name for name in form.fields if name.startswith(metric)])

"""Every fault that Stella must survive, and the tests that show it: the one list.

`python -m tests.faults` (``make test-faults``) runs them and tells how long things took; docs/faults.md holds the table;
`tests/unit/test_fault_matrix.py` fails where a fault has no test, a test is not there, or the page says something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

AGENT = "tests/faults/test_agent_process.py"
VIRTUAL = "tests/faults/test_virtual_time.py"
GUESTS = "tests/faults/test_guests.py"
XGOS = "tests/unit/xgos"
TWO_HOSTS = "tests/openstack/two_hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row. ``fails``: what is killed or changed; ``happens``: what Stella does then; ``lost``: what is gone afterwards.

    ``tests`` are functions as ``path::name``; those under tests/openstack need the laboratory of ``make openstack`` and are run by
    ``make test-openstack``, those on two hosts by ``make test-two-hosts``. ``not_yet``: what of this fault no test shows.
    """

    name: str
    fails: str
    happens: str
    lost: str
    tests: Sequence[str]
    not_yet: str = ""

    @property
    def here(self) -> Sequence[str]:
        """The tests that need no cloud."""
        return [test for test in self.tests if not test.startswith("tests/openstack/")]

    @property
    def elsewhere(self) -> Sequence[str]:
        """The names of those that need one."""
        return [test.rpartition("::")[2] for test in self.tests if test.startswith("tests/openstack/")]


FAULTS = (
    Fault(
        name="F1",
        fails="the agent is killed (SIGKILL)",
        happens="restraints are lifted within 2 s by the guard, weights stay; started again it has everything in force within 5 s",
        lost="nothing; every minute is counted once",
        tests=(
            f"{AGENT}::test_killed_and_started_again",
            "tests/faults/test_agent.py::test_the_agent_is_killed_under_reports",
            "tests/agent/test_kill.py::test_nothing_stays_restrained_and_release_is_bit_for_bit",
            "tests/agent/test_kill.py::test_release_without_guard_and_journal",
        ),
    ),
    Fault(
        name="F2",
        fails="the agent is stopped for 30 s and goes on (SIGSTOP, SIGCONT)",
        happens="restraints are lifted within 2 s; afterwards every knob is what it was, without a step in between",
        lost="the seconds of the pause are UNKNOWN",
        tests=(
            f"{AGENT}::test_stopped_and_continued",
            f"{VIRTUAL}::test_thirty_seconds_without_a_tick",
            "tests/agent/test_kill.py::test_a_stopped_agent_is_lifted_and_goes_on",
            "tests/property/test_accounting.py::test_an_outage_of_thirty_seconds_is_thirty_unknown_windows",
        ),
    ),
    Fault(
        name="F3",
        fails="files of the agent's state are cut, garbage, of a wrong checksum or an older version",
        happens="they are set aside, the agent starts anyway and has SLOs again from the API and knobs from the kernel",
        lost="nothing while the API is there",
        tests=(
            f"{AGENT}::test_its_state_damaged",
            f"{XGOS}/actuation/test_journal.py::test_a_cut_or_changed_journal_is_not_believed",
            f"{XGOS}/actuation/test_journal.py::test_a_journal_of_version_1_is_read",
            f"{XGOS}/intents/test_store.py::test_a_file_of_version_1_is_read_and_written_as_version_2",
            f"{XGOS}/accounting/test_history.py::test_garbage_on_disk_is_no_obstacle",
            f"{XGOS}/process/test_learned_costs.py::test_costs_come_back_and_a_damaged_file_is_set_aside",
        ),
    ),
    Fault(
        name="F4",
        fails="a process is killed between two writes of its state",
        happens="the file is the old one or the new one, whole",
        lost="nothing that was acknowledged",
        tests=(
            f"{AGENT}::test_killed_between_two_writes_of_state",
            f"{XGOS}/intents/test_store.py::test_a_crash_between_two_writes_leaves_the_old_file",
            f"{XGOS}/accounting/test_outbox.py::test_kill_9_keeps_rows_epoch_and_numbers",
            "tests/functional/test_ledger_real.py::test_a_process_that_ends_between_its_two_writes_is_mended",
        ),
    ),
    Fault(
        name="F5",
        fails="another program resets a knob",
        happens="a weight is set again in the next period, counted and logged; a quota or CPU set is respected as a bound",
        lost="nothing",
        tests=(
            f"{AGENT}::test_knobs_changed_by_another_program",
            f"{XGOS}/actuation/test_host.py::test_weights_are_set_again_counted_and_given_up",
            f"{XGOS}/actuation/test_host.py::test_a_later_vcpupin_and_quota_become_the_bound_and_are_not_fought",
        ),
    ),
    Fault(
        name="F6",
        fails="an instance dies within a tick, its process number is given away, devices and vCPUs come and go",
        happens="it is skipped and forgotten; nothing is written to another process or group of the same name",
        lost="nothing of the others",
        tests=(
            f"{AGENT}::test_an_instance_dies_and_its_process_number_is_given_away",
            f"{GUESTS}::test_a_guest_dies",
            f"{XGOS}/sensing/test_sensors.py::test_a_process_that_dies_between_two_reads",
            f"{XGOS}/sensing/test_sensors.py::test_hot_plugged_groups_are_found",
            f"{XGOS}/sensing/test_network.py::test_a_name_that_was_given_to_another_device",
            f"{XGOS}/actuation/test_host.py::test_nothing_is_written_to_another_process_of_the_same_number",
            f"{XGOS}/actuation/test_host.py::test_nothing_is_written_to_another_group_of_the_same_name",
        ),
    ),
    Fault(
        name="F7",
        fails="an instance is moved to another host",
        happens="it is frozen while it moves and until it has settled; the SLO follows its uuid; the source gives back its knobs",
        lost="nothing; history and budget are one account",
        tests=(
            f"{XGOS}/sensing/test_hypervisor.py::test_a_migration_is_told_by_its_first_event_and_ends",
            "tests/unit/control/test_closed_loop.py::test_a_migrated_instance_is_frozen_until_it_has_settled",
            f"{XGOS}/actuation/test_plan.py::test_a_frozen_instance_is_given_back_what_restrains_it",
            "tests/functional/test_reports.py::test_an_instance_that_moved_takes_its_slo_along",
            "tests/functional/test_following.py::test_each_operation",
            "tests/functional/test_ledger_real.py::test_a_server_that_nova_moves_keeps_its_place_and_nothing_more",
            "tests/openstack/test_survival.py::test_shelve_and_unshelve",
            f"{TWO_HOSTS}/test_moves.py::test_live_migration",
            f"{TWO_HOSTS}/test_moves.py::test_cold_migration",
            f"{TWO_HOSTS}/test_moves.py::test_a_host_that_cannot_hold_it_is_refused",
            f"{TWO_HOSTS}/test_relief.py::test_a_forced_move_to_a_host_that_cannot_hold_it_is_degraded_and_said_so",
        ),
        not_yet="in CI: the tests on two real hosts, which `make test-two-hosts` runs",
    ),
    Fault(
        name="F8",
        fails="a guest's QEMU or libvirtd is stuck, or libvirtd is killed and started again",
        happens="each call has a deadline, no tick waits; others are kept; what is not seen is UNKNOWN or idle, never MET",
        lost="nothing of the others",
        tests=(
            f"{GUESTS}::test_a_stuck_qemu",
            f"{GUESTS}::test_a_stuck_libvirtd",
            f"{GUESTS}::test_libvirtd_killed_and_started_again",
            f"{XGOS}/sensing/test_discovery.py::test_a_stuck_monitor_delays_nobody_else",
            f"{XGOS}/sensing/test_discovery.py::test_a_stuck_list_never_blocks",
            f"{XGOS}/sensing/test_hypervisor.py::test_libvirt_is_started_again",
            "tests/property/test_accounting.py::test_without_the_hypervisor_what_is_promised_is_unknown",
        ),
    ),
    Fault(
        name="F9",
        fails="cgroup v1, v2 or both, a controller is missing, `-1` against `max`, other ranges of weights",
        happens="probed and clamped; what a host cannot enforce is told and refused",
        lost="nothing",
        tests=(
            "tests/agent/test_golden.py::test_one_tick",
            "tests/agent/test_process.py::test_a_tree_without_cgroups_is_one_line",
            "tests/unit/linux/test_cgroup.py::test_hybrid_host_uses_the_v1_controller_before_the_empty_v2_one",
            "tests/unit/linux/test_cgroup.py::test_no_quota_and_garbage",
            "tests/unit/linux/test_cgroup.py::test_weights_are_clamped",
            f"{XGOS}/sensing/test_sensors.py::test_hierarchies_that_cannot_be_used",
            "tests/unit/control/test_capabilities.py::test_a_host_that_lacks_something_says_so",
        ),
    ),
    Fault(
        name="F10",
        fails="a counter is reset, or the clock of one host steps",
        happens="negative differences are dropped; control follows the monotonic clock; the API says that the clock is off",
        lost="minutes that were dated in the future, logged and counted; no second twice",
        tests=(
            f"{VIRTUAL}::test_counters_that_fall",
            f"{AGENT}::test_its_clock_steps",
            f"{XGOS}/accounting/test_steps_and_restarts.py::test_each_second_once",
            f"{XGOS}/accounting/test_history.py::test_a_clock_that_jumps_deletes_nothing",
            "tests/unit/control/test_windows.py::test_a_clock_step_loses_and_doubles_no_label",
            f"{XGOS}/link/test_reporter.py::test_a_clock_that_is_off_waits_and_loses_nothing",
            f"{XGOS}/link/test_reporter.py::test_minutes_that_a_clock_which_went_back_has_dated_in_the_future_hold_up_nothing",
        ),
    ),
    Fault(
        name="F11",
        fails="a sensor is stale or missing",
        happens="UNKNOWN, and what cannot be seen is not left restrained",
        lost="the seconds without the sensor are UNKNOWN",
        tests=(
            "tests/unit/control/test_attribution.py::test_lost_sensor_is_unknown_never_met",
            f"{XGOS}/sensing/test_sensors.py::test_a_failed_sensor_gives_none_and_says_so",
            f"{XGOS}/actuation/test_plan.py::test_frozen_unseen_and_unread_instances_get_nothing",
            f"{XGOS}/actuation/test_host.py::test_what_cannot_be_seen_any_more_is_not_left_restrained",
            f"{GUESTS}::test_a_stuck_qemu",
        ),
    ),
    Fault(
        name="F12",
        fails="floors exceed the capacity, or the capacity drops",
        happens="new ones are refused with what would fit; of those in force the lowest priorities are DEGRADED, without oscillation",
        lost="what does not fit, by priority",
        tests=(
            f"{VIRTUAL}::test_floors_exceed_a_capacity_that_dropped",
            f"{XGOS}/intents/test_reconcile.py::test_of_two_that_come_back_the_higher_priority_is_kept_and_nothing_oscillates",
            f"{XGOS}/intents/test_reconcile.py::test_degraded_ones_share_what_is_free_by_priority",
            "tests/functional/test_slo.py::test_what_does_not_fit_is_refused_with_a_counter_offer_that_is_accepted",
            "tests/functional/test_concurrency.py::test_admission_and_reports_that_change_the_capacity_at_the_same_time",
        ),
    ),
    Fault(
        name="F13",
        fails="an instance does not ask for its floor",
        happens="NO_DEMAND; its share is lent, and is back within 2 periods",
        lost="nothing",
        tests=(
            f"{VIRTUAL}::test_without_demand_the_share_is_lent_and_comes_back_within_two_periods",
            "tests/unit/sim/test_host.py::test_what_the_floors_leave_is_shared_by_the_neighbours",
        ),
    ),
    Fault(
        name="F14",
        fails="a tenant cheats with huge requests, tiny packets or many disks",
        happens="operations are normalised by size over all disks; a floor is priced for what it names, and takes no more",
        lost="nothing of the others",
        tests=(
            f"{VIRTUAL}::test_tiny_packets_take_nothing_from_another",
            f"{VIRTUAL}::test_huge_requests_count_by_their_size",
            "tests/unit/control/test_cost_and_reservation.py::test_a_byte_in_small_requests_is_dearer_than_in_large_ones",
            "tests/unit/control/test_capabilities.py::test_a_host_that_lacks_something_says_so",
        ),
        not_yet="ceilings of packets, bytes and operations (refused in this release)",
    ),
    Fault(
        name="F15",
        fails="requests without a token, of others, malformed, huge, slow, repeated",
        happens="401, 403, 404, 409, 413, 422; nothing is changed",
        lost="nothing",
        tests=(
            "tests/functional/test_bad_input.py::test_objectives_that_cannot_be",
            "tests/functional/test_bad_input.py::test_the_size_and_kind_of_a_body",
            "tests/functional/test_bad_input_reports.py::test_what_is_not_taken_changes_nothing",
            "tests/functional/test_bad_input_reports.py::test_reports_that_come_again_or_late_change_nothing",
            "tests/functional/test_anything.py::test_any_request",
            "tests/functional/test_slow_clients.py::test_slow_clients_delay_nobody_and_are_closed",
            "tests/functional/test_roles.py::test_who_has_no_valid_token",
            "tests/functional/test_roles.py::test_each_role_in_a_foreign_project",
            f"{XGOS}/local_api/test_requests.py::test_metacharacters_in_a_name_are_just_a_name",
            "tests/openstack/test_rights.py::test_what_another_project_tried_changed_nothing",
        ),
    ),
    Fault(
        name="F16",
        fails="the API, the database, the engine, the broker or Keystone is away, or a host is cut off",
        happens="hosts go on with their last intent; 503 with Retry-After; all goes on by itself; reports count once, in any order",
        lost="nothing",
        tests=(
            "tests/faults/test_agent.py::test_the_host_is_cut_off",
            "tests/faults/test_api_killed.py::test_nothing_accepted_is_lost_or_half_applied",
            "tests/faults/test_database_away.py::test_it_waits_and_goes_on",
            "tests/faults/test_engine_killed.py::test_every_minute_counts_once",
            "tests/functional/test_keystone_real.py::test_keystone_that_freezes_stops_and_comes_back",
            "tests/functional/test_notifications.py::test_a_broker_that_is_away_holds_nobody_up_and_is_said_once",
            "tests/functional/test_ledger_real.py::test_a_placement_that_is_away_fails_the_run_and_is_caught_up_with",
            f"{XGOS}/link/test_reporter.py::test_any_faults_in_any_order_lose_and_double_nothing",
        ),
    ),
    Fault(
        name="F17",
        fails="two agents on one host, two engines",
        happens="the second agent refuses to start; one engine holds the lease, and one that lost it writes nothing",
        lost="nothing",
        tests=(
            "tests/agent/test_process.py::test_one_agent_for_a_host",
            "tests/functional/test_engine_leader.py::test_the_stand_by_acts_within_ten_seconds_when_the_leader_is_killed",
            "tests/functional/test_engine_leader.py::test_a_leader_that_was_frozen_stands_by_and_has_written_nothing",
            "tests/functional/test_engine_fence.py::test_a_leader_whose_clock_stood_still_writes_nothing",
        ),
    ),
    Fault(
        name="F18",
        fails="the disk of a host is full or read-only, a knob cannot be written",
        happens="control goes on in memory with an alarm, then on disk by itself; without a durable journal nothing is restrained",
        lost="history lines meanwhile, counted",
        tests=(
            f"{AGENT}::test_its_disk_is_full_then_read_only",
            f"{AGENT}::test_a_knob_cannot_be_written",
            f"{XGOS}/actuation/test_journal.py::test_a_full_or_failing_disk_does_not_keep_restraints",
            f"{XGOS}/actuation/test_journal.py::test_no_restraint_without_a_durable_journal",
            f"{XGOS}/accounting/test_history.py::test_a_disk_that_fails_costs_lines_not_ticks",
            f"{XGOS}/accounting/test_outbox.py::test_a_disk_that_fails_holds_rows_back",
        ),
    ),
    Fault(
        name="F19",
        fails="agents and API are upgraded one after the other, under load",
        happens="releases N-1, N and N+1 speak: unknown keys are ignored, an unknown metric is refused, older microversions served",
        lost="nothing; floors are out of force while their agent restarts",
        tests=(
            "tests/faults/test_rolling_upgrade.py::test_neighbouring_releases_under_load",
            "tests/functional/test_link.py::test_an_agent_of_today_with_an_api_of_the_release_before",
            "tests/functional/test_link.py::test_an_agent_of_the_release_before_with_an_api_of_today",
            "tests/functional/test_reports.py::test_keys_of_the_next_release_are_ignored",
            f"{XGOS}/link/test_fetcher.py::test_unknown_keys_are_ignored_and_an_unknown_metric_is_refused_for_that_slo_only",
            "tests/functional/test_process.py::test_it_refuses_to_start_on_a_database_of_another_version",
        ),
    ),
    Fault(
        name="F20",
        fails="a host reboots or dies",
        happens="in force within 10 s of the agent's start, also without the API; "
        "SLOs of a silent host stay, whose QEMU may live; evacuated once fenced",
        lost="nothing after a reboot",
        tests=(
            f"{AGENT}::test_its_host_reboots_without_the_api",
            "tests/unit/sim/test_host.py::test_a_host_made_again_is_the_same_agent_and_keeps_what_was_asked_for",
            f"{XGOS}/actuation/test_journal.py::test_a_journal_of_an_earlier_boot_is_empty",
            "tests/functional/test_engine_hosts.py::test_an_instance_on_a_silent_host_keeps_its_slo",
            "tests/functional/test_following.py::test_the_slo_of_a_server_deleted_on_a_silent_host_is_withdrawn_when_the_host_is_back",
            "tests/functional/test_evacuation.py::test_not_fenced_is_a_recommendation_that_is_given_once",
            "tests/functional/test_evacuation.py::test_fenced_by_an_operator_the_highest_priority_goes_first",
            "tests/functional/test_evacuation.py::test_many_that_look_dead_at_once",
            f"{TWO_HOSTS}/test_moves.py::test_evacuation",
            f"{TWO_HOSTS}/test_tour.py::test_a_host_is_lost_and_fenced_and_its_promises_come_back",
        ),
        not_yet="in CI: the tests on two real hosts, which `make test-two-hosts` runs",
    ),
    Fault(
        name="F21",
        fails="a host has 200 and more instances",
        happens="a tick takes less CPU time than its period; lists are read in turns",
        lost="nothing",
        tests=(
            f"{AGENT}::test_two_hundred_and_twenty_instances",
            f"{XGOS}/sensing/test_many_instances.py::test_a_tick_over_many_instances_decides_and_plans_for_all",
            f"{XGOS}/sensing/test_many_instances.py::test_many_instances_are_read_whole_and_no_descriptor_is_lost",
            f"{XGOS}/intents/test_reconcile.py::test_many_at_once_take_several_ticks",
        ),
    ),
    Fault(
        name="notifications",
        fails="Nova's notifications come twice, late, in another order, or not at all",
        happens="Nova is asked what is so now; it is done once",
        lost="nothing",
        tests=(
            "tests/faults/test_notifications_again.py::test_a_resize_told_many_times_in_any_order",
            "tests/faults/test_notifications_again.py::test_a_creation_told_after_the_deletion",
            "tests/functional/test_following.py::test_each_operation",
        ),
    ),
    Fault(
        name="older database",
        fails="the database is replaced by an older copy, or an empty one",
        happens="hosts doubt it and keep what they have; what it does not know is not deleted from Placement; both are said",
        lost="what the copy lacks, in the database alone: set it again",
        tests=(
            "tests/faults/test_database_restored.py::test_hosts_keep_what_was_asked_for_since",
            "tests/faults/test_database_restored.py::test_many_holdings_in_placement_are_not_deleted",
            "tests/functional/test_ledger_real.py::test_an_empty_database_deletes_nothing",
            f"{XGOS}/link/test_fetcher.py::test_an_older_database_is_doubted_also_after_a_restart_of_the_agent",
            "tests/functional/test_engine_hosts.py::test_a_cloud_that_does_not_answer_withdraws_nothing",
        ),
    ),
    Fault(
        name="certificate",
        fails="the API's TLS certificate expires",
        happens="agents and clients say so and send nothing; hosts go on with the last intent; a new one is used at once",
        lost="nothing",
        tests=(
            "tests/faults/test_certificate.py::test_it_expires_and_is_renewed",
            "tests/functional/test_tls.py::test_a_server_that_is_not_trusted_is_told_nothing",
        ),
    ),
    Fault(
        name="credential",
        fails="a host's credential is revoked",
        happens="it is refused from its next request on and goes on with its last intent; a new one is used without a restart",
        lost="nothing",
        tests=(
            f"{AGENT}::test_its_credential_is_revoked",
            "tests/functional/test_placement_real.py::test_a_host_whose_credential_is_revoked_takes_nothing_more",
            "tests/openstack/test_rights.py::test_a_forged_credential_is_refused",
        ),
    ),
    Fault(
        name="drain",
        fails="a host is put into mode maintenance",
        happens="nothing is moved, nothing new is taken, what is in force stays; whole minutes of it are excluded from SLAs",
        lost="nothing",
        tests=(
            "tests/faults/test_drain.py::test_what_it_counts_meanwhile_is_excluded_to_the_whole_minute",
            "tests/faults/test_drain.py::test_it_counts_while_it_lasts_and_in_a_month_that_ends_meanwhile",
            "tests/faults/test_drain.py::test_less_than_a_minute_excludes_nothing",
            "tests/faults/test_drain.py::test_nothing_is_moved_and_nothing_new_is_taken",
            "tests/agent/test_link.py::test_the_agent_obeys_the_apis_mode_also_while_the_api_is_away",
            "tests/functional/test_placement_real.py::test_a_host_that_does_not_enforce_takes_nothing_more",
        ),
    ),
)


def document() -> str:
    """The table of docs/faults.md."""
    lines = ["| | what fails | what happens | what is lost | tests |", "|---|---|---|---|---|"]
    for one in FAULTS:
        clouds = len(one.tests) - len(one.here)
        shown = f"{len(one.here)}" + (f" + {clouds} in OpenStack" if clouds else "")
        shown += f". **Not yet:** {one.not_yet}" if one.not_yet else ""
        lines.append(f"| {one.name} | {one.fails} | {one.happens} | {one.lost} | {shown} |")
    return "\n".join(lines) + "\n"

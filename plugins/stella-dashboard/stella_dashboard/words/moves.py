"""Why an instance is to leave its host, or nothing moves, and what became of a move: by the codes of the API's ``why``."""

from django.utils.translation import gettext_lazy as _

BECAUSE = {
    "to_move": _("the instance is to move to another host"),
    "host_dead": _("the host of the instance is dead"),
    "own_floor_missed": _("what it is guaranteed itself is missed on %(host)s"),
    "other_floor_missed": _("what another instance is guaranteed is missed on %(host)s"),
    "floors_missed": _("what instances are guaranteed is missed on %(host)s (%(number)s instances)"),
    "move_frees": _("moving it to %(host)s frees %(cores)s of CPU"),
    "move_frees_part": _("moving it to %(host)s frees %(cores)s of CPU, which is not all that is lacking"),
    "many_silent": _("%(number)s of %(hosts)s hosts are silent at once, so nothing is moved"),
    "no_host_for_move": _("no other host can take an instance that would help"),
    "no_move_worth": _("no move would end %(seconds)s violated seconds an hour"),
    "kept_from_moving": _("the instances that would help may not be moved"),
    "none_helps": _("no instance on the host would help by leaving it"),
    "opted_out": _("it is opted out of relief"),
    "state_is": _("its state is: %(state)s"),
    "status_is": _("its status in Nova is %(status)s"),
    "moved_lately": _("it moved less than %(seconds)s s ago"),
    "project_moves": _("its project has had all moves of this hour (%(number)s)"),
    "cloud_moves": _("the cloud has had all moves of this hour (%(number)s)"),
    "host_moves": _("%(host)s has had all moves of this hour (%(number)s)"),
    "host_waits": _("%(host)s waits %(seconds)s s after a move that failed"),
    "moves_in_vain": _("the last moves from %(host)s did not help (%(number)s)"),
    "cloud_moves_in_vain": _("the last moves in the cloud did not help (%(number)s)"),
    "not_fenced": _("%(host)s is silent for %(seconds)s s and not fenced; instances that wait: %(number)s"),
    "fenced_not_down": _("%(host)s is silent for %(seconds)s s and fenced, and Nova does not call it down yet"),
    "dead_and_fenced": _("%(host)s is dead and fenced"),
    "no_other_host": _("no other host can take it"),
    "fenced": _("fenced"),
    "not_fenced_any_more": _("not fenced any more"),
    "fencing_succeeded": _("the fencing command succeeded"),
    "fencing_failed": _("the fencing command failed"),
    "no_failover_place": _("no other host could take what it is guaranteed should its host be lost"),
    "has_failover_place": _("another host keeps a place for what it is guaranteed should its host be lost"),
    "relief_mode_changed": _("relief: from %(relief_before)s to %(relief_after)s"),
    "cloud_refuses": _("Nova refuses"),
    "status_now": _("the status of the instance in Nova is %(status)s now"),
    "status_error": _("the status of the instance in Nova is ERROR"),
    "went_nowhere": _("the instance has no host now"),
    "went_elsewhere": _("the instance went to %(host)s"),
    "migration_ended": _("the migration (%(migration)s) ended in Nova as: %(status)s"),
    "not_begun": _("Nova did not begin it within %(seconds)s s"),
}
OF_A_HOST = ("move_frees", "move_frees_part")
"""Their CPU is that of a host: it is said in cores, as on the pages of hosts."""

RELIEF_MODES = {
    "off": _("off"),
    "suggest": _("suggest only"),
    "act": _("act"),
    "as the cloud": _("as the cloud has it"),
}
"""What is done about floors that a host cannot keep."""

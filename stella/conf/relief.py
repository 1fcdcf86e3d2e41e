"""``[relief]``: moving instances off hosts that cannot keep their floors, and off dead hosts."""

from oslo_config import cfg

from stella.control.relief_view import Limits, Mode

GROUP = "relief"
_DEFAULT = Limits()
OPTIONS = [
    cfg.StrOpt(
        "mode",
        default=Mode.SUGGEST.value,
        choices=[
            (Mode.OFF.value, "Nothing is decided, whatever hosts are set to."),
            (Mode.SUGGEST.value, "Decisions are recorded, and nothing is moved."),
            (Mode.ACT.value, "Instances are moved, where the cloud can (OpenStack)."),
        ],
        help="What is done about a floor that its host cannot keep, and about a dead host that is fenced. A host may have another "
        "mode (`openstack slo host set --relief-mode`).",
    ),
    cfg.FloatOpt(
        "incurable_seconds",
        default=_DEFAULT.incurable_seconds,
        min=2.0,
        max=_DEFAULT.window_seconds,
        help="A floor that was missed for this long within the last two minutes is one that its host does not cure.",
    ),
    cfg.FloatOpt(
        "least_effect",
        default=_DEFAULT.least_effect,
        min=0.0,
        help="A move must be predicted to end this many violated seconds an hour.",
    ),
    cfg.FloatOpt(
        "hold_seconds",
        default=_DEFAULT.hold_seconds,
        min=0.0,
        help="No instance is moved twice within this time.",
    ),
    cfg.IntOpt(
        "largest_at_once", default=_DEFAULT.largest_at_once, min=1, help="Moves under way at once in the cloud."
    ),
    cfg.IntOpt(
        "largest_of_host", default=_DEFAULT.largest_of_host, min=1, help="Moves from or to one host in an hour."
    ),
    cfg.IntOpt(
        "largest_of_project", default=_DEFAULT.largest_of_project, min=1, help="Moves of one project in an hour."
    ),
    cfg.IntOpt("largest_of_cloud", default=_DEFAULT.largest_of_cloud, min=1, help="Moves in the cloud in an hour."),
    cfg.FloatOpt(
        "largest_silent_ratio",
        default=_DEFAULT.largest_silent_ratio,
        min=0.0,
        max=1.0,
        help="While more than this part of all hosts is silent, and more than one, nothing is moved, fenced or evacuated.",
    ),
    cfg.IntOpt(
        "stop_after",
        default=_DEFAULT.stop_after,
        min=1,
        help="After this many moves from a host in a row that did not help, no further one is made for stop_seconds.",
    ),
    cfg.FloatOpt(
        "stop_seconds",
        default=_DEFAULT.stop_seconds,
        min=0.0,
        help="How long moves stop after those that did not help.",
    ),
    cfg.StrOpt(
        "fencing_command",
        help="The command that makes certain that nothing runs on a host, such as `/usr/local/sbin/power-off {host}`; {host} stands "
        "for its name. It runs without a shell, and the host is fenced if it ends with 0. Not set: only an operator can say so.",
    ),
    cfg.FloatOpt(
        "fencing_seconds",
        default=60.0,
        min=1.0,
        help="The fencing command is ended after this time, and has failed then.",
    ),
]


def limits_of(config: cfg.ConfigOpts) -> Limits:
    """The limits that the configuration sets; the others are as they are."""
    section = config[GROUP]
    names = ("incurable_seconds", "least_effect", "hold_seconds", "largest_at_once", "largest_of_host")
    names += ("largest_of_project", "largest_of_cloud", "largest_silent_ratio", "stop_after", "stop_seconds")
    return Limits(**{name: section[name] for name in names})

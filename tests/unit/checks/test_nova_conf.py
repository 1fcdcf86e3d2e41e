"""Nova's configuration, read as Nova reads it."""

from pathlib import Path

from stella.checks import nova_conf, verdicts
from stella.checks.facts import NovaConf
from stella.model.check import Code

OWN = """[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = stella_nova.filter.StellaFilter
enabled_filters = ComputeFilter,StellaFilter
weight_classes = nova.scheduler.weights.all_weighers,stella_nova.weigher.StellaWeigher
[stella]
auth_type = password
password = secret
[notifications]
notification_format = both
versioned_notifications_topics = versioned_notifications,stella_notifications
"""


def test_drop_ins_beside_a_file(tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_text(
        "[filter_scheduler]\nenabled_filters = ComputeFilter\n[oslo_messaging_notifications]\ndriver = noop\n"
    )
    before = nova_conf.read([str(conf)])
    assert before.enabled_filters == ("ComputeFilter",)
    assert verdicts.nova_filter(before).code is Code.WARNING
    beside = tmp_path / "nova.conf.d"
    beside.mkdir()
    (beside / "stella.conf").write_text(OWN + "[oslo_messaging_notifications]\ndriver = messagingv2\n")
    found = nova_conf.read([str(conf)])
    assert verdicts.nova_filter(found).code is Code.SUCCESS and verdicts.nova_weigher(found).code is Code.SUCCESS
    assert found.notification_format == "both" and "stella_notifications" in found.notification_topics
    assert found.login == {"auth_type"} and "messagingv2" in found.notification_drivers
    assert "secret" not in repr(found)


def test_a_directory_alone(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(OWN)
    assert nova_conf.read([str(tmp_path)]).enabled_filters == ("ComputeFilter", "StellaFilter")


def test_defaults_are_novas(tmp_path: Path) -> None:
    (tmp_path / "nova.conf").write_text("")
    found = nova_conf.read([str(tmp_path / "nova.conf")])
    assert found.available_filters == (verdicts.ALL_FILTERS,) and found.notification_format == "unversioned"
    assert found.notification_topics == ("versioned_notifications",)


def test_none_and_what_cannot_be_read(tmp_path: Path) -> None:
    assert nova_conf.read([]) == NovaConf()
    assert "does not exist" in nova_conf.read([str(tmp_path / "none.conf")]).error
    bad = tmp_path / "bad.conf"
    bad.write_text("[stella]\npassword secret\n")
    found = nova_conf.read([str(bad)])
    assert found.error and "secret" not in found.error

"""What operators look into: an instance that takes CPU from another, and what Stella suggests about it; for tests and screenshots."""

import time

from stella.control.relief_view import Kind, Limits, Mode, MoveDecision, State
from stella.db import hosts, instances, moves
from stella.db.database import Session
from stella.db.slos import system_origin
from stella.engine.duties.relief import Relief
from stella.engine.duty import Duty
from tests.browser.site import Project
from tests.functional.engines import run_duties


def use(project: Project, uuid: str, *, used_cores: float, entitled_cores: float) -> None:
    """What its host reports of its CPU from now on."""
    project.host.agent.instances[uuid]["cpu"] = {"used_cores": used_cores, "entitled_cores": entitled_cores}
    project.host.agent.report()


def offend(project: Project, offender: str, victim: str, *, missed_seconds: float) -> None:
    """The host reports that the offender took the CPU of the victim, until a moment ago."""
    now = int(time.time())
    told = {
        "id": f"{victim}-{offender}",
        "uuid": victim,
        "metric": "cpu",
        "opened_at": now - missed_seconds - 30,
        "closed_at": now - 30,
        "cause": "cpu",
        "offender": offender,
        "evidence": {"missed_seconds": missed_seconds, "offender_used_cores": 1.6, "offender_entitled_cores": 0.4},
    }
    answer = project.host.agent.report(violations=[told])
    assert answer.status_code == 200, answer.text


def suggest(project: Project, uuid: str, to: str, victim: str, *, minutes_ago: float = 1.0) -> int:
    """The number of the decision that suggests to move an instance to another host, for the sake of a victim."""
    source = project.host.agent.name
    made = MoveDecision(
        kind=Kind.RELIEF,
        state=State.SUGGESTED,
        source=source,
        reason=f"the floor of another instance is missed on {source}; moving it to {to} frees 0.800 cores",
        instance=uuid,
        destination=to,
        freed_cores=0.8,
        predicted_effect=1200.0,
        victims=(victim,),
    )

    def write(session: Session) -> int:
        placed, destination = instances.find_placed(session, uuid), hosts.find(session, to)
        assert placed is not None and destination is not None
        origin = system_origin(time.time() - minutes_ago * 60)
        instance, host, _ = placed
        return moves.open_(session, made, source=host, destination=destination, instance=instance, origin=origin)

    return project.site.stella.cloud.database.write(write)


def follow(project: Project) -> None:
    """The engine looks at what was suggested, and at what became of it."""
    relief = Relief(None, cloud=Mode.OFF, limits=Limits(), margin=1.1)
    run_duties(project.site.stella.cloud, (Duty(name="relief", interval_seconds=5.0, run=relief.run),))


def measure(project: Project, number: int, *, effect: float) -> None:
    """Some minutes later, in which so many violated seconds an hour ended."""
    project.site.stella.cloud.database.write(
        lambda session: moves.measure(session, number, effect=effect, helped=effect > 0)
    )

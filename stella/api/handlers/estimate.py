"""Estimates: what an SLO would take of any host, and the flavor that sells it."""

from stella.admission import verdicts
from stella.api import limits
from stella.api.errors import ApiError
from stella.api.operation import Answer, Call, operation
from stella.api.policies import estimate as policies
from stella.api.schemas import estimate as schema
from stella.db import hosts
from stella.model.flavor import extra_specs_of
from stella.model.limits import of_flavor
from stella.model.resources import resources_of
from stella.model.slo import InvalidSlo, parse_slo


@operation(
    body=schema.POST,
    responses={200: schema.ESTIMATE},
    rules=(policies.CREATE,),
    errors=("stella.slo.invalid", "stella.slo.does_not_fit"),
)
def post(call: Call) -> Answer:
    """Estimate what an SLO would take, for an instance with so many vCPUs; nothing is reserved.

    Answers 200 with CPU, resource classes of Placement and the extra specs of a flavor that sells it. The CPU cost of I/O comes from
    priors, and the margin is the largest that any host has. Floors above a limit in the flavor's `extra_specs` are told as
    `contradictions`. 422 says that no host could hold it, with the largest values that one could as `counter_offer`.
    """
    call.require(policies.CREATE)
    body = call.mapping
    with call.services.database.reader() as session:
        reported = hosts.largest_margin(session)
    margin = max(call.services.config.link.reservation_margin_ratio, reported or 0.0)
    try:
        slo = parse_slo(body["objectives"])
        verdict = verdicts.estimate(slo, vcpus=body["vcpus"], margin=margin)
        if not verdict.accepted:
            field = f"objectives.{verdict.field}"
            raise ApiError(
                "stella.slo.does_not_fit",
                f"{field}: {verdict.message.replace('this host', 'an empty host')}.",
                field=field,
                extra={"counter_offer": {"largest": dict(verdict.largest), "elsewhere": False}},
            )
        resources = resources_of(slo, verdict.reserved_cpu_cores)
    except InvalidSlo as error:
        raise ApiError("stella.slo.invalid", f"objectives.{error}.", field=f"objectives.{error.field}") from None
    return Answer(
        body={
            "reserved_cpu_cores": verdict.reserved_cpu_cores,
            "estimated": verdict.estimated,
            "resources": dict(resources),
            "extra_specs": dict(extra_specs_of(slo, resources)),
            "contradictions": limits.show_contradictions(
                slo, of_flavor(body.get("extra_specs", {}), vcpus=body["vcpus"])
            ),
        }
    )

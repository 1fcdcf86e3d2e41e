"""The whole API on one screen."""

from collections.abc import Mapping

from stella.api.handlers import (
    attainment,
    candidate,
    decision,
    estimate,
    host,
    instance,
    intent,
    quota,
    report,
    root,
    slo,
    slo_history,
    summary,
    usage,
    violation,
)
from stella.api.operation import Operation

ROUTES: Mapping[str, Mapping[str, Operation]] = {
    "/": {"GET": root.versions},
    "/healthcheck": {"GET": root.healthcheck},
    "/openapi.json": {"GET": root.document},
    "/v1/instances": {"GET": instance.index},
    "/v1/instances/{uuid}": {"GET": instance.show},
    "/v1/instances/{uuid}/slo": {"GET": slo.show, "PUT": slo.put, "DELETE": slo.delete},
    "/v1/instances/{uuid}/slo/history": {"GET": slo_history.index},
    "/v1/instances/{uuid}/attainment": {"GET": attainment.show},
    "/v1/instances/{uuid}/usage": {"GET": usage.show},
    "/v1/hosts": {"GET": host.index},
    "/v1/hosts/{name}": {"GET": host.show, "PATCH": host.patch},
    "/v1/hosts/{name}/intent": {"GET": intent.show},
    "/v1/hosts/{name}/reports": {"POST": report.post},
    "/v1/violations": {"GET": violation.index},
    "/v1/quotas": {"GET": quota.index},
    "/v1/quotas/{project_id}": {"GET": quota.show, "PUT": quota.put, "DELETE": quota.delete},
    "/v1/estimates": {"POST": estimate.post},
    "/v1/candidates": {"POST": candidate.post},
    "/v1/decisions": {"GET": decision.index},
    "/v1/summary": {"GET": summary.show},
}

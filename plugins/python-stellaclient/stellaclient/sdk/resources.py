"""What the API has, as openstacksdk resources."""

from collections.abc import Mapping
from typing import Any, Self

from keystoneauth1 import adapter
from openstack import exceptions, resource


class Instance(resource.Resource):
    """An instance, where it runs and how its objectives do."""

    resources_key = "instances"
    pagination_key = "links"
    base_path = "/v1/instances"
    allow_fetch = True
    allow_list = True
    _query_mapping = resource.QueryParameters(
        "host", "project", "status", "name", "name_contains", "health", "gone", "attainment", "sort"
    )

    uuid = resource.Body("uuid", alternate_id=True)
    name = resource.Body("name")
    project_id = resource.Body("project_id")
    host = resource.Body("host")
    state = resource.Body("state")
    vcpus = resource.Body("vcpus", type=int)
    slo_state = resource.Body("slo_state")
    reserved_cpu_cores = resource.Body("reserved_cpu_cores", type=float)
    slo = resource.Body("slo", type=dict)
    attainment = resource.Body("attainment", type=dict)
    objectives = resource.Body("objectives", type=list)
    limits = resource.Body("limits", type=list)
    contradictions = resource.Body("contradictions", type=list)
    relief_opt_out = resource.Body("relief_opt_out", type=bool)
    reported_at = resource.Body("reported_at")


class Slo(resource.Resource):
    """The SLO of an instance. Objectives are in base units."""

    base_path = "/v1/instances/%(instance_id)s/slo"
    allow_fetch = True

    instance_id = resource.URI("instance_id")
    uuid = resource.Body("uuid")
    generation = resource.Body("generation", type=int)
    objectives = resource.Body("objectives", type=dict)
    flavor_objectives = resource.Body("flavor_objectives", type=dict)
    added_objectives = resource.Body("added_objectives", type=dict)
    priority = resource.Body("priority", type=int)
    reserved_cpu_cores = resource.Body("reserved_cpu_cores", type=float)
    estimated = resource.Body("estimated", type=bool)
    state = resource.Body("state")
    reason = resource.Body("reason")
    largest = resource.Body("largest", type=dict)
    limits = resource.Body("limits", type=list)
    contradictions = resource.Body("contradictions", type=list)
    changed_at = resource.Body("changed_at")
    accepted = resource.Body("accepted", type=bool)

    @property
    def added(self) -> Mapping[str, Any]:
        """What its user asked for. An API of before flavors sold SLOs does not tell it apart: then all of it."""
        found: Mapping[str, Any] = self.objectives if self.added_objectives is None else self.added_objectives
        return found

    @property
    def path(self) -> str:
        """Its path below the endpoint."""
        return str(self.base_path % {"instance_id": self.instance_id})

    def put(self, session: adapter.Adapter, body: Mapping[str, Any], *, dry_run: bool) -> Self:
        """Set the SLO. Raises `openstack.exceptions.HttpException`."""
        response = session.put(
            self.path, json=dict(body), params={"dry_run": "true"} if dry_run else {}, **self._version(session)
        )
        exceptions.raise_from_response(response)
        self._translate_response(response)
        return self

    def withdraw(self, session: adapter.Adapter, generation: int) -> None:
        """Take the SLO of this generation away. Raises `openstack.exceptions.HttpException`."""
        response = session.delete(self.path, params={"generation": generation}, **self._version(session))
        exceptions.raise_from_response(response)

    def _version(self, session: adapter.Adapter) -> dict[str, Any]:
        return {"microversion": self._get_microversion(session)}


class SloChange(resource.Resource):
    """One change of an SLO: who, when, from where."""

    resources_key = "changes"
    base_path = "/v1/instances/%(instance_id)s/slo/history"
    pagination_key = "links"
    allow_list = True

    instance_id = resource.URI("instance_id")
    generation = resource.Body("generation", type=int)
    changed_at = resource.Body("changed_at")
    user_id = resource.Body("user_id")
    request_id = resource.Body("request_id")
    remote_address = resource.Body("remote_address")
    before = resource.Body("before", type=dict)
    after = resource.Body("after", type=dict)


class Attainment(resource.Resource):
    """Seconds by status of each objective over a span, by default this month."""

    base_path = "/v1/instances/%(instance_id)s/attainment"
    allow_fetch = True

    instance_id = resource.URI("instance_id")
    start = resource.Body("from")
    end = resource.Body("to")
    objectives = resource.Body("objectives", type=list)
    today = resource.Body("today", type=dict)
    month = resource.Body("month", type=dict)


class Usage(resource.Resource):
    """What an instance used, in steps of 1, 60, 3600 or 86400 seconds. Asking for 1 makes its host send a point each second."""

    base_path = "/v1/instances/%(instance_id)s/usage"
    allow_fetch = True

    instance_id = resource.URI("instance_id")
    start = resource.Body("from")
    end = resource.Body("to")
    step = resource.Body("step", type=int)
    watched_until = resource.Body("watched_until")
    not_watched_reason = resource.Body("not_watched_reason")
    points = resource.Body("points", type=list)


class Host(resource.Resource):
    """A host: what it can hold, what it holds, its mode."""

    resources_key = "hosts"
    pagination_key = "links"
    base_path = "/v1/hosts"
    allow_fetch = True
    allow_list = True
    _query_mapping = resource.QueryParameters("mode", "name_contains", "silent", "sort")

    name = resource.Body("name", alternate_id=True)
    generation = resource.Body("generation", type=int)
    mode = resource.Body("mode")
    enrolled = resource.Body("enrolled", type=bool)
    silent = resource.Body("silent", type=bool)
    capacity_cpu_cores = resource.Body("capacity_cpu_cores", type=float)
    reserved_cpu_cores = resource.Body("reserved_cpu_cores", type=float)
    free_cpu_cores = resource.Body("free_cpu_cores", type=float)
    overhead_cpu_cores = resource.Body("overhead_cpu_cores", type=float)
    cpus = resource.Body("cpus", type=int)
    instances = resource.Body("instances", type=int)
    open_violations = resource.Body("open_violations", type=int)
    agent = resource.Body("agent")
    capabilities = resource.Body("capabilities", type=dict)
    versions = resource.Body("versions", type=dict)
    reported_at = resource.Body("reported_at")
    relief_mode = resource.Body("relief_mode")
    fenced_at = resource.Body("fenced_at")


class Violation(resource.Resource):
    """An episode in which an objective was missed."""

    resources_key = "violations"
    pagination_key = "links"
    base_path = "/v1/violations"
    allow_list = True
    _query_mapping = resource.QueryParameters("open", "host", "project", "uuid", "from", "to", "sort")

    uuid = resource.Body("uuid")
    project_id = resource.Body("project_id")
    host = resource.Body("host")
    metric = resource.Body("metric")
    opened_at = resource.Body("opened_at")
    closed_at = resource.Body("closed_at")
    cause = resource.Body("cause")
    offender = resource.Body("offender")
    name = resource.Body("name")
    offender_name = resource.Body("offender_name")


class Decision(resource.Resource):
    """What was decided, by whom and why."""

    resources_key = "decisions"
    pagination_key = "links"
    base_path = "/v1/decisions"
    allow_fetch = True
    allow_list = True
    _query_mapping = resource.QueryParameters(
        "kind", "state", "refusals", "host", "project", "uuid", "from", "to", "sort"
    )

    decided_at = resource.Body("decided_at")
    kind = resource.Body("kind")
    host = resource.Body("host")
    uuid = resource.Body("uuid")
    name = resource.Body("name")
    project_id = resource.Body("project_id")
    user_id = resource.Body("user_id")
    request_id = resource.Body("request_id")
    reason = resource.Body("reason")
    detail = resource.Body("detail", type=dict)
    move = resource.Body("move", type=dict)


class Quota(resource.Resource):
    """What the SLOs of a project may hold together, and what they hold. In base units; a limit of -1 is none."""

    resources_key = "quotas"
    pagination_key = "links"
    base_path = "/v1/quotas"
    allow_fetch = True
    allow_list = True

    project_id = resource.Body("project_id", alternate_id=True)
    resources = resource.Body("resources", type=dict)


class Sla(resource.Resource):
    """A class of SLAs. Ratios and amounts are decimal text."""

    resources_key = "slas"
    pagination_key = "links"
    base_path = "/v1/slas"
    allow_fetch = True
    allow_list = True
    _query_mapping = resource.QueryParameters("name", "withdrawn", "sort")

    uuid = resource.Body("uuid", alternate_id=True)
    name = resource.Body("name")
    time_zone = resource.Body("time_zone")
    generation = resource.Body("generation", type=int)
    terms = resource.Body("terms", type=dict)
    next_terms = resource.Body("next_terms", type=dict)
    next_terms_from = resource.Body("next_terms_from")
    tolerance_ratio = resource.Body("tolerance_ratio")
    objectives = resource.Body("objectives", type=dict)
    created_at = resource.Body("created_at")
    withdrawn_at = resource.Body("withdrawn_at")


class SlaAttachment(resource.Resource):
    """What a class is attached to."""

    resources_key = "attachments"
    pagination_key = "links"
    base_path = "/v1/slas/%(sla_id)s/attachments"
    allow_list = True

    sla_id = resource.URI("sla_id")
    scope = resource.Body("scope")
    target = resource.Body("target")
    start = resource.Body("start")
    user_id = resource.Body("user_id")


class _Withdrawable(resource.Resource):
    """Who made it and why, and who withdrew it."""

    reason = resource.Body("reason")
    author = resource.Body("author")
    created_at = resource.Body("created_at")
    withdrawn_at = resource.Body("withdrawn_at")
    withdrawn_by = resource.Body("withdrawn_by")
    withdrawn_reason = resource.Body("withdrawn_reason")


class Exclusion(_Withdrawable):
    """A window that does not count."""

    resources_key = "exclusions"
    pagination_key = "links"
    base_path = "/v1/exclusions"
    allow_list = True
    _query_mapping = resource.QueryParameters("project", "from", "to", "sort")

    kind = resource.Body("kind")
    scope = resource.Body("scope")
    target = resource.Body("target")
    start = resource.Body("start")
    until = resource.Body("until")


class Correction(_Withdrawable):
    """Seconds of a report that count otherwise than they were measured."""

    resources_key = "corrections"
    pagination_key = "links"
    base_path = "/v1/corrections"
    allow_list = True
    _query_mapping = resource.QueryParameters("project", "sla", "period", "uuid", "sort")

    sla = resource.Body("sla")
    period = resource.Body("period")
    uuid = resource.Body("uuid")
    metric = resource.Body("metric")
    seconds = resource.Body("seconds", type=int)
    source = resource.Body("source")
    target = resource.Body("target")

"""The sample configuration and policy, printed from the options and rules themselves: `etc/stella.conf`, `etc/stella.policy.yaml`."""

import textwrap
from collections.abc import Sequence

from oslo_config import cfg
from oslo_policy import policy

from stella import conf

_WIDTH = 116


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _value(option: cfg.Opt) -> str:
    return "<None>" if option.default is None else str(option.default)


def print_config() -> str:
    """Every option with its default, commented out."""
    lines = [
        "# Configuration of stella-api, stella-engine, stella-manage and stella-status. Generated; values shown are the defaults."
    ]
    for group, options in conf.list_opts():
        lines += ["", f"[{group}]"]
        for option in options:
            lines += ["", *_comment(option.help or "")]
            choices = getattr(option.type, "choices", None)
            for choice, text in (choices or {}).items():
                lines += _comment(f"  {choice}: {text}")
            lines.append(f"#{option.name} = {_value(option)}")
    return "\n".join(lines) + "\n"


def print_policy(rules: Sequence[policy.RuleDefault]) -> str:
    """Every access policy with its default, commented out."""
    lines = ["# Access policy of stella-api. Generated; rules shown are the defaults."]
    for rule in rules:
        lines += ["", *_comment(rule.description or "")]
        lines += [f"# {o['method']} {o['path']}" for o in getattr(rule, "operations", None) or ()]
        lines.append(f'#"{rule.name}": "{rule.check_str}"')
    return "\n".join(lines) + "\n"

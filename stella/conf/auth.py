"""``[auth]``: who may ask. With Keystone, ``[keystone_authtoken]`` is read as in every OpenStack service."""

from oslo_config import cfg

GROUP = "auth"
OPTIONS = [
    cfg.StrOpt(
        "strategy",
        default="token_file",
        choices=[
            ("token_file", "Tokens in a file of hashes, made by `stella-manage token create`. Stand-alone."),
            ("keystone", "Keystone's tokens, checked by keystonemiddleware as [keystone_authtoken] says."),
        ],
        help="How users prove who they are.",
    ),
    cfg.StrOpt(
        "token_file", default="/etc/stella/tokens.toml", help="File of token hashes, read again when it changes."
    ),
]

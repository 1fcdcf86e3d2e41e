"""Prints what Horizon says in a language, as JSON: English sentences with their translations, as Django has merged them."""

import json
import sys

import django

django.setup()

from django.utils.translation import trans_real  # noqa: E402

catalogue = trans_real.translation(sys.argv[1])._catalog
print(
    json.dumps(
        {key: text for part in reversed(catalogue._catalogs) for key, text in part.items() if isinstance(key, str)}
    )
)

"""Horizon with its static files, for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application
from whitenoise import WhiteNoise

application = WhiteNoise(
    get_wsgi_application(), root=f"{os.environ['STELLA_TEST_FILES']}/static", prefix="static/", autorefresh=False
)

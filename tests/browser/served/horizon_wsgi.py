"""Horizon with its static files, for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application
from whitenoise import WhiteNoise

application = WhiteNoise(
    get_wsgi_application(), root=os.environ["STELLA_TEST_STATIC"], prefix="static/", autorefresh=False
)

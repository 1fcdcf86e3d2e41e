"""For all tests: examples may take as long as they must, since the machine may be busy with guests. (pytest-timeout bounds all.)"""

from hypothesis import settings

settings.register_profile("stella", deadline=None)
settings.load_profile("stella")

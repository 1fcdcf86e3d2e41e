# A real OpenStack on this machine with Stella in it: docs/openstack/laboratory.md. Included by the Makefile.
LABORATORY := PYTHONPATH=deploy $(PYTHON) -m laboratory

.PHONY: openstack openstack-down test-openstack

openstack: setup
	@$(LABORATORY) up

openstack-down:
	@test ! -x $(PYTHON) || $(LABORATORY) down

test-openstack: openstack
	@$(PYTHON) -m pytest tests/openstack -p no:cacheprovider --timeout 600

# A real OpenStack on this machine with Stella in it: docs/openstack/laboratory.md. Included by the Makefile.
LABORATORY := PYTHONPATH=deploy $(PYTHON) -m laboratory

.PHONY: openstack openstack-down test-openstack demo-openstack

openstack: setup
	@$(LABORATORY) up

openstack-down:
	@test ! -x $(PYTHON) || $(LABORATORY) down

demo-openstack: openstack
	@scripts/browser.sh
	@$(PYTHON) -m stella.cmd.stella_bench demo --on openstack --through browser --output results/demo-openstack

test-openstack: openstack
	@scripts/browser.sh
	@$(PYTHON) -m pytest -m 'not alone' -n 6 --dist loadfile tests/openstack -p no:cacheprovider --timeout 600
	@$(PYTHON) -m pytest -m alone tests/openstack -p no:cacheprovider --timeout 600

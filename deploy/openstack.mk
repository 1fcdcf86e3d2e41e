# A real OpenStack on this machine with Stella in it: docs/openstack/laboratory.md. Included by the Makefile, which has HOSTS.
LABORATORY := PYTHONPATH=deploy $(PYTHON) -m laboratory

.PHONY: openstack openstack-down test-openstack test-two-hosts demo-openstack

openstack: setup
	@$(LABORATORY) up $(if $(filter-out lab,$(HOSTS)),--hosts '$(subst ','\'',$(HOSTS))')

openstack-down:
	@test ! -x $(PYTHON) || $(LABORATORY) down

# The demonstration on one host; with HOSTS=2, whose hosts are of one CPU each, the tour alone: a host is lost. With one host it says so.
demo-openstack: openstack
	@scripts/browser.sh
	@if ! grep -q XGOS_SOCKET_ .run/openstack.env; then \
	  $(PYTHON) -m stella.cmd.stella_bench demo --on openstack --through browser --output results/demo-openstack; fi
	@$(PYTHON) -m stella.cmd.stella_bench tour --output results/tour

test-openstack: openstack
	@scripts/browser.sh
	@$(PYTHON) -m pytest -m 'not alone and not two_hosts' -n 6 --dist loadfile tests/openstack -p no:cacheprovider --timeout 600
	@$(PYTHON) -m pytest -m alone tests/openstack -p no:cacheprovider --timeout 600

# Of its own, on another laboratory: make openstack-down between this and test-openstack.
test-two-hosts:
	@$(MAKE) --no-print-directory openstack HOSTS=2
	@$(PYTHON) -m pytest -m two_hosts tests/openstack/two_hosts -p no:cacheprovider --timeout 900

"""The project panel "Service levels", the scripts and styles of all of Stella's pages, and its tab on the page of an instance."""

PANEL = "service_levels"
PANEL_DASHBOARD = "project"
PANEL_GROUP = "compute"
ADD_PANEL = "stella_dashboard.content.service_levels.panel.ServiceLevels"
ADD_INSTALLED_APPS = ["stella_dashboard"]
ADD_JS_FILES = ["stella_dashboard/js/loader.js"]
ADD_SCSS_FILES = ["stella_dashboard/scss/stella.scss"]
EXTRA_TABS = {
    "openstack_dashboard.dashboards.project.instances.tabs.InstanceDetailTabs": (
        "stella_dashboard.content.service_levels.tabs.ServiceLevelTab",
    ),
}

"""Addresses of the project's panel."""

from django.urls import path

from stella_dashboard.content.exclusions import views as exclusions
from stella_dashboard.content.slas import reports, views

urlpatterns = [
    path("", views.ProjectView.as_view(), name="index"),
    path("exclusions/", exclusions.ProjectExclusions.as_view(), name="exclusions"),
    path("corrections/", exclusions.ProjectCorrections.as_view(), name="corrections"),
    path("<uuid:sla_id>/", reports.ProjectReport.as_view(), name="report"),
    path("<uuid:sla_id>/report.<str:format>", reports.ProjectFile.as_view(), name="file"),
]

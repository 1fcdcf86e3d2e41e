"""Addresses of the panel's pages."""

from django.urls import path

from stella_dashboard.content.service_levels import budget_views, detail_views, views
from stella_dashboard.content.violations.detail import DetailView as ViolationView

urlpatterns = [
    path("", views.IndexView.as_view(), name="index"),
    path("live/", views.LiveView.as_view(), name="live"),
    path("<uuid:instance_id>/", detail_views.DetailView.as_view(), name="detail"),
    path("<uuid:instance_id>/usage/", detail_views.UsageView.as_view(), name="usage"),
    path("<uuid:instance_id>/usage.csv", detail_views.CsvView.as_view(), name="csv"),
    path("<uuid:instance_id>/budget/", budget_views.BurnView.as_view(), name="burn"),
    path("<uuid:instance_id>/budget.csv", budget_views.CsvView.as_view(), name="burn_csv"),
    path("violations/<int:number>/", ViolationView.as_view(), name="violation"),
    path("<uuid:instance_id>/set/", views.SetView.as_view(), name="set"),
    path("<uuid:instance_id>/check/", views.CheckView.as_view(), name="check"),
    path("<uuid:instance_id>/move/", views.MoveView.as_view(), name="move"),
    path("<uuid:instance_id>/remove/", views.RemoveView.as_view(), name="remove"),
]

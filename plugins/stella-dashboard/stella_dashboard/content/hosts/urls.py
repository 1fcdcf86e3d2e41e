"""Addresses of the panel's pages."""

from django.urls import path

from stella_dashboard.content.hosts import views

urlpatterns = [
    path("", views.IndexView.as_view(), name="index"),
    path("<str:host_name>/", views.DetailView.as_view(), name="detail"),
    path("<str:host_name>/mode/", views.ModeView.as_view(), name="mode"),
]

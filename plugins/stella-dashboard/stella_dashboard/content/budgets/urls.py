"""Addresses of the project's panel."""

from django.urls import path

from stella_dashboard.content.budgets import views

urlpatterns = [path("", views.ProjectView.as_view(), name="index")]

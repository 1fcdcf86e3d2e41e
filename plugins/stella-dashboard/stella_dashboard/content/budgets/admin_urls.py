"""Addresses of the operators' panel."""

from django.urls import path

from stella_dashboard.content.budgets import views

urlpatterns = [path("", views.AllView.as_view(), name="index")]

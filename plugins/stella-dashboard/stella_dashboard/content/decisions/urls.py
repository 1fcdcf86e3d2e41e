"""Addresses of the panel's pages."""

from django.urls import path

from stella_dashboard.content.decisions import views

urlpatterns = [
    path("", views.IndexView.as_view(), name="index"),
    path("<int:number>/move/", views.MoveView.as_view(), name="move"),
]

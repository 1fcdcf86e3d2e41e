"""Addresses of the operators' panel."""

from django.urls import path

from stella_dashboard.content.slas import reports, views

urlpatterns = [
    path("", views.AllView.as_view(), name="index"),
    path("create/", views.CreateView.as_view(), name="create"),
    path("<uuid:sla_id>/", views.DetailView.as_view(), name="detail"),
    path("<uuid:sla_id>/change/", views.ChangeView.as_view(), name="change"),
    path("<uuid:sla_id>/delete/", views.DeleteView.as_view(), name="delete"),
    path("<uuid:sla_id>/attach/", views.AttachView.as_view(), name="attach"),
    path("<uuid:sla_id>/attachments/<int:attachment_id>/detach/", views.DetachView.as_view(), name="detach"),
    path("<uuid:sla_id>/report/", reports.AllReport.as_view(), name="report"),
    path("<uuid:sla_id>/report.<str:format>", reports.AllFile.as_view(), name="file"),
]

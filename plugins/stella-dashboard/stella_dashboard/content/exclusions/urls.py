"""Addresses of the panel's pages."""

from django.urls import path

from stella_dashboard.content.exclusions import views

urlpatterns = [
    path("", views.AllExclusions.as_view(), name="index"),
    path("create/", views.ExcludeView.as_view(), name="create"),
    path("<int:number>/withdraw/", views.WithdrawExclusionView.as_view(), name="withdraw"),
    path("corrections/", views.AllCorrections.as_view(), name="corrections"),
    path("corrections/create/", views.CorrectView.as_view(), name="correct"),
    path("corrections/<int:number>/withdraw/", views.WithdrawCorrectionView.as_view(), name="withdraw_correction"),
]

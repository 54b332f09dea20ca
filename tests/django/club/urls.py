from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("forum/", views.forum, name="forum"),
    path("profile/<username>/", views.profile, name="profile"),
    path("groups/<name>/", views.group, name="group"),
    path("groups/<name>/join/", views.join, name="join"),
    path("app-password/", views.app_password, name="app_password"),
    path("goodbye/", views.goodbye, name="goodbye"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("latest/", views.latest),
    path("export/", views.export),
    path("headers/", views.headers),
]

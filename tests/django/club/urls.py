from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("forum/", views.forum, name="forum"),
    path("profile/", views.profile, name="profile"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("latest/", views.latest),
    path("export/", views.export),
    path("headers/", views.headers),
]

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    help = "Makes the tables and two users, sally and bob; the password of each is their name and -secret."

    def handle(self, *args, **options):
        call_command("migrate", verbosity=0)
        users = get_user_model().objects
        users.create_user("sally", password="sally-secret", first_name="Sally", last_name="Surf")
        # A name that is no plain header value: a comma, and letters outside ASCII.
        users.create_user("bob", password="bob-secret", first_name="Bjørn", last_name="Ærø, jr.")

from django.contrib.auth.models import Group, User
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    help = "Makes the tables, three users and a group; the password of each user is their name and -secret."

    def handle(self, *args, **options):
        call_command("migrate", verbosity=0)
        users = User.objects
        users.create_user("sally", "sally@example.com", "sally-secret", first_name="Sally", last_name="Surf")
        # A name that is no plain header value: a comma, and letters outside ASCII.
        users.create_user("bob", "bob@example.com", "bob-secret", first_name="Bjørn", last_name="Ærø, jr.")
        # An id that is none either.
        editor = users.create_user("zoë", "zoe@example.com", "zoë-secret", first_name="Zoë", is_staff=True)
        editor.groups.add(Group.objects.create(name="surfers"))

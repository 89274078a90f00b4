"""Django's models, over mysqlclient."""

from __future__ import annotations

import django
from django.conf import settings

from tests.drivers.python.steps import CA, HOST, PASSWORD, PORT, ROWS, SCHEMA, TABLE, USER, digest, pause, show

settings.configure(
    INSTALLED_APPS=[],
    USE_TZ=False,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": SCHEMA,
            "USER": USER,
            "PASSWORD": PASSWORD,
            "HOST": HOST,
            "PORT": PORT,
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"charset": "utf8mb4", **({"ssl": {"ca": CA}} if CA else {"ssl_mode": "DISABLED"})},
        }
    },
)
django.setup()

from django.core import signals  # noqa: E402  only after the setup
from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.db.models.functions import Now  # noqa: E402


class Row(models.Model):
    """A line of the table."""

    number = models.BigIntegerField(null=True)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    ratio = models.FloatField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    text = models.CharField(max_length=200, null=True)
    data = models.BinaryField(null=True)

    class Meta:
        """Where it is."""

        app_label = "drivers"
        db_table = TABLE


def request() -> None:
    """End a request and begin the next."""
    signals.request_finished.send(sender=None)
    pause()
    signals.request_started.send(sender=None)


names = ["number", "amount", "ratio", "day", "moment", "text", "data"]
rows = [dict(zip(names, row, strict=True)) for row in ROWS]
show("inserted", [Row.objects.create(**row).pk for row in rows])
request()
show("rows", list(Row.objects.order_by("pk").values_list()))
request()
with transaction.atomic():
    row = Row.objects.select_for_update().get(pk=1)
    row.text = "changed ä€😀"
    row.save()
    try:
        with transaction.atomic():
            Row.objects.filter(pk=2).update(number=7)
            Row.objects.create(pk=1)
    except IntegrityError as error:
        show("error", error.args[0])
    Row.objects.filter(pk=3).update(number=8)
request()
show("rows", list(Row.objects.order_by("pk").values_list("number", "text")))
request()
try:
    with transaction.atomic():
        Row.objects.all().delete()
        raise ZeroDivisionError
except ZeroDivisionError:
    show("rolled back", Row.objects.count())
request()
show("many", len(Row.objects.bulk_create([Row(text=f"many {number}") for number in range(50)])))
request()
show("found", Row.objects.get_or_create(text="many 7", defaults={"number": 1})[1])
show("made", Row.objects.get_or_create(text="new", defaults={"number": 1})[1])
request()
show("aggregate", Row.objects.aggregate(models.Sum("number"), models.Max("text")))
show("updated", Row.objects.filter(text__startswith="many").update(moment=Now()))
request()
show("deleted", Row.objects.filter(text__startswith="many").delete()[0])
request()
with connection.cursor() as cursor:
    cursor.execute("SELECT * FROM numbers")
    show("numbers", digest(cursor.fetchall()))
    cursor.execute(
        "SELECT @@transaction_isolation" if connection.mysql_is_mariadb is False else "SELECT @@tx_isolation"
    )
    show("level", cursor.fetchall())
request()
show("iterated", [row.pk for row in Row.objects.order_by("pk").iterator(chunk_size=2)])
request()
connection.close()

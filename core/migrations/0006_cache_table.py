from django.core.management import call_command
from django.db import migrations


def create_table(apps, schema_editor):
    call_command("createcachetable", "core_cache", database=schema_editor.connection.alias, verbosity=0)


def drop_table(apps, schema_editor):
    schema_editor.execute("DROP TABLE core_cache")


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0005_answer_headers'),
    ]

    operations = [
        migrations.RunPython(create_table, drop_table),
    ]

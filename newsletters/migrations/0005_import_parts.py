"""Parts of an import become CSV files by themselves."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models.functions import Now


def end_running(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """End imports whose parts were cut at any byte. An import only adds: the same file may come again."""
    unfinished = apps.get_model("newsletters", "Import").objects.filter(state__in=["queued", "running"])
    apps.get_model("newsletters", "ImportPart").objects.filter(audience_import__in=unfinished).delete()
    unfinished.update(
        state="failed",
        failure="Courant was updated while this file was read. Upload it again: nobody is added twice.",
        finished_at=Now(),
        lease_until=None,
    )


class Migration(migrations.Migration):
    dependencies = [("newsletters", "0004_delivery_storage")]
    operations = [
        migrations.RunPython(end_running, end_running),
        migrations.AddField("importpart", "line", models.PositiveIntegerField(default=2)),
        migrations.AddField("importpart", "marks", models.BinaryField(default=b"")),
    ]

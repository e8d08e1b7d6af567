from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('newsletters', '0009_failing_since'),
    ]

    operations = [
        # Django rebuilds the table on SQLite, which the triggers of other tables forbid.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE newsletters_issue ADD COLUMN relay_trials integer NOT NULL DEFAULT 0",
                    "ALTER TABLE newsletters_issue DROP COLUMN relay_trials",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name='issue',
                    name='relay_trials',
                    field=models.IntegerField(db_default=0, default=0, editable=False),
                ),
            ],
        ),
        migrations.AddField(
            model_name='issue',
            name='trials_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]

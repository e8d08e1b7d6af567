from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0002_restore_guard'),
    ]

    operations = [
        migrations.AddField(
            model_name='restoreguard',
            name='store_failed_at',
            field=models.DateTimeField(null=True),
        ),
    ]
